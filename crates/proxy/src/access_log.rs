//! The access log (docs/observability.md): one JSON line per request. Each worker collects its lines and
//! passes them in blocks, through a bounded queue, to a thread that writes. With a slow disk lines are
//! dropped and counted; requests are never delayed. Query strings are not logged.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::Error;
use crate::instance::InstanceState;
use crate::stats::AppStats;

/// Number of blocks that may wait to be written.
const RING: usize = 64;
/// Length in bytes from which a block is passed on. Shorter ones are passed on at the worker's next
/// sweep.
const BLOCK: usize = 32 << 10;
/// Mode of a log that is created here. Clients' addresses and paths are readable only by the user, and by
/// a group that collects logs.
const MODE: u32 = 0o640;
/// Time that the end of the process waits for the last lines.
const FLUSH: Duration = Duration::from_secs(1);

/// The access log.
#[derive(Debug)]
pub(crate) struct RequestLog {
    blocks: SyncSender<Message>,
    dropped: AtomicU64,
    path: PathBuf,
    /// The reopened file, until the thread takes it.
    anew: Arc<Mutex<Option<File>>>,
}

#[derive(Debug)]
enum Message {
    Block(Vec<u8>),
    /// A marker: the sender hears of it once everything before it has been written.
    Flush(SyncSender<()>),
    /// The file has been reopened.
    Anew,
}

/// The lines of one worker that have not been passed on yet.
#[derive(Debug, Default)]
pub(crate) struct Block {
    bytes: Vec<u8>,
    lines: u64,
}

/// The facts that are logged of one request.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// The fields that the client sent, as they are written.
    pub(crate) said: Said,
    pub(crate) app: Option<Arc<AppStats>>,
    pub(crate) release: Option<u32>,
    pub(crate) instance: Option<Arc<InstanceState>>,
    pub(crate) status: u16,
    pub(crate) attempts: u32,
    pub(crate) held_ms: u64,
    pub(crate) times: Times,
    /// The phase that the request has reached.
    pub(crate) phase: RequestPhase,
    /// The party to blame for the last failed attempt.
    pub(crate) blamed: EndedBy,
    /// The party that ended the request.
    pub(crate) end: EndedBy,
}

/// The times of a request in milliseconds, with HAProxy's names. A time is `None` if the request did not
/// get that far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    /// TR: from the first byte of the head to the last.
    pub(crate) head: u64,
    /// Tw: until an instance was chosen, including all waiting and all earlier attempts.
    pub(crate) waiting: Option<u64>,
    /// Tc: until the instance was connected.
    pub(crate) connecting: Option<u64>,
    /// Tr: until the instance had sent the head of its answer.
    pub(crate) answering: Option<u64>,
    /// Ta: from the first byte of the request to the last of the answer.
    pub(crate) all: u64,
}

/// The phase that a request has reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum RequestPhase {
    /// No instance has been chosen.
    #[default]
    Waiting,
    Connecting,
    /// The request has been sent, at least in part.
    Answering,
    /// The head of an answer has gone out.
    Answered,
}

/// The party that ended a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum EndedBy {
    /// None: the answer is complete.
    Done,
    Client,
    /// The instance refused, broke off or sent bytes that cannot be passed on.
    Upstream,
    /// The instance took too long.
    Timeout,
    /// The proxy: no instance could take the request, it was refused, or the time to drain was over.
    #[default]
    Proxy,
}

/// The fields of a line that come from the client.
#[derive(Debug, Default)]
pub(crate) struct Said(Vec<u8>);

impl Said {
    pub(crate) fn new(client: &str, method: &[u8], host: &[u8], path: &[u8]) -> Self {
        let room = client.len() + method.len() + host.len() + path.len() + 64;
        let mut out = Vec::with_capacity(room);
        text("client", client.as_bytes(), &mut out);
        text("method", method, &mut out);
        text("host", host, &mut out);
        text("path", path, &mut out);
        Self(out)
    }
}

impl RequestLog {
    /// Opens the file and starts the thread.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let wrong = |source| Error::AccessLog { path: path.to_owned(), source };
        let file = open(path).map_err(wrong)?;
        let (blocks, receiver) = sync_channel(RING);
        let anew = Arc::default();
        let taken = Arc::clone(&anew);
        let writer = thread::Builder::new().name("proxy-log".to_owned());
        writer.spawn(move || write(file, &taken, &receiver)).map_err(wrong)?;
        Ok(Self { blocks, dropped: AtomicU64::new(0), path: path.to_owned(), anew })
    }

    /// Reopens the file under its name, for a log that was renamed. The file used until now is closed
    /// with the next block.
    pub(crate) fn reopen(&self) -> Result<(), Error> {
        let wrong = |source| Error::AccessLog { path: self.path.clone(), source };
        let file = open(&self.path).map_err(wrong)?;
        *self.anew.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        // If the queue is full, a block is on its way, and the thread takes the new file with that.
        let _ = self.blocks.try_send(Message::Anew);
        Ok(())
    }

    /// Returns the number of lines that were not written because the disk was too slow.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until the blocks passed on before are written, for a short time only: the disk may hang.
    pub(crate) fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.blocks.try_send(Message::Flush(done)).is_ok() {
            let _ = written.recv_timeout(FLUSH);
        }
    }

    /// Adds a line to a worker's block, and passes the block on if it is long enough.
    pub(crate) fn add(&self, entry: &Entry, block: &mut Block) {
        if block.bytes.capacity() == 0 {
            block.bytes.reserve(BLOCK + BLOCK / 4);
        }
        line(entry, &mut block.bytes);
        block.lines += 1;
        if block.bytes.len() >= BLOCK {
            self.give(block);
        }
    }

    /// Passes a block on, if there is anything in it.
    pub(crate) fn give(&self, block: &mut Block) {
        let Block { bytes, lines } = std::mem::take(block);
        if lines > 0 && self.blocks.try_send(Message::Block(bytes)).is_err() {
            self.dropped.fetch_add(lines, Ordering::Relaxed);
        }
    }
}

