//! Files and folders in the data folder. Every open refuses symbolic links, both in the file's own name and
//! in every folder of its path. Every file that is created is private (0600), whatever the umask is.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

const PRIVATE: u32 = 0o600;
/// The largest number of files that are synced one by one. For more files, the whole file system is synced.
const FEW: usize = 64;

/// Opens a file that exists.
///
/// # Errors
/// If the file does not exist, is reached through a symbolic link, or the system refuses.
pub fn open(path: &Path) -> io::Result<File> {
    open_with(path, OFlags::RDONLY)
}

/// Returns all bytes of a file.
///
/// # Errors
/// The errors of [`open`], or if the file cannot be read.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns the text of a file.
///
/// # Errors
/// The errors of [`read`], or if the text is not UTF-8.
pub fn read_to_string(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

/// Opens a private file for writing, and keeps its content. Creates the file if it does not exist.
///
/// # Errors
/// If the file is a symbolic link or is reached through one, or the system refuses.
pub fn open_or_create(path: &Path) -> io::Result<File> {
    make(path, OFlags::WRONLY)
}

/// Opens a private file for appending. Creates the file if it does not exist.
///
/// # Errors
/// If the file is a symbolic link or is reached through one, or the system refuses.
pub fn append(path: &Path) -> io::Result<File> {
    make(path, OFlags::WRONLY | OFlags::APPEND)
}

/// Creates a private file, or empties the existing one.
///
/// # Errors
/// If the file is a symbolic link or is reached through one, or the system refuses.
pub fn create_private(path: &Path) -> io::Result<File> {
    make(path, OFlags::WRONLY | OFlags::TRUNC)
}

/// Writes a private file in such a way that after a crash of the machine it has either its old content or the
/// new one.
///
/// # Errors
/// If the file cannot be written. It then still has its old content.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    put(path, bytes, true).and_then(|()| sync_parent(path))
}

/// Writes a private file in such a way that after a crash of this process it has either its old content or
/// the new one. A crash of the machine may lose either.
///
/// # Errors
/// If the file cannot be written. It then still has its old content.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    put(path, bytes, false)
}

fn put(path: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
    let temporary = temporary(path);
    let written = create_private(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        if durable {
            file.sync_all()?;
        }
        fs::rename(&temporary, path)
    });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Returns an unused name beside this path, `.NAME.PID-NUMBER`. At the next start, [`clear_unfinished`]
/// deletes files that still have such a name.
pub fn temporary(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}-{number}", std::process::id()))
}

/// Returns whether this name was made by [`temporary`], or by an earlier version before it deleted a folder.
fn is_unfinished(name: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_temporary = |rest: &str| {
        let count = rest.rsplit_once('.').and_then(|(_, count)| count.split_once('-'));
        count.is_some_and(|(pid, count)| number(pid) && number(count))
    };
    name.strip_prefix('.').is_some_and(|rest| rest.starts_with("doomed-") || is_temporary(rest))
}

/// Deletes a folder in such a way that a crash leaves no part of it under its name. Accepts a folder that
/// does not exist.
///
/// # Errors
/// If the folder cannot be renamed, or one of its entries cannot be deleted.
pub fn remove_folder(path: &Path) -> io::Result<()> {
    if !is_there(path) {
        return Ok(());
    }
    let doomed = temporary(path);
    fs::rename(path, &doomed)?;
    fs::remove_dir_all(&doomed)
}

/// Deletes files and folders that a process which ended early has left unfinished in a folder. Call this at a
/// start, while no other process writes there.
///
/// # Errors
/// If the folder cannot be read, or one of its entries cannot be deleted.
pub fn clear_unfinished(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    for entry in entries {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(is_unfinished) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Returns whether something has this name. A symbolic link is not followed.
pub fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Creates a private folder (0700), and its missing parent folders.
///
/// # Errors
/// If the name belongs to something else, or the system refuses.
pub fn private_folder(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !is_there(parent)) {
        private_folder(parent)?;
    }
    folder(path, 0o700)
}

/// Creates a folder (0711) through which an app that runs as its own user can reach its files, but which the
/// app cannot list. The parent folder has to exist.
///
/// # Errors
/// If the name belongs to something else, or the system refuses.
pub fn passable_folder(path: &Path) -> io::Result<()> {
    folder(path, 0o711)
}

/// Creates a folder with this mode. An existing folder keeps its mode.
pub(crate) fn folder(path: &Path, mode: u32) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => set_mode(path, mode),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            let found = fs::symlink_metadata(path)?.file_type();
            if found.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) }
        }
        Err(e) => Err(e),
    }
}

