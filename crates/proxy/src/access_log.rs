//! The access log (docs/observability.md): one JSON line per request through a bounded ring to a thread that writes. A slow
//! disk costs lines, which are counted, and never a request's time. No query strings.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::Error;

/// Lines that may wait to be written.
const RING: usize = 8192;
/// How long the end of the process waits for the last lines.
const FLUSH: Duration = Duration::from_secs(1);

/// The log.
#[derive(Debug)]
pub(crate) struct AccessLog {
    lines: SyncSender<Message>,
    dropped: AtomicU64,
}

#[derive(Debug)]
enum Message {
    Line(String),
    /// Everything before this has been written once the other end hears of it.
    Flush(SyncSender<()>),
}

/// What is written of one request.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(crate) client: String,
    pub(crate) method: Vec<u8>,
    pub(crate) host: Vec<u8>,
    pub(crate) path: Vec<u8>,
    pub(crate) app: String,
    pub(crate) release: Option<u32>,
    pub(crate) instance: String,
    pub(crate) status: u16,
    pub(crate) attempts: u32,
    pub(crate) held_ms: u64,
    pub(crate) times: Times,
    /// How far it came.
    pub(crate) phase: Phase,
    /// Who is to blame that an attempt came to nothing; the last one's counts.
    pub(crate) blamed: End,
    /// Who ended it.
    pub(crate) end: End,
}

/// Where a request's time went, in milliseconds, by HAProxy's names for it. What it has not come to
/// is none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    /// TR: from the first byte of its head to the last.
    pub(crate) head: u64,
    /// Tw: until an instance was chosen, with all the waiting and the attempts before the last.
    pub(crate) waiting: Option<u64>,
    /// Tc: connecting to it.
    pub(crate) connecting: Option<u64>,
    /// Tr: until it had sent the head of its answer.
    pub(crate) answering: Option<u64>,
    /// Ta: from the first byte of the request to the last of the answer.
    pub(crate) all: u64,
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No instance has been chosen.
    #[default]
    Waiting,
    Connecting,
    /// It has been sent, at least in part.
    Answering,
    /// The head of an answer has gone out.
    Answered,
}

/// Who ended a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum End {
    /// The answer is whole.
    Done,
    Client,
    /// The instance refused, broke off or sent what cannot be passed on.
    Upstream,
    /// The instance took too long.
    Timeout,
    /// The proxy: nobody could take it, it was refused, or the time to drain was over.
    #[default]
    Proxy,
}

impl AccessLog {
    /// Opens the file and starts the thread.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let wrong = |source| Error::AccessLog { path: path.to_owned(), source };
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(wrong)?;
        let (lines, receiver) = sync_channel(RING);
        let writer = thread::Builder::new().name("proxy-log".to_owned());
        writer.spawn(move || write(file, &receiver)).map_err(wrong)?;
        Ok(Self { lines, dropped: AtomicU64::new(0) })
    }

    /// Lines that were not written because the disk was too slow.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until what was added before is written, but not for long: the disk may hang.
    pub(crate) fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.lines.try_send(Message::Flush(done)).is_ok() {
            let _ = written.recv_timeout(FLUSH);
        }
    }

    pub(crate) fn add(&self, entry: &Entry) {
        if self.lines.try_send(Message::Line(line(entry))).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes what has come and flushes when nothing waits.
fn write(file: File, messages: &Receiver<Message>) {
    let mut file = BufWriter::new(file);
    while let Ok(first) = messages.recv() {
        let mut written = Ok(());
        let mut waiting = Vec::new();
        for message in std::iter::once(first).chain(messages.try_iter()) {
            match message {
                Message::Line(line) => {
                    written = written.and_then(|()| file.write_all(line.as_bytes()));
                }
                Message::Flush(done) => waiting.push(done),
            }
        }
        if let Err(error) = written.and_then(|()| file.flush()) {
            tracing::warn!(%error, "cannot write to the access log");
        }
        // Whoever waits may have given up: then nobody has to be told.
        for done in waiting {
            let _ = done.try_send(());
        }
    }
}

fn line(entry: &Entry) -> String {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis());
    let mut line = format!("{{\"time_ms\":{time},\"client\":\"{}\"", entry.client);
    for (name, value) in [("method", &entry.method), ("host", &entry.host), ("path", &entry.path)] {
        line.push_str(&format!(",\"{name}\":\""));
        escape(value, &mut line);
        line.push('"');
    }
    line.push_str(&format!(",\"app\":\"{}\"", entry.app));
    if let Some(release) = entry.release {
        line.push_str(&format!(",\"release\":{release},\"instance\":\"{}\"", entry.instance));
    }
    let Entry { status, attempts, held_ms, times, .. } = entry;
    line.push_str(&format!(",\"status\":{status},\"attempts\":{attempts},\"held_ms\":{held_ms}"));
    let Times { head, waiting, connecting, answering, all } = *times;
    let times = [("Tw", waiting), ("Tc", connecting), ("Tr", answering), ("Ta", Some(all))];
    for (name, time) in [("TR", Some(head))].into_iter().chain(times) {
        let time = time.map_or_else(|| "null".to_owned(), |ms| ms.to_string());
        line.push_str(&format!(",\"{name}\":{time}"));
    }
    let phase = match entry.phase {
        Phase::Waiting => "waiting",
        Phase::Connecting => "connecting",
        Phase::Answering => "answering",
        Phase::Answered => "answered",
    };
    let end = match entry.end {
        End::Done => "done",
        End::Client => "client",
        End::Upstream => "upstream",
        End::Timeout => "timeout",
        End::Proxy => "proxy",
    };
    line.push_str(&format!(",\"end\":\"{end}\",\"phase\":\"{phase}\"}}\n"));
    line
}

/// JSON without control bytes and obs-text: a byte that is not visible ASCII is written as its code.
fn escape(bytes: &[u8], out: &mut String) {
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            0x20..=0x7e => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\u{byte:04x}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_no_control_bytes_whatever_the_client_sends() {
        let entry = Entry { path: b"/a\"\\\n\x1b\xff".to_vec(), ..Entry::default() };
        let line = line(&entry);
        assert!(line.contains(r#""path":"/a\"\\\u000a\u001b\u00ff""#), "{line}");
        assert!(line.trim_end().bytes().all(|b| (0x20..0x7f).contains(&b)));
    }
}
