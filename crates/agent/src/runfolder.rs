//! The run folder of one instance: the lock, and the records of its start, its stop and its end. The process
//! that holds the lock owns the folder. The shim writes most of the records, and the agent reads them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use model::{Digest, Exit, Label};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

const EXIT_BYTES: usize = 256;

/// The name of the socket in the folder.
pub(crate) const SOCKET: &str = "shim.sock";
/// The name of the output file in the folder.
pub(crate) const OUTPUT: &str = "output.log";
/// The name of the previous output file.
pub(crate) const OLDER_OUTPUT: &str = "output.log.1";

/// The record of the instance's process, written before the command runs. Once the record exists, the
/// instance is never started again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessRecord {
    pub pid: u32,
    /// The ticks from boot to the process's start.
    pub start: u64,
    pub boot_id: String,
    /// The control group of its process tree.
    pub cgroup: Option<PathBuf>,
}

/// The record of the release that the instance is of, written when the folder is created. A control that has
/// lost a part of its journal gives out numbers again, and must not take one release's instance for another's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReleaseRecord {
    pub label: Label,
    pub content: Option<Digest>,
}

/// The record of the instance's end, written after the last process of its tree has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ExitRecord {
    exit: Exit,
}

/// The run folder of one instance.
#[derive(Clone, Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
}

/// The lock of the folder, held by a running shim, or by the agent while it cleans up after a shim.
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

    /// Creates the folder, accessible to its owner only.
    pub fn create(&self) -> io::Result<()> {
        datadir::private_folder(&self.path)
    }

    /// Returns the record of the instance's release. An earlier version wrote none.
    pub fn release(&self) -> io::Result<Option<ReleaseRecord>> {
        read(&self.path.join("release.json"))
    }

    pub fn record_release(&self, record: &ReleaseRecord) -> io::Result<()> {
        datadir::write(&self.path.join("release.json"), &serde_json::to_vec(record)?)
    }

    /// Takes the lock if it is free; returns `None` if it is not.
    pub fn try_lock(&self) -> io::Result<Option<Lock>> {
        let file = self.lock_file()?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Returns whether a shim holds the lock. Makes no folder: there may be no such instance.
    pub fn lives(&self) -> io::Result<bool> {
        if !datadir::is_there(&self.path) {
            return Ok(false);
        }
        Ok(self.try_lock()?.is_none())
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

    /// Returns the record of the process that was started here, if one was.
    pub fn process(&self) -> io::Result<Option<ProcessRecord>> {
        read(&self.path.join("process.json"))
    }

    pub fn record_process(&self, record: &ProcessRecord) -> io::Result<()> {
        datadir::write(&self.path.join("process.json"), &serde_json::to_vec(record)?)
    }

    /// Returns the path of the instance's socket, if it has one. The path is recorded because the process
    /// that cleans up may have another environment than the one that started the instance, and so another
    /// folder for sockets.
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

    /// Returns whether a start is refused, because the instance was started before or told to stop.
    pub fn is_used(&self) -> bool {
        datadir::is_there(&self.path.join("process.json")) || self.is_stopped()
    }

    /// Returns whether the instance was told to stop.
    pub fn is_stopped(&self) -> bool {
        datadir::is_there(&self.path.join("stopped"))
    }

    /// Leaves the tombstone, after which this instance can no longer be started.
    pub fn tombstone(&self) -> io::Result<()> {
        if self.is_stopped() { Ok(()) } else { datadir::write(&self.path.join("stopped"), b"") }
    }

    /// Reserves space for the exit record, so that it can be written even if the disk is full then.
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

    /// Appends a line of segue's own to the output, which says why the instance has ended.
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

    /// Returns how the instance ended, if that was recorded.
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