/// Opens a file for appending. The mode of an existing file is left to its owner.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).mode(MODE);
    match options.clone().create_new(true).open(path) {
        Ok(file) => {
            file.set_permissions(Permissions::from_mode(MODE))?;
            Ok(file)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            options.create(true).open(path)
        }
        Err(error) => Err(error),
    }
}

fn write(mut file: File, anew: &Mutex<Option<File>>, messages: &Receiver<Message>) {
    while let Ok(message) = messages.recv() {
        if let Some(other) = anew.lock().unwrap_or_else(PoisonError::into_inner).take() {
            file = other;
        }
        match message {
            Message::Anew => {}
            Message::Block(bytes) => {
                if let Err(error) = file.write_all(&bytes) {
                    tracing::warn!(%error, "cannot write to the access log");
                }
            }
            // The waiting thread may have given up, which is fine.
            Message::Flush(done) => drop(done.try_send(())),
        }
    }
}

fn line(entry: &Entry, out: &mut Vec<u8>) {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    out.extend_from_slice(b"{\"time_ms\":");
    decimal(u64::try_from(time).unwrap_or(u64::MAX), out);
    out.extend_from_slice(&entry.said.0);
    text("app", entry.app.as_ref().map_or("", |app| app.app.as_str()).as_bytes(), out);
    if let Some(release) = entry.release {
        number("release", Some(release.into()), out);
    }
    if let Some(instance) = &entry.instance {
        text("instance", instance.name.as_bytes(), out);
    }
    number("status", Some(entry.status.into()), out);
    number("attempts", Some(entry.attempts.into()), out);
    number("held_ms", Some(entry.held_ms), out);
    let Times { head, waiting, connecting, answering, all } = entry.times;
    for (name, time) in [
        ("TR", Some(head)),
        ("Tw", waiting),
        ("Tc", connecting),
        ("Tr", answering),
        ("Ta", Some(all)),
    ] {
        number(name, time, out);
    }
    let end = match entry.end {
        EndedBy::Done => "done",
        EndedBy::Client => "client",
        EndedBy::Upstream => "upstream",
        EndedBy::Timeout => "timeout",
        EndedBy::Proxy => "proxy",
    };
    let phase = match entry.phase {
        RequestPhase::Waiting => "waiting",
        RequestPhase::Connecting => "connecting",
        RequestPhase::Answering => "answering",
        RequestPhase::Answered => "answered",
    };
    text("end", end.as_bytes(), out);
    text("phase", phase.as_bytes(), out);
    out.extend_from_slice(b"}\n");
}

fn name(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Writes a number field, or `null` for `None`.
fn number(what: &str, value: Option<u64>, out: &mut Vec<u8>) {
    name(what, out);
    match value {
        Some(value) => decimal(value, out),
        None => out.extend_from_slice(b"null"),
    }
}

/// Writes a JSON text field without control bytes and obs-text: a byte that is not visible ASCII is
/// written as its code.
fn text(what: &str, value: &[u8], out: &mut Vec<u8>) {
    name(what, out);
    out.push(b'"');
    let is_plain = |byte: &u8| matches!(byte, 0x20..=0x7e) && !matches!(byte, b'"' | b'\\');
    if value.iter().all(is_plain) {
        out.extend_from_slice(value);
    } else {
        for byte in value {
            match byte {
                byte if is_plain(byte) => out.push(*byte),
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
                _ => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            }
        }
    }
    out.push(b'"');
}

fn decimal(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_no_control_bytes_whatever_the_client_sends() {
        let said = Said::new("::1", b"GET", b"a", b"/a\"\\\n\x1b\xff");
        let mut written = Vec::new();
        line(&Entry { said, ..Entry::default() }, &mut written);
        let line = String::from_utf8(written).expect("text");
        assert!(line.contains(r#""path":"/a\"\\\u000a\u001b\u00ff""#), "{line}");
        assert!(line.trim_end().bytes().all(|b| (0x20..0x7f).contains(&b)));
    }

    #[test]
    fn what_the_disk_is_too_slow_for_is_counted_by_the_line() {
        let (blocks, stuck) = sync_channel(1);
        let (dropped, path) = (AtomicU64::new(0), PathBuf::new());
        let log = RequestLog { blocks, dropped, path, anew: Arc::default() };
        let mut block = Block::default();
        log.give(&mut block);
        for _ in 0..3 {
            log.add(&Entry::default(), &mut block);
        }
        log.give(&mut block);
        assert_eq!(log.dropped(), 0);
        log.add(&Entry::default(), &mut block);
        log.add(&Entry::default(), &mut block);
        log.give(&mut block);
        assert_eq!(log.dropped(), 2);
        let Ok(Message::Block(bytes)) = stuck.recv() else { panic!("the first three") };
        assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 3);
        let mut lines = 0;
        while stuck.try_recv().is_err() {
            log.add(&Entry::default(), &mut block);
            lines += 1;
        }
        assert!(lines > 50, "a long block goes by itself, not each line: {lines}");
    }
}