/// Sets the mode of a file or folder that was just created.
///
/// # Errors
/// If the system refuses.
pub fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Makes the name of a file durable.
///
/// # Errors
/// If the disk fails.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    open_with(folder, OFlags::RDONLY | OFlags::DIRECTORY)?.sync_all()
}

/// Makes files durable, and their names in `folder` and in their own folders.
///
/// # Errors
/// If one of them cannot be opened, or the disk fails.
pub fn sync_files(folder: &Path, files: &[PathBuf]) -> io::Result<()> {
    if files.len() > FEW {
        return Ok(rustix::fs::syncfs(open(folder)?)?);
    }
    let mut folders = BTreeSet::from([folder]);
    for file in files {
        open(file)?.sync_all()?;
        folders.extend(file.parent());
    }
    folders.into_iter().try_for_each(|folder| open(folder)?.sync_all())
}

/// Opens or creates a file. A new file gets its mode from here, not from the umask; an existing file keeps
/// its mode.
fn make(path: &Path, flags: OFlags) -> io::Result<File> {
    match open_with(path, flags | OFlags::CREATE | OFlags::EXCL) {
        Ok(file) => {
            file.set_permissions(fs::Permissions::from_mode(PRIVATE))?;
            Ok(file)
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => open_with(path, flags),
        Err(e) => Err(e),
    }
}

fn open_with(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let create = flags.contains(OFlags::CREATE);
    let mode = if create { Mode::from_raw_mode(PRIVATE) } else { Mode::empty() };
    let opened = match rustix::fs::openat2(CWD, path, flags, mode, ResolveFlags::NO_SYMLINKS) {
        // Before Linux 5.6, or in a container that does not support the call, only the last component is
        // checked for links. The folders were checked when the data folder was opened.
        Err(Errno::NOSYS | Errno::PERM) => rustix::fs::openat(CWD, path, flags, mode),
        opened => opened,
    };
    opened.map(File::from).map_err(|errno| match errno {
        Errno::LOOP => io::Error::other(
            "a symbolic link leads there, and nothing in a data folder is opened through one",
        ),
        errno => errno.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn no_link_is_followed_wherever_it_stands_in_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let victim = dir.join("victim");
        fs::create_dir(&victim).unwrap();
        fs::write(victim.join("file"), "precious").unwrap();
        symlink(victim.join("file"), dir.join("link")).unwrap();
        symlink(&victim, dir.join("folder")).unwrap();
        symlink(victim.join("made"), dir.join("dangling")).unwrap();
        for path in [dir.join("link"), dir.join("folder/file")] {
            for refused in
                [open(&path), open_or_create(&path), append(&path), create_private(&path)]
            {
                let why = refused.unwrap_err().to_string();
                assert!(why.contains("symbolic link"), "{}: {why}", path.display());
            }
        }
        assert!(create_private(&dir.join("dangling")).is_err());
        assert!(private_folder(&dir.join("folder")).is_err());
        assert!(!victim.join("made").exists());
        // A link with the name of the file is replaced, not followed.
        write(&dir.join("link"), b"new").unwrap();
        assert_eq!(fs::read_to_string(victim.join("file")).unwrap(), "precious");
        assert_eq!(read(&dir.join("link")).unwrap(), b"new");
    }

    #[test]
    fn only_what_was_not_finished_is_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["snapshot", ".gitignore", ".env.local", ".config.2-x", "a.1-2"] {
            fs::write(at(name), "").unwrap();
        }
        fs::write(temporary(&at("snapshot")), "").unwrap();
        for folder in [temporary(&at("web-1")), at(".doomed-7"), at("folder")] {
            fs::create_dir_all(folder.join("full")).unwrap();
        }
        remove_folder(&at("folder")).unwrap();
        remove_folder(&at("folder")).unwrap();
        clear_unfinished(dir.path()).unwrap();
        let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let names: BTreeSet<_> = names.collect();
        let left = [".config.2-x", ".env.local", ".gitignore", "a.1-2", "snapshot"];
        assert_eq!(names, left.map(Into::into).into());
        clear_unfinished(&at("not there")).unwrap();
    }

    #[test]
    fn modes_are_set_and_what_is_there_keeps_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        private_folder(&at("a/b")).unwrap();
        passable_folder(&at("c")).unwrap();
        write(&at("file"), b"x").unwrap();
        assert_eq!([mode(&at("a")), mode(&at("a/b")), mode(&at("c"))], [0o700, 0o700, 0o711]);
        assert_eq!(mode(&at("file")), 0o600);
        set_mode(&at("c"), 0o755).unwrap();
        passable_folder(&at("c")).unwrap();
        assert_eq!(mode(&at("c")), 0o755);
        assert!(passable_folder(&at("file")).is_err());
    }
}
