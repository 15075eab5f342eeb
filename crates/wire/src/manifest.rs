//! The list of a release's files, and the scan of a folder that makes it. Writes nothing and
//! follows no link.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use model::Digest;
use serde::{Deserialize, Serialize};

/// Files, links and folders of one release, sorted by path.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What there is.
    pub entries: Vec<Entry>,
}

/// One file, link or folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Relative to the release's folder, with `/` between the parts.
    pub path: String,
    /// What it is.
    pub kind: Kind,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A file.
    File {
        /// Blake3 of its content.
        digest: Digest,
        /// Its length in bytes.
        size: u64,
        /// Somebody may execute it; the rest of its mode is not kept.
        executable: bool,
    },
    /// A symbolic link that stays inside the folder.
    Symlink {
        /// As it is written.
        target: String,
    },
    /// A folder.
    Dir,
}

/// Why a folder cannot be shipped. Names the path.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// It could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder could not be walked.
    #[error("cannot walk the folder")]
    Walk(#[from] ignore::Error),
    /// It points outside, where it would point somewhere else on the host.
    #[error("the link {} points outside of the folder, to {}", path.display(), target.display())]
    Outside {
        /// The link.
        path: PathBuf,
        /// Where it points.
        target: PathBuf,
    },
    /// A device, socket or pipe.
    #[error("{} is neither a file nor a folder nor a link", path.display())]
    Special {
        /// What.
        path: PathBuf,
    },
    /// Its name is no UTF-8.
    #[error("the name of {} is not UTF-8", path.display())]
    Name {
        /// What.
        path: PathBuf,
    },
    /// More than a release may hold.
    #[error("{} holds more than {limit} files", path.display())]
    TooMany {
        /// The folder.
        path: PathBuf,
        /// The bound.
        limit: usize,
    },
}

/// The most entries a release may have.
const LIMIT: usize = 100_000;

/// Reads the folder `dir`: everything but `.git`, a data folder `.segue` of segue's own, and what
/// `.segueignore` files name. No other ignore file counts, since build outputs are needed to run.
///
/// # Errors
/// When something cannot be read, or cannot be part of a release.
pub fn scan(dir: &Path) -> Result<Manifest, ScanError> {
    let read = |source| ScanError::Read { path: dir.to_owned(), source };
    if !fs::metadata(dir).map_err(read)?.is_dir() {
        return Err(read(io::ErrorKind::NotADirectory.into()));
    }
    let mut walk = ignore::WalkBuilder::new(dir);
    walk.standard_filters(false)
        .follow_links(false)
        .add_custom_ignore_filename(".segueignore")
        .filter_entry(|entry| entry.file_name() != ".git" && entry.file_name() != ".segue");
    let mut entries = Vec::new();
    for found in walk.build() {
        let found = found?;
        let Ok(relative) = found.path().strip_prefix(dir) else { continue };
        if relative.as_os_str().is_empty() {
            continue;
        }
        if entries.len() == LIMIT {
            return Err(ScanError::TooMany { path: dir.to_owned(), limit: LIMIT });
        }
        let path =
            relative.to_str().ok_or_else(|| ScanError::Name { path: relative.to_owned() })?;
        entries.push(Entry { path: path.to_owned(), kind: kind(found.path(), relative)? });
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Manifest { entries })
}

fn kind(path: &Path, relative: &Path) -> Result<Kind, ScanError> {
    use std::os::unix::fs::PermissionsExt as _;
    let read = |source| ScanError::Read { path: path.to_owned(), source };
    let meta = fs::symlink_metadata(path).map_err(read)?;
    if meta.is_dir() {
        return Ok(Kind::Dir);
    }
    if meta.is_symlink() {
        let target = fs::read_link(path).map_err(read)?;
        if !stays_inside(relative, &target) {
            return Err(ScanError::Outside { path: relative.to_owned(), target });
        }
        let name = || ScanError::Name { path: target.clone() };
        return Ok(Kind::Symlink { target: target.to_str().ok_or_else(name)?.to_owned() });
    }
    if !meta.is_file() {
        return Err(ScanError::Special { path: relative.to_owned() });
    }
    let file = fs::File::open(path).map_err(read)?;
    let mut hash = blake3::Hasher::new();
    hash.update_reader(file).map_err(read)?;
    Ok(Kind::File {
        digest: Digest::from_bytes(*hash.finalize().as_bytes()),
        size: hash.count(),
        executable: meta.permissions().mode() & 0o111 != 0,
    })
}

/// Whether a link at `link` that reads `target` leads to somewhere in the folder, whatever else
/// the folder holds.
fn stays_inside(link: &Path, target: &Path) -> bool {
    let mut depth = link.components().count().saturating_sub(1);
    for part in target.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, *file).unwrap();
        }
        dir
    }

    fn paths(manifest: &Manifest) -> Vec<&str> {
        manifest.entries.iter().map(|entry| entry.path.as_str()).collect()
    }

    #[test]
    fn everything_is_shipped_but_git_the_data_folder_and_what_segueignore_names() {
        let dir = folder(&["a", "target/out", ".env", ".git/HEAD", ".segue/token", "log/x.log"]);
        fs::write(dir.path().join(".gitignore"), "target\n").unwrap();
        fs::write(dir.path().join(".segueignore"), "*.log\n").unwrap();
        let manifest = scan(dir.path()).unwrap();
        let wanted = [".env", ".gitignore", ".segueignore", "a", "log", "target", "target/out"];
        assert_eq!(paths(&manifest), wanted);
    }

    #[test]
    fn the_same_content_has_the_same_digest_and_modes_count() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = folder(&["a"]);
        fs::write(dir.path().join("b"), "a").unwrap();
        let mode = fs::Permissions::from_mode(0o4755);
        fs::set_permissions(dir.path().join("b"), mode).unwrap();
        let manifest = scan(dir.path()).unwrap();
        let [a, b] = manifest.entries.as_slice() else { panic!("two files") };
        let Kind::File { digest, size: 1, executable: false } = &a.kind else { panic!("{a:?}") };
        assert_eq!(*digest.as_bytes(), *blake3::hash(b"a").as_bytes());
        assert_eq!(b.kind, Kind::File { digest: *digest, size: 1, executable: true });
    }

    #[test]
    fn a_link_that_leaves_the_folder_is_refused_by_name() {
        for target in ["/etc/passwd", "../x", "sub/../../x"] {
            let dir = folder(&["a"]);
            symlink(target, dir.path().join("link")).unwrap();
            let error = scan(dir.path()).unwrap_err().to_string();
            assert!(error.starts_with("the link link points outside"), "{error}");
        }
        let dir = folder(&["sub/a"]);
        symlink("../sub/a", dir.path().join("sub/link")).unwrap();
        assert_eq!(paths(&scan(dir.path()).unwrap()), ["sub", "sub/a", "sub/link"]);
    }

    #[test]
    fn a_socket_is_refused() {
        let dir = folder(&[]);
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap();
        assert!(matches!(scan(dir.path()), Err(ScanError::Special { .. })));
    }
}
