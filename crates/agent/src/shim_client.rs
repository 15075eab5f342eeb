//! The agent's connection to a shim. The agent never uses a process id to judge whether an instance runs. It
//! only checks who answers on the shim's socket, and who holds the lock of the run folder.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::disk::on_disk;
use crate::protocol::{ShimEvent, ShimRequest, line};
use crate::runfolder::{RunFolder, SOCKET};
use crate::unresponsive_shim::{ANSWER_TIMEOUT, kill_shim};

/// The time between two attempts while the lock is held. A shim that is starting listens within milliseconds.
const RETRY_AFTER: Duration = Duration::from_millis(10);
/// A shim greets as soon as it has accepted a connection. After this time it counts as unresponsive.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5);

/// The outcome of one attempt to connect to the shim of a run folder.
enum Attempt {
    /// The shim answers.
    Connected(ShimConnection),
    /// A process holds the lock but does not answer. It is just starting or just ending.
    Locked,
    /// No process holds the lock.
    Absent,
}

/// A connection to a running shim.
pub(crate) struct ShimConnection {
    pid: u32,
    lines: Lines<BufReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
}

/// Connects to the shim of this run folder. Returns `None` if no shim runs there. A shim that holds the
/// lock and does not answer is killed.
pub(crate) async fn connect(folder: &RunFolder) -> Option<ShimConnection> {
    let mut since = Instant::now();
    loop {
        match attempt(folder).await {
            Attempt::Connected(shim) => return Some(shim),
            Attempt::Absent => return None,
            Attempt::Locked => {}
        }
        if since.elapsed() >= ANSWER_TIMEOUT {
            kill_unresponsive(folder).await;
            since = Instant::now();
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

/// Kills the shim of this run folder, which does not answer.
pub(crate) async fn kill_unresponsive(folder: &RunFolder) {
    let folder = folder.clone();
    let _ = on_disk(move || kill_shim(&folder)).await;
}

async fn attempt(folder: &RunFolder) -> Attempt {
    if let Ok(Some(shim)) = greeted(folder.path()).await {
        return Attempt::Connected(shim);
    }
    let folder = folder.clone();
    let locked = on_disk(move || {
        datadir::is_there(folder.path()) && !matches!(folder.try_lock(), Ok(Some(_)))
    });
    if locked.await == Some(true) { Attempt::Locked } else { Attempt::Absent }
}

/// Connects and waits for the shim's greeting. Returns `None` if no greeting comes.
async fn greeted(folder: &Path) -> io::Result<Option<ShimConnection>> {
    let (path, _folder) = socket_path(folder)?;
    let (reader, writer) = UnixStream::connect(path).await?.into_split();
    let mut lines = BufReader::new(reader).lines();
    let Ok(greeting) = tokio::time::timeout(GREETING_TIMEOUT, lines.next_line()).await else {
        return Ok(None);
    };
    let event = greeting?.and_then(|text| serde_json::from_str(&text).ok());
    Ok(match event {
        Some(ShimEvent::Hello { version: _, pid }) => Some(ShimConnection { pid, lines, writer }),
        Some(ShimEvent::Status { .. } | ShimEvent::Exited { .. } | ShimEvent::Unknown) | None => {
            None
        }
    })
}

/// Returns a short path to the socket, valid while the returned folder is open. The path of a socket may have
/// only 107 bytes, and the path of a data folder may be longer.
fn socket_path(folder: &Path) -> io::Result<(PathBuf, File)> {
    let folder = datadir::open(folder)?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd());
    Ok((path.into(), folder))
}

impl ShimConnection {
    /// Returns the process id of the instance's command.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns the next event; `None` once the shim is gone. This method is cancel safe.
    pub async fn next(&mut self) -> Option<ShimEvent> {
        let text = self.lines.next_line().await.ok()??;
        Some(serde_json::from_str(&text).unwrap_or(ShimEvent::Unknown))
    }

    pub async fn send(&mut self, request: &ShimRequest) -> io::Result<()> {
        self.writer.write_all(&line(request)).await
    }
}
