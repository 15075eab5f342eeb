//! Finds out whether a folder came with a git repository. Files that git checks out belong to the user who
//! cloned the repository, so owner and mode do not show who wrote them. Reads git's index as bytes and never
//! runs git.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// The largest size of an index that is searched, in bytes.
const INDEX_BYTES: u64 = 256 << 20;
/// The largest number of parent folders that are checked.
const DEPTH: usize = 64;

/// Returns whether the repository around `folder` tracks a file in it.
pub(crate) fn tracks(folder: &Path) -> bool {
    let Some((top, index)) = folder.ancestors().skip(1).take(DEPTH).find_map(repository) else {
        return false;
    };
    let Ok(inside) = folder.strip_prefix(&top) else { return false };
    let Ok(file) = File::open(index) else { return false };
    let mut bytes = Vec::new();
    if file.take(INDEX_BYTES).read_to_end(&mut bytes).is_err() {
        return false;
    }
    let mut name = inside.as_os_str().as_encoded_bytes().to_vec();
    name.push(b'/');
    // A path begins after the flags of its entry, so the byte before the path is not part of a name. In
    // version 4 of the index, a path leaves out the prefix that it shares with the previous path.
    let version = bytes.get(7).copied().unwrap_or_default();
    let wanted = if version >= 4 { name.strip_prefix(b".").unwrap_or(&name) } else { &name };
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// Returns the top folder and the index of a work tree, if this folder is the top of one.
fn repository(top: &Path) -> Option<(PathBuf, PathBuf)> {
    let git = top.join(".git");
    let found = fs::metadata(&git).ok()?;
    if found.is_dir() {
        return Some((top.to_owned(), git.join("index")));
    }
    // In a separate work tree or a submodule, `.git` is a file that names the folder.
    let text = fs::read_to_string(git).ok()?;
    let folder = text.strip_prefix("gitdir:")?.trim();
    Some((top.to_owned(), top.join(folder).join("index")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_index_names_is_tracked() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at(".git")).unwrap();
        fs::create_dir_all(at("sub/.segue")).unwrap();
        assert!(!tracks(&at("sub/.segue")));
        let entry = |path: &str| [b"DIRC\0\0\0\x02\0\0\0\x01".as_slice(), path.as_bytes()].concat();
        fs::write(at(".git/index"), entry("sub/app.py\0")).unwrap();
        assert!(!tracks(&at("sub/.segue")));
        fs::write(at(".git/index"), entry("sub/.segue/token\0")).unwrap();
        assert!(tracks(&at("sub/.segue")));
        assert!(!tracks(&at("sub/data")));
    }
}
