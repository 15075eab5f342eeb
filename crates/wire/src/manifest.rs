//! The list of a release's files: its valid entries, its digests, and how a client creates it from a folder.
//! Uses nothing of the rest of this crate, and writes nothing.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use model::Digest;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The largest number of entries of a release.
pub const MOST_ENTRIES: usize = 100_000;
/// The largest size of all its files together, in bytes.
pub const MOST_BYTES: u64 = 4 << 30;
/// The largest length of a path, or of the target of a symbolic link, in bytes.
pub const PATH_BYTES: usize = 1024;
/// The largest depth of nested folders.
pub const DEPTH: usize = 64;
/// The largest length of a name in a path, in bytes.
const NAME_BYTES: usize = 255;
/// The last second of the year 9999, in seconds since 1970.
const LATEST: u64 = 253_402_300_799;
/// The largest number of symbolic links that are followed for one path.
const LINKS: usize = 40;
/// The largest number of path components that are walked to check all links of one list.
const MOST_STEPS: usize = 1_000_000;
/// The longest path that the kernel follows, in bytes.
const WALKED_BYTES: usize = 4096;

/// All files of a release, by path in ascending order.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The entries, strictly ascending by path.
    pub entries: Vec<FileEntry>,
}

/// One file, link or folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// The path relative to the release's folder, with components separated by `/`.
    pub path: String,
    /// The kind of entry.
    pub kind: Kind,
    /// The modification time of a file, in seconds since 1970. It is not part of [`Manifest::digest`]: a
    /// fresh clone of the same files is the same release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<u64>,
}

/// The kind of an entry. Devices, sockets and set-uid bits are not supported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Kind {
    /// A regular file.
    File {
        /// The BLAKE3 digest of the file's content.
        digest: Digest,
        /// The length of the file in bytes.
        size: u64,
        /// True if the file is executable.
        executable: bool,
    },
    /// A symbolic link that points into the release's folder.
    Symlink {
        /// The path that the link contains.
        target: String,
    },
    /// A folder. Only empty folders need an entry.
    Dir,
}

/// The reason why a list of files is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{path:?} cannot be in a release: {why}")]
pub struct InvalidEntry {
    /// The path of the entry.
    pub path: String,
    /// The reason. It completes "because …".
    pub why: String,
}

fn refused(path: &str, why: impl Into<String>) -> InvalidEntry {
    InvalidEntry { path: path.chars().take(200).collect(), why: why.into() }
}

impl Manifest {
    /// Returns the digest of the files. The same files have the same digest, whatever their modification
    /// times are.
    pub fn digest(&self) -> Digest {
        let timeless = |entry: &FileEntry| FileEntry { modified: None, ..entry.clone() };
        Self { entries: self.entries.iter().map(timeless).collect() }.name()
    }

    /// Returns the digest of the list itself, including the modification times.
    pub fn name(&self) -> Digest {
        Digest::from_bytes(*blake3::hash(&self.canonical_bytes()).as_bytes())
    }

