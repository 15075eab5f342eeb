//! Unix sockets that others have created. An app may put anything at the path of its socket, and the process
//! that connects may be root. Therefore a link is followed only if root or our own user owns it, and a socket
//! that has another name elsewhere is refused. This module never connects.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};

/// The largest number of links that are followed in a row.
const LINKS: usize = 8;

/// A socket that was found. It stays the same, whatever its name leads to later.
#[derive(Debug)]
pub struct FoundSocket {
    file: OwnedFd,
}

impl FoundSocket {
    /// Finds the socket with this name.
    ///
    /// # Errors
    /// If nothing has that name, or it is not a socket that can be trusted.
    pub fn find(path: &Path) -> io::Result<Self> {
        let mut path = path.to_path_buf();
        for _ in 0..LINKS {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::openat(CWD, &path, flags, Mode::empty())?;
            let found = rustix::fs::fstat(&file)?;
            if found.st_nlink > 1 {
                return Err(refuse("it has another name elsewhere"));
            }
            match FileType::from_raw_mode(found.st_mode) {
                FileType::Socket => return Ok(Self { file }),
                FileType::Symlink => {
                    if found.st_uid != 0 && found.st_uid != rustix::process::geteuid().as_raw() {
                        let why = format!("it is a symbolic link of user {}", found.st_uid);
                        return Err(refuse(&why));
                    }
                    let to = rustix::fs::readlinkat(&file, "", Vec::new())?;
                    let to = PathBuf::from(std::ffi::OsString::from_vec(to.into_bytes()));
                    path = path.parent().unwrap_or(Path::new("/")).join(to);
                }
                FileType::RegularFile
                | FileType::Directory
                | FileType::Fifo
                | FileType::CharacterDevice
                | FileType::BlockDevice
                | FileType::Unknown => return Err(refuse("it is no socket")),
            }
        }
        Err(refuse("too many symbolic links lead on from it"))
    }

    /// Returns a short path to this very socket, valid as long as `self` exists.
    pub fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.file.as_raw_fd())
    }
}

fn refuse(why: &str) -> io::Error {
    io::Error::other(format!("the socket is not used: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{lchown, symlink};
    use std::os::unix::net::{UnixListener, UnixStream};

    fn refusal(path: &Path) -> String {
        FoundSocket::find(path).unwrap_err().to_string()
    }

    #[test]
    fn a_socket_is_found_and_connected_to_whatever_its_name_leads_to_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let (socket, aside) = (dir.path().join("app.sock"), dir.path().join("aside"));
        assert_eq!(FoundSocket::find(&socket).unwrap_err().kind(), io::ErrorKind::NotFound);
        let listener = UnixListener::bind(&socket).unwrap();
        let found = FoundSocket::find(&socket).unwrap();
        fs::rename(&socket, &aside).unwrap();
        symlink("/nowhere", &socket).unwrap();
        UnixStream::connect(found.path()).unwrap();
        listener.accept().unwrap();
    }

    #[test]
    fn what_an_app_puts_in_its_place_leads_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let _listener = UnixListener::bind(at("precious")).unwrap();
        symlink("precious", at("ours")).unwrap();
        assert!(FoundSocket::find(&at("ours")).is_ok());
        fs::write(at("file"), "x").unwrap();
        assert!(refusal(&at("file")).ends_with("it is no socket"));
        symlink("loop", at("loop")).unwrap();
        assert!(refusal(&at("loop")).contains("too many"));
        fs::hard_link(at("precious"), at("again")).unwrap();
        assert!(refusal(&at("again")).ends_with("it has another name elsewhere"));
        fs::remove_file(at("again")).unwrap();
        symlink("precious", at("theirs")).unwrap();
        if lchown(at("theirs"), Some(65_534), None).is_err() {
            return; // only root can give a link away
        }
        assert!(refusal(&at("theirs")).ends_with("it is a symbolic link of user 65534"));
    }
}
