//! The list of a release's files: what may stand in it, how it is named, and how a client makes one
//! from a folder. Needs nothing from the rest of this crate, and writes nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use model::Digest;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Entries a release may have.
pub const MOST_ENTRIES: usize = 100_000;
/// Bytes all its files may have together.
pub const MOST_BYTES: u64 = 4 << 30;
/// Bytes a path, or what a symbolic link says, may have.
pub const PATH_BYTES: usize = 1024;
/// Folders that may lie in each other.
pub const DEPTH: usize = 64;
/// Bytes a name in a path may have.
const NAME_BYTES: usize = 255;
/// Symbolic links that may lead to each other.
const LINKS: usize = 40;

/// All files of a release, by path in ascending order.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The entries, strictly ascending by path.
    pub entries: Vec<Entry>,
}

/// One file, link or folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Relative to the release's folder, parts separated by `/`.
    pub path: String,
    /// What it is.
    pub kind: Kind,
}

/// What an entry is. There is no form for a device, a socket, or a set-uid bit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Kind {
    /// A regular file.
    File {
        /// Of its content, by BLAKE3.
        digest: Digest,
        /// In bytes.
        size: u64,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A symbolic link that points inside.
    Symlink {
        /// What it says.
        target: String,
    },
    /// A folder; needed only for empty ones.
    Dir,
}

/// Why a list of files is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{path:?} cannot be in a release: {why}")]
pub struct Refused {
    /// The entry.
    pub path: String,
    /// Completes "because …".
    pub why: String,
}

fn refused(path: &str, why: impl Into<String>) -> Refused {
    Refused { path: path.chars().take(200).collect(), why: why.into() }
}

impl Manifest {
    /// Names the content: the same files have the same digest, everywhere.
    pub fn digest(&self) -> Digest {
        Digest::from_bytes(*blake3::hash(&self.canonical_bytes()).as_bytes())
    }

