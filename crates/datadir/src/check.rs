//! Checks who created a data folder: the owners and modes of the folder and its entries are checked before
//! any of them is read. Repairs one thing only: a folder of our own that others may write to is closed to
//! them.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::refusal::Unsafe;
use crate::{files, git_checkout, path_links};

/// The private files. Only segue creates them, and always for their owner only. A copy of a folder (by git,
/// or from an archive with the usual umask) makes them readable for others.
const SECRETS: [&str; 7] =
    ["lock", "token", "affinity.keys", "env.key", "journal.db", "journal.db-acked", "snapshot"];
/// The files that every start writes anew without reading them. Earlier versions left their mode to the
/// umask.
const REWRITTEN: [&str; 3] = ["server.pid", "ballast", "lock"];

const OTHERS: &str = "name another folder with --data; if this one is yours, run as its owner or \
                      give it to yourself with `chown -R`";

/// A data folder that has been checked. As far as [`DataDir::open`] has checked, everything in it belongs to
/// root or to our own user, and there is no symbolic link.
#[derive(Clone, Debug)]
pub struct DataDir {
    path: PathBuf,
}

impl DataDir {
    /// Checks a data folder, and creates it (0711) if it does not exist.
    ///
    /// # Errors
    /// If the folder or one of its direct entries was created by somebody else.
    pub fn open_or_create(path: &Path) -> Result<Self, Unsafe> {
        let me = rustix::process::geteuid().as_raw();
        let path = path_links::follow(path, me)?;
        let missing: Vec<&Path> = path.ancestors().take_while(|p| !files::is_there(p)).collect();
        for folder in missing.into_iter().rev() {
            files::folder(folder, 0o711).map_err(|e| Unsafe::io("make", folder, e))?;
        }
        Self::checked(path, me)
    }

    /// Checks a data folder that exists.
    ///
    /// # Errors
    /// If the folder does not exist, or if the folder or one of its direct entries was created by somebody
    /// else.
    pub fn open(path: &Path) -> Result<Self, Unsafe> {
        let me = rustix::process::geteuid().as_raw();
        Self::checked(path_links::follow(path, me)?, me)
    }

    /// Returns the folder's path, absolute and without symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn checked(path: PathBuf, me: u32) -> Result<Self, Unsafe> {
        let folder = fs::symlink_metadata(&path).map_err(|e| Unsafe::io("look at", &path, e))?;
        if !folder.is_dir() {
            return Err(Unsafe::because(&path, "it is not a folder"));
        }
        check_owner(&path, &folder, me)?;
        // The folder is closed first. From here on nobody else can put anything into it.
        if folder.mode() & 0o022 != 0 && folder.uid() == me {
            files::set_mode(&path, folder.mode() & 0o7755)
                .map_err(|e| Unsafe::io("close", &path, e))?;
        } else {
            check_mode(&path, &folder, Closed::ToWriters)?;
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(&path).map_err(|e| Unsafe::io("list", &path, e))? {
            let entry = entry.map_err(|e| Unsafe::io("list", &path, e))?;
            check_entry(&entry.path(), me)?;
            names.extend(entry.file_name().into_string());
        }
        check_origin(&path, &names)?;
        Ok(Self { path })
    }
}

/// Checks everything in `folder`, `depth` folders deep.
///
/// # Errors
/// If something was created by somebody else, or is a symbolic link.
pub fn check_tree(folder: &Path, depth: usize) -> Result<(), Unsafe> {
    let me = rustix::process::geteuid().as_raw();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Unsafe::io("list", folder, e)),
    };
    for entry in entries {
        let path = entry.map_err(|e| Unsafe::io("list", folder, e))?.path();
        let found = check_entry(&path, me)?;
        if depth > 1 && found.is_dir() {
            check_tree(&path, depth - 1)?;
        }
    }
    Ok(())
}

/// Checks one folder of our own, but not its entries. A folder that does not exist is accepted.
///
/// # Errors
/// If the folder was created by somebody else, or is not a folder.
pub fn check_folder(folder: &Path) -> Result<(), Unsafe> {
    if !files::is_there(folder) {
        return Ok(());
    }
    let found = check_entry(folder, rustix::process::geteuid().as_raw())?;
    if found.is_dir() { Ok(()) } else { Err(Unsafe::because(folder, "it is not a folder")) }
}

/// Checks a folder of our own that contains files of apps, whoever owns them. None of its entries may be a
/// symbolic link.
///
/// # Errors
/// If the folder was created by somebody else, or contains a symbolic link.
pub fn check_names(folder: &Path) -> Result<(), Unsafe> {
    check_folder(folder)?;
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Unsafe::io("list", folder, e)),
    };
    for entry in entries {
        let path = entry.map_err(|e| Unsafe::io("list", folder, e))?.path();
        let found = fs::symlink_metadata(&path).map_err(|e| Unsafe::io("look at", &path, e))?;
        check_no_link(&path, &found)?;
    }
    Ok(())
}

fn check_entry(path: &Path, me: u32) -> Result<Metadata, Unsafe> {
    let found = fs::symlink_metadata(path).map_err(|e| Unsafe::io("look at", path, e))?;
    check_no_link(path, &found)?;
    check_owner(path, &found, me)?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if !found.file_type().is_socket() && !REWRITTEN.contains(&name) {
        check_mode(path, &found, Closed::ToWriters)?;
    }
    if SECRETS.contains(&name) && found.is_file() {
        check_mode(path, &found, Closed::ToAll)?;
    }
    Ok(found)
}