    /// Returns the only form that is hashed and stored.
    pub fn canonical_bytes(&self) -> Vec<u8> {
        // Only structs and enums with named fields, so this cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Returns the contents that the files need, with their sizes.
    pub fn blobs(&self) -> BTreeMap<Digest, u64> {
        let blob = |entry: &FileEntry| match entry.kind {
            Kind::File { digest, size, .. } => Some((digest, size)),
            Kind::Symlink { .. } | Kind::Dir => None,
        };
        self.entries.iter().filter_map(blob).collect()
    }

    /// Checks that the files can be laid out inside one folder and nowhere else.
    ///
    /// # Errors
    /// Names the first entry that is invalid.
    pub fn validate(&self) -> Result<(), InvalidEntry> {
        if self.entries.len() > MOST_ENTRIES {
            return Err(refused("", format!("there are more than {MOST_ENTRIES} entries")));
        }
        let mut bytes = 0_u64;
        let mut before: Option<&str> = None;
        for FileEntry { path, kind, modified } in &self.entries {
            validate_path(path)?;
            if modified.is_some_and(|at| at > LATEST) {
                return Err(refused(path, "it was changed after the year 9999"));
            }
            if before.is_some_and(|before| before >= path.as_str()) {
                return Err(refused(path, "it is listed twice, or out of order"));
            }
            before = Some(path);
            if let Kind::File { size, .. } = kind {
                bytes = bytes.saturating_add(*size);
            }
            if bytes > MOST_BYTES {
                return Err(refused(path, "with it the files have more than 4 GiB"));
            }
        }
        validate_parents(&self.entries)?;
        let mut links = Links { targets: self.links().collect(), steps: 0 };
        self.links().try_for_each(|(path, target)| links.validate(path, target))
    }

    fn links(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().filter_map(|FileEntry { path, kind, modified: _ }| match kind {
            Kind::Symlink { target } => Some((path.as_str(), target.as_str())),
            Kind::File { .. } | Kind::Dir => None,
        })
    }
}

fn validate_path(path: &str) -> Result<(), InvalidEntry> {
    if path.len() > PATH_BYTES {
        return Err(refused(path, format!("its path has more than {PATH_BYTES} bytes")));
    }
    if path.split('/').count() > DEPTH {
        return Err(refused(path, format!("it is more than {DEPTH} folders deep")));
    }
    for name in path.split('/') {
        let why = match name {
            "" => "its path is absolute, or has an empty part",
            "." | ".." => "its path has a part `.` or `..`",
            _ if name.len() > NAME_BYTES => "a part of its path has more than 255 bytes",
            _ if name.contains('\0') => "its path has a zero byte",
            _ => continue,
        };
        return Err(refused(path, why));
    }
    Ok(())
}

/// Checks that the parent of every entry is a folder. Entries are sorted, so an entry directly follows those
/// whose path is a prefix of its own.
fn validate_parents(entries: &[FileEntry]) -> Result<(), InvalidEntry> {
    // The entries that are not folders and whose paths are prefixes of the current one.
    let mut before: Vec<&str> = Vec::new();
    for FileEntry { path, kind, modified: _ } in entries {
        while before.last().is_some_and(|last| !path.starts_with(last)) {
            before.pop();
        }
        if let Some(parent) = before.iter().find(|parent| path[parent.len()..].starts_with('/')) {
            return Err(refused(path, format!("{parent:?} is not a folder")));
        }
        match kind {
            Kind::File { .. } | Kind::Symlink { .. } => before.push(path),
            Kind::Dir => {}
        }
    }
    Ok(())
}

/// All links of a list, and the work that was needed to walk them.
struct Links<'a> {
    targets: HashMap<&'a str, &'a str>,
    steps: usize,
}

impl<'a> Links<'a> {
    /// Follows a link like the kernel, including other links on the way, and never above the release's
    /// folder.
    fn validate(&mut self, path: &str, target: &'a str) -> Result<(), InvalidEntry> {
        let outside = || refused(path, format!("the link to {target:?} leads outside"));
        let mut here = path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        // The components that are still to be walked, the next one last.
        let mut ahead: Vec<&str> = Vec::new();
        let mut links = 0;
        let mut follow = Some(target);
        loop {
            if let Some(target) = follow.take() {
                links += 1;
                if links > LINKS {
                    return Err(refused(path, "it is part of a loop of symbolic links"));
                }
                if target.is_empty() || target.len() > PATH_BYTES || target.contains('\0') {
                    return Err(refused(path, "the link is empty, too long, or has a zero byte"));
                }
                if target.starts_with('/') {
                    return Err(outside());
                }
                ahead.extend(target.split('/').rev());
            }
            self.steps += 1;
            if self.steps > MOST_STEPS {
                return Err(refused(path, "the links before it already take too long to follow"));
            }
            match ahead.pop() {
                None => return Ok(()),
                Some("" | ".") => {}
                Some("..") => {
                    if here.is_empty() {
                        return Err(outside());
                    }
                    here.truncate(here.rfind('/').unwrap_or(0));
                }
                Some(name) => {
                    let before = here.len();
                    if before > 0 {
                        here.push('/');
                    }
                    here.push_str(name);
                    if here.len() > WALKED_BYTES {
                        return Err(refused(path, "it leads too deep"));
                    }
                    if let Some(target) = self.targets.get(here.as_str()) {
                        here.truncate(before);
                        follow = Some(target);
                    }
                }
            }
        }
    }
}

/// The reason why a folder cannot become a release.
#[derive(Debug, Error)]
pub enum ScanError {
    /// An entry of the folder cannot be in a release.
    #[error("cannot ship {}: {why}", path.display())]
    Refused {
        /// The entry.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// A file or folder cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The folder cannot be walked.
    #[error("cannot walk {}", dir.display())]
    Walk {
        /// The folder.
        dir: PathBuf,
        /// The cause.
        source: ignore::Error,
    },
}

/// A folder, read as a release.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Scan {
    /// The list of the folder's files.
    pub manifest: Manifest,
    /// The path of a file with this content, by digest.
    pub files: BTreeMap<Digest, PathBuf>,
}