    /// The one form that is hashed and kept.
    pub fn canonical_bytes(&self) -> Vec<u8> {
        // Structs and enums with named fields: JSON has a form for all of it.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The contents it needs, with their sizes.
    pub fn blobs(&self) -> BTreeMap<Digest, u64> {
        let blob = |entry: &Entry| match entry.kind {
            Kind::File { digest, size, .. } => Some((digest, size)),
            Kind::Symlink { .. } | Kind::Dir => None,
        };
        self.entries.iter().filter_map(blob).collect()
    }

    /// Whether it can be laid out inside one folder and nowhere else.
    ///
    /// # Errors
    /// Names the first entry that cannot.
    pub fn validate(&self) -> Result<(), Refused> {
        if self.entries.len() > MOST_ENTRIES {
            return Err(refused("", format!("there are more than {MOST_ENTRIES} entries")));
        }
        let mut bytes = 0_u64;
        let mut before: Option<&str> = None;
        for Entry { path, kind } in &self.entries {
            validate_path(path)?;
            if before.is_some_and(|before| before >= path.as_str()) {
                return Err(refused(path, "it comes twice, or not in order"));
            }
            before = Some(path);
            if let Kind::File { size, .. } = kind {
                bytes = bytes.saturating_add(*size);
            }
            if bytes > MOST_BYTES {
                return Err(refused(path, "with it the files have more than 4 GiB"));
            }
        }
        let kinds: BTreeMap<&str, &Kind> =
            self.entries.iter().map(|entry| (entry.path.as_str(), &entry.kind)).collect();
        self.entries.iter().try_for_each(|entry| {
            validate_parents(&entry.path, &kinds)?;
            match &entry.kind {
                Kind::Symlink { target } => validate_link(&entry.path, target, &kinds),
                Kind::File { .. } | Kind::Dir => Ok(()),
            }
        })
    }
}

fn validate_path(path: &str) -> Result<(), Refused> {
    if path.len() > PATH_BYTES {
        return Err(refused(path, format!("its path has more than {PATH_BYTES} bytes")));
    }
    if path.split('/').count() > DEPTH {
        return Err(refused(path, format!("it lies more than {DEPTH} folders deep")));
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

/// What lies in something has to lie in a folder.
fn validate_parents(path: &str, kinds: &BTreeMap<&str, &Kind>) -> Result<(), Refused> {
    for (end, _) in path.match_indices('/') {
        match kinds.get(&path[..end]) {
            None | Some(Kind::Dir) => {}
            Some(Kind::File { .. } | Kind::Symlink { .. }) => {
                return Err(refused(path, format!("{:?} is not a folder", &path[..end])));
            }
        }
    }
    Ok(())
}

/// Walks as the kernel would, through other links too, and never above the release's folder.
fn validate_link(path: &str, target: &str, kinds: &BTreeMap<&str, &Kind>) -> Result<(), Refused> {
    let outside = || refused(path, format!("the link to {target:?} leads outside"));
    let mut here: Vec<&str> = path.split('/').collect();
    here.pop();
    // What is still to be walked, the next part last.
    let mut ahead: Vec<&str> = Vec::new();
    let mut links = 0;
    let mut follow = Some(target);
    loop {
        if let Some(target) = follow.take() {
            links += 1;
            if links > LINKS {
                return Err(refused(path, "it leads round in a circle of links"));
            }
            if target.is_empty() || target.len() > PATH_BYTES || target.contains('\0') {
                return Err(refused(path, "the link is empty, too long, or has a zero byte"));
            }
            if target.starts_with('/') {
                return Err(outside());
            }
            ahead.extend(target.split('/').rev());
        }
        match ahead.pop() {
            None => return Ok(()),
            Some("" | ".") => {}
            Some("..") => {
                here.pop().ok_or_else(outside)?;
            }
            Some(name) => {
                here.push(name);
                if let Some(Kind::Symlink { target }) = kinds.get(here.join("/").as_str()) {
                    here.pop();
                    follow = Some(target);
                }
            }
        }
    }
}

/// Why a folder cannot be made into a release.
#[derive(Debug, Error)]
pub enum ScanError {
    /// Something in it cannot be in a release.
    #[error("cannot ship {}: {why}", path.display())]
    Refused {
        /// What.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder cannot be walked.
    #[error("cannot walk {}", dir.display())]
    Walk {
        /// The folder.
        dir: PathBuf,
        /// Why.
        source: ignore::Error,
    },
}

/// A folder as a release.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Scan {
    /// Its files.
    pub manifest: Manifest,
    /// Where the content with this digest can be read.
    pub files: BTreeMap<Digest, PathBuf>,
}

/// Reads a folder: everything but `.git`, a data folder `.segue` of segue's own, and what
/// `.segueignore` files name. No other ignore file counts: build outputs are needed to run.
///
/// # Errors
/// Names the path that cannot be read or shipped.
pub fn scan(dir: &Path) -> Result<Scan, ScanError> {
    let mut scan = Scan::default();
    let walk = ignore::WalkBuilder::new(dir)
        .standard_filters(false)
        .follow_links(false)
        .add_custom_ignore_filename(".segueignore")
        .filter_entry(|entry| entry.file_name() != ".git" && entry.file_name() != ".segue")
        .build();
    for entry in walk {
        let entry = entry.map_err(|source| ScanError::Walk { dir: dir.into(), source })?;
        if entry.depth() == 0 {
            continue;
        }
        let (path, inside) = (entry.path(), entry.path().strip_prefix(dir).unwrap_or(entry.path()));
        let why = |why: &str| ScanError::Refused { path: path.into(), why: why.to_owned() };
        let name = inside.to_str().ok_or_else(|| why("its name is not UTF-8"))?;
        let kind = read_kind(path, &mut scan.files)?
            .ok_or_else(|| why("it is neither a file, nor a folder, nor a symbolic link"))?;
        scan.manifest.entries.push(Entry { path: name.to_owned(), kind });
        if scan.manifest.entries.len() > MOST_ENTRIES {
            return Err(why(&format!("the folder has more than {MOST_ENTRIES} entries")));
        }
    }
    scan.manifest.entries.sort_by(|a, b| a.path.cmp(&b.path));
    scan.manifest
        .validate()
        .map_err(|Refused { path, why }| ScanError::Refused { path: dir.join(path), why })?;
    Ok(scan)
}

/// `None` for a device, a socket, a pipe.
fn read_kind(
    path: &Path,
    files: &mut BTreeMap<Digest, PathBuf>,
) -> Result<Option<Kind>, ScanError> {
    let io = |source| ScanError::Io { path: path.into(), source };
    let metadata = fs::symlink_metadata(path).map_err(io)?;
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
    // The size is that of what was hashed: the file may be growing.
    let size = io::copy(&mut File::open(path).map_err(io)?, &mut hasher).map_err(io)?;
    let digest = Digest::from_bytes(*hasher.finalize().as_bytes());
    files.entry(digest).or_insert_with(|| path.to_path_buf());
    let executable = metadata.permissions().mode() & 0o111 != 0;
    Ok(Some(Kind::File { digest, size, executable }))
}

#[cfg(test)]
mod tests;