fn check_no_link(path: &Path, found: &Metadata) -> Result<(), Unsafe> {
    if found.is_symlink() {
        let hint = "nothing in a data folder is reached through links; to keep it elsewhere, name \
                    that place with --data, or mount it";
        return Err(Unsafe::because(path, "it is a symbolic link").hinting(hint));
    }
    Ok(())
}

fn check_owner(path: &Path, found: &Metadata, me: u32) -> Result<(), Unsafe> {
    if found.uid() == me || found.uid() == 0 {
        return Ok(());
    }
    let why = format!("it belongs to user {}, and segue runs as user {me}", found.uid());
    Err(Unsafe::because(path, why).hinting(OTHERS))
}

/// The users to whom a file or folder has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closed {
    /// Nobody else may write.
    ToWriters,
    /// Nobody else may read or write.
    ToAll,
}

fn check_mode(path: &Path, found: &Metadata, closed: Closed) -> Result<(), Unsafe> {
    let mode = found.permissions().mode() & 0o7777;
    let (open, why, hint) = match closed {
        Closed::ToWriters => (
            0o022,
            format!("other users may write to it (mode {mode:04o})"),
            "if nobody else has, close it with `chmod go-w`",
        ),
        Closed::ToAll => (
            0o077,
            format!("segue makes it for its owner alone (0600), and its mode is {mode:04o}"),
            "a copy from a repository or an archive looks like that: name another folder with \
             --data; if you restored it yourself, `chmod 600` it",
        ),
    };
    if mode & open == 0 { Ok(()) } else { Err(Unsafe::because(path, why).hinting(hint)) }
}

/// Checks that segue has created a folder with contents on this machine: it has a secret file, and git does
/// not track it.
fn check_origin(path: &Path, names: &[String]) -> Result<(), Unsafe> {
    let holds = ["apps", "blobs", "run", "env"];
    let holds = names.iter().find(|name| holds.contains(&name.as_str()));
    let secret = names.iter().any(|name| SECRETS.contains(&name.as_str()));
    if let Some(name) = holds.filter(|_| !secret) {
        let why = format!("it holds {name}, but no file that segue makes first");
        let hint = "name another folder with --data; a folder from a backup has its env.key and \
                    affinity.keys";
        return Err(Unsafe::because(path, why).hinting(hint));
    }
    if !names.is_empty() && git_checkout::tracks(path) {
        let why = "it is part of a git repository, and may come from whoever can write to that";
        let hint = "name another folder with --data, or take this one out of the repository with \
                    `git rm -r --cached`";
        return Err(Unsafe::because(path, why).hinting(hint));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{chown, symlink};

    /// Creates a data folder like one that a server has used.
    fn used() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().canonicalize().unwrap().join("data");
        DataDir::open_or_create(&data).unwrap();
        for name in ["lock", "token", "affinity.keys", "journal.db"] {
            files::write(&data.join(name), b"x").unwrap();
        }
        files::private_folder(&data.join("run/web-1")).unwrap();
        (dir, data)
    }

    fn refusal(data: &Path) -> String {
        DataDir::open_or_create(data).unwrap_err().to_string()
    }

    #[test]
    fn a_folder_that_segue_made_is_used_again() {
        let (_dir, data) = used();
        assert_eq!(DataDir::open(&data).unwrap().path(), data);
        assert_eq!(fs::metadata(&data).unwrap().mode() & 0o777, 0o711);
        // A folder created by hand, with the umask of a user who has their own group.
        files::set_mode(&data, 0o775).unwrap();
        DataDir::open(&data).unwrap();
        assert_eq!(fs::metadata(&data).unwrap().mode() & 0o777, 0o755);
    }

    #[test]
    fn a_link_in_it_is_refused_by_name() {
        for name in ["token", "server.pid", "snapshot", "blobs", "anything"] {
            let (_dir, data) = used();
            let _ = fs::remove_file(data.join(name));
            symlink("/etc", data.join(name)).unwrap();
            let why = refusal(&data);
            assert!(
                why.contains(&format!("{name} cannot be trusted: it is a symbolic link")),
                "{why}"
            );
        }
        let (_dir, data) = used();
        symlink("/etc/passwd", data.join("run/web-1/output.log")).unwrap();
        assert!(check_tree(&data.join("run"), 1).is_ok());
        assert!(check_tree(&data.join("run"), 2).is_err());
    }

    #[test]
    fn a_copy_is_known_by_its_modes() {
        let (_dir, data) = used();
        files::set_mode(&data.join("token"), 0o644).unwrap();
        assert!(refusal(&data).contains("its mode is 0644"), "{}", refusal(&data));
        let (_dir, data) = used();
        for name in ["lock", "token", "affinity.keys", "journal.db"] {
            fs::remove_file(data.join(name)).unwrap();
        }
        assert!(refusal(&data).contains("it holds"), "{}", refusal(&data));
        let (_dir, data) = used();
        files::set_mode(&data.join("run"), 0o777).unwrap();
        assert!(refusal(&data).contains("other users may write to it"), "{}", refusal(&data));
        // A clone, made with a umask that makes every file private.
        let (dir, data) = used();
        fs::create_dir(dir.path().join(".git")).unwrap();
        fs::write(dir.path().join(".git/index"), b"DIRC\0\0\0\x02....data/token\0").unwrap();
        assert!(refusal(&data).contains("git"), "{}", refusal(&data));
    }

    #[test]
    fn what_belongs_to_somebody_else_is_refused() {
        let (_dir, data) = used();
        if chown(data.join("journal.db"), Some(12_345), None).is_err() {
            return; // only root can give a file away
        }
        assert!(refusal(&data).contains("it belongs to user 12345"), "{}", refusal(&data));
        chown(&data, Some(12_345), None).unwrap();
        assert!(refusal(&data).contains("data cannot be trusted: it belongs to user 12345"));
    }
}
