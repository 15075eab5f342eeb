//! The path to the data folder. Its symbolic links are followed only if root or our own user owns them. Looks
//! at names and never reads files.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use crate::refusal::Unsafe;

/// The largest number of links that are followed, as in the kernel.
const LINKS: usize = 40;

/// Returns the path without any symbolic link. Components that do not exist yet stay unchanged.
pub(crate) fn follow(path: &Path, me: u32) -> Result<PathBuf, Unsafe> {
    let absolute = std::path::absolute(path).map_err(|e| Unsafe::io("find", path, e))?;
    let mut ahead = parts(&absolute);
    let mut here = PathBuf::from("/");
    let mut links = 0;
    while let Some(name) = ahead.pop_front() {
        if name == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&name);
        let found = match fs::symlink_metadata(&next) {
            Ok(found) => found,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                here = next;
                continue;
            }
            Err(e) => return Err(Unsafe::io("look at", &next, e)),
        };
        if !found.is_symlink() {
            here = next;
            continue;
        }
        links += 1;
        if links > LINKS {
            return Err(Unsafe::because(&next, "it is part of a loop of symbolic links"));
        }
        if found.uid() != 0 && found.uid() != me {
            let why = format!("it is a symbolic link of user {}", found.uid());
            return Err(
                Unsafe::because(&next, why).hinting("name the folder it leads to, if it is yours")
            );
        }
        let target = fs::read_link(&next).map_err(|e| Unsafe::io("follow", &next, e))?;
        if target.is_absolute() {
            here = PathBuf::from("/");
        }
        for part in parts(&target).into_iter().rev() {
            ahead.push_front(part);
        }
    }
    Ok(here)
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    };
    path.components().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{lchown, symlink};

    #[test]
    fn our_links_are_followed_and_those_of_others_are_not() {
        let me = rustix::process::geteuid().as_raw();
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        fs::create_dir_all(dir.join("a/real")).unwrap();
        symlink("a/../a/real", dir.join("link")).unwrap();
        assert_eq!(follow(&dir.join("link/new/x"), me).unwrap(), dir.join("a/real/new/x"));
        symlink("round", dir.join("round")).unwrap();
        assert!(follow(&dir.join("round"), me).unwrap_err().to_string().contains("loop"));
        // A user who is neither root nor the owner of the link does not follow it.
        if lchown(dir.join("link"), Some(12_345), None).is_ok() {
            let why = follow(&dir.join("link"), me).unwrap_err().to_string();
            assert!(why.contains("symbolic link of user 12345"), "{why}");
        }
    }
}
