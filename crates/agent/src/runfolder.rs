//! The folder of one instance: who owns it (a lock), what was begun, what was stopped, how it ended.
//! Shared by the shim, which writes most of it, and the agent, which reads it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use model::Exit;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

const EXIT_BYTES: usize = 256;

/// The socket's name in the folder.
pub(crate) const SOCKET: &str = "shim.sock";
/// The name of the output file in the folder.
pub(crate) const OUTPUT: &str = "output.log";
/// The output before that.
pub(crate) const OLDER_OUTPUT: &str = "output.log.1";

/// Written before the command runs: from then on this instance is never started again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessRecord {
    pub pid: u32,
    /// Ticks from boot to its start.
    pub start: u64,
    pub boot_id: String,
    /// The control group its tree is in.
    pub cgroup: Option<PathBuf>,
}

/// Written after the last process of the tree has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ExitRecord {
    exit: Exit,
}

/// One instance's folder.
#[derive(Clone, Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
}

/// The lock of the folder, held by a running shim, or by the agent while it cleans up after one.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl RunFolder {
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_path_buf() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the folder, private.
    pub fn create(&self) -> io::Result<()> {
        datadir::private_folder(&self.path)
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> io::Result<Option<Lock>> {
        let file = self.lock_file()?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Waits for the lock.
    pub fn lock(&self) -> io::Result<Lock> {
        let file = self.lock_file()?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
        Ok(Lock { _file: file })
    }

    fn lock_file(&self) -> io::Result<File> {
        datadir::open_or_create(&self.path.join("lock"))
    }

    /// The process that was begun here, if one was.
    pub fn process(&self) -> io::Result<Option<ProcessRecord>> {
        read(&self.path.join("process.json"))
    }

    pub fn record_process(&self, record: &ProcessRecord) -> io::Result<()> {
        datadir::write(&self.path.join("process.json"), &serde_json::to_vec(record)?)
    }

    /// Where the instance's socket lies, if it has one. Whoever clears up may have another environment
    /// than whoever started it, and so another folder for sockets.
    pub fn socket_folder(&self) -> io::Result<Option<PathBuf>> {
        match datadir::read(&self.path.join("socket")) {
            Ok(bytes) => Ok(Some(PathBuf::from(OsString::from_vec(bytes)))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    pub fn record_socket_folder(&self, folder: &Path) -> io::Result<()> {
        datadir::write(&self.path.join("socket"), folder.as_os_str().as_bytes())
    }

    /// Whether a start is refused: it was begun already, or told to stop before.
    pub fn is_used(&self) -> bool {
        datadir::is_there(&self.path.join("process.json")) || self.is_stopped()
    }

    /// Whether somebody said stop.
    pub fn is_stopped(&self) -> bool {
        datadir::is_there(&self.path.join("stopped"))
    }

    /// Leaves the tombstone: whatever comes later, this instance is not started any more.
    pub fn tombstone(&self) -> io::Result<()> {
        if self.is_stopped() { Ok(()) } else { datadir::write(&self.path.join("stopped"), b"") }
    }

    /// Takes the room for the exit record now, so that a full disk cannot swallow it later.
    pub fn reserve_exit(&self) -> io::Result<()> {
        let file = datadir::create_private(&self.path.join("exit.reserve"))?;
        file.write_all_at(&[b' '; EXIT_BYTES], 0)?;
        file.sync_all()
    }

    pub fn record_exit(&self, exit: Exit) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(&ExitRecord { exit })?;
        bytes.resize(bytes.len().max(EXIT_BYTES), b' ');
        let reserve = self.path.join("exit.reserve");
        let file = datadir::open_or_create(&reserve)?;
        file.write_all_at(&bytes, 0)?;
        file.sync_all()?;
        fs::rename(&reserve, self.path.join("exit.json"))?;
        datadir::sync_parent(&reserve)
    }

    /// Adds a line of segue's own to the output, for whoever asks why the instance has ended.
    pub fn note(&self, text: &str) -> io::Result<()> {
        let path = self.path.join(OUTPUT);
        let mut last = [b'\n'];
        let written = datadir::open(&path).and_then(|file| {
            let length = file.metadata()?.len();
            if length > 0 { file.read_exact_at(&mut last, length - 1) } else { Ok(()) }
        });
        let start = if written.is_ok() && last != [b'\n'] { "\n" } else { "" };
        let mut file = datadir::append(&path)?;
        file.write_all(format!("{start}segue: {text}\n").as_bytes())
    }

    /// How it ended, if that was seen.
    pub fn exit(&self) -> io::Result<Option<Exit>> {
        Ok(read::<ExitRecord>(&self.path.join("exit.json"))?.map(|record| record.exit))
    }
}

fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> io::Result<Option<T>> {
    match datadir::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