/// Reads a folder. Leaves out `.git`, a data folder `.segue` of segue's own, and the paths that
/// `.segueignore` files name. Other ignore files have no effect, because build outputs are needed at run
/// time.
///
/// # Errors
/// Names the path that cannot be read or shipped.
pub fn scan(dir: &Path) -> Result<Scan, ScanError> {
    let mut scan = Scan::default();
    for Found { path, name, metadata } in find(dir)? {
        let kind = read_kind(&path, &metadata, &mut scan.files)?.ok_or_else(|| {
            let why = "it is neither a file, nor a folder, nor a symbolic link".to_owned();
            ScanError::Refused { path, why }
        })?;
        let changed = || u64::try_from(metadata.mtime()).unwrap_or(0).min(LATEST);
        let modified = metadata.is_file().then(changed);
        scan.manifest.entries.push(FileEntry { path: name, kind, modified });
    }
    scan.manifest.entries.sort_by(|a, b| a.path.cmp(&b.path));
    scan.manifest
        .validate()
        .map_err(|InvalidEntry { path, why }| ScanError::Refused { path: dir.join(path), why })?;
    Ok(scan)
}

/// An entry of a folder that is to be shipped.
struct Found {
    path: PathBuf,
    /// The path relative to the folder.
    name: String,
    metadata: Metadata,
}

/// Finds all entries that are to be shipped. Reads no file: a folder that is too large is refused by its
/// size, before the user waits for digests.
fn find(dir: &Path) -> Result<Vec<Found>, ScanError> {
    let walk = ignore::WalkBuilder::new(dir)
        .standard_filters(false)
        .follow_links(false)
        .add_custom_ignore_filename(".segueignore")
        .filter_entry(|entry| entry.file_name() != ".git" && entry.file_name() != ".segue")
        .build();
    let mut all = Vec::new();
    let mut bytes = 0_u64;
    for entry in walk {
        let entry = entry.map_err(|source| ScanError::Walk { dir: dir.into(), source })?;
        if entry.depth() == 0 {
            continue;
        }
        let path = entry.into_path();
        let why = |why: &str| ScanError::Refused { path: path.clone(), why: why.to_owned() };
        let inside = path.strip_prefix(dir).unwrap_or(&path);
        let name = inside.to_str().ok_or_else(|| why("its name is not UTF-8"))?.to_owned();
        let io = |source| ScanError::Io { path: path.clone(), source };
        let metadata = fs::symlink_metadata(&path).map_err(io)?;
        if metadata.is_file() {
            bytes = bytes.saturating_add(metadata.len());
        }
        if bytes > MOST_BYTES {
            return Err(why("with it the files have more than 4 GiB"));
        }
        if all.len() == MOST_ENTRIES {
            return Err(why(&format!("the folder has more than {MOST_ENTRIES} entries")));
        }
        all.push(Found { path, name, metadata });
    }
    Ok(all)
}

/// Returns the kind of an entry; `None` for a device, a socket or a pipe.
fn read_kind(
    path: &Path,
    metadata: &Metadata,
    files: &mut BTreeMap<Digest, PathBuf>,
) -> Result<Option<Kind>, ScanError> {
    let io = |source| ScanError::Io { path: path.into(), source };
    let kind = metadata.file_type();
    if kind.is_dir() {
        return Ok(Some(Kind::Dir));
    }
    if kind.is_symlink() {
        let target = fs::read_link(path).map_err(io)?.into_os_string().into_string();
        let not_text = |_| ScanError::Refused { path: path.into(), why: "it is not UTF-8".into() };
        return Ok(Some(Kind::Symlink { target: target.map_err(not_text)? }));
    }
    if !kind.is_file() {
        return Ok(None);
    }
    let mut hasher = blake3::Hasher::new();
    // The size is the number of hashed bytes. Bytes that are appended to the file meanwhile are left out.
    let mut content = File::open(path).map_err(io)?.take(metadata.len());
    let size = io::copy(&mut content, &mut hasher).map_err(io)?;
    let digest = Digest::from_bytes(*hasher.finalize().as_bytes());
    files.entry(digest).or_insert_with(|| path.to_path_buf());
    let executable = metadata.permissions().mode() & 0o111 != 0;
    Ok(Some(Kind::File { digest, size, executable }))
}

#[cfg(test)]
mod tests;
