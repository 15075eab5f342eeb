//! The agent's end of a shim's socket. Never judges by a process id whether an instance lives: only
//! by who answers, and by who holds the lock.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::disk::on_disk;
use crate::hung::{PATIENCE, end_shim};
use crate::protocol::{Event, Request, line};
use crate::runfolder::{RunFolder, SOCKET};

/// Between two tries at a door that is locked: a shim opens it within milliseconds.
const KNOCK_AGAIN: Duration = Duration::from_millis(10);
/// A shim that has accepted greets at once; one that does not is hung.
const GREETING: Duration = Duration::from_secs(5);

/// What a knock at a run folder found.
enum Door {
    /// The shim answers.
    Open(Link),
    /// Somebody holds the lock, but does not answer: just starting, or just ending.
    Locked,
    /// Nobody is there.
    Deserted,
}

/// A connection to a living shim.
pub(crate) struct Link {
    pid: u32,
    lines: Lines<BufReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
}

/// Looks whether a shim lives in this folder.
async fn knock(folder: &RunFolder) -> Door {
    if let Ok(Some(link)) = connect(folder.path()).await {
        return Door::Open(link);
    }
    let folder = folder.clone();
    let locked = on_disk(move || {
        datadir::is_there(folder.path()) && !matches!(folder.try_lock(), Ok(Some(_)))
    });
    if locked.await == Some(true) { Door::Locked } else { Door::Deserted }
}

/// A connection to the shim in this folder; `None` once nobody is there. A shim that has the lock and
/// does not answer is ended.
pub(crate) async fn reach(folder: &RunFolder) -> Option<Link> {
    let mut since = Instant::now();
    loop {
        match knock(folder).await {
            Door::Open(link) => return Some(link),
            Door::Deserted => return None,
            Door::Locked => {}
        }
        if since.elapsed() >= PATIENCE {
            end_hung(folder).await;
            since = Instant::now();
        }
        tokio::time::sleep(KNOCK_AGAIN).await;
    }
}

/// Ends a shim that does not answer.
pub(crate) async fn end_hung(folder: &RunFolder) {
    let folder = folder.clone();
    let _ = on_disk(move || end_shim(&folder)).await;
}

async fn connect(folder: &Path) -> io::Result<Option<Link>> {
    let (path, _folder) = socket_path(folder)?;
    let (reader, writer) = UnixStream::connect(path).await?.into_split();
    let mut lines = BufReader::new(reader).lines();
    let Ok(greeting) = tokio::time::timeout(GREETING, lines.next_line()).await else {
        return Ok(None);
    };
    let event = greeting?.and_then(|text| serde_json::from_str(&text).ok());
    Ok(match event {
        Some(Event::Hello { version: _, pid }) => Some(Link { pid, lines, writer }),
        Some(Event::Status { .. } | Event::Exited { .. } | Event::Unknown) | None => None,
    })
}

/// The socket under a short name, good while the folder is held open: a socket's own path may have
/// 107 bytes only, a data folder's may be longer.
fn socket_path(folder: &Path) -> io::Result<(PathBuf, File)> {
    let folder = datadir::open(folder)?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd());
    Ok((path.into(), folder))
}

impl Link {
    /// The instance's process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The next line; `None` once the shim is gone. May be dropped while it waits.
    pub async fn next(&mut self) -> Option<Event> {
        let text = self.lines.next_line().await.ok()??;
        Some(serde_json::from_str(&text).unwrap_or(Event::Unknown))
    }

    pub async fn send(&mut self, request: &Request) -> io::Result<()> {
        self.writer.write_all(&line(request)).await
    }
}
