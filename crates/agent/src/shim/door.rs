//! The shim's socket: connections come in, requests are passed on, events go out. Decides nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use super::note::Note;
use crate::protocol::{Request, line};

/// Connections at the same time; more are closed at once.
const CONNECTIONS: usize = 16;
/// The longest request.
const LINE_BYTES: u64 = 4096;
/// A peer that does not read is let go after this.
const WRITE_PATIENCE: Duration = Duration::from_secs(1);
/// Threads here need little.
pub(super) const STACK_BYTES: usize = 128 * 1024;

/// Takes connections for as long as the shim lives.
pub(super) fn open(listener: UnixListener, notes: SyncSender<Note>) -> std::io::Result<()> {
    let count = Arc::new(AtomicUsize::new(0));
    thread("door").spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let Ok(stream) = stream else {
                std::thread::sleep(Duration::from_millis(50));
                continue;
            };
            if count.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
                count.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let (notes, ours) = (notes.clone(), Arc::clone(&count));
            let reader = thread("peer").spawn(move || {
                serve(number, stream, &notes);
                ours.fetch_sub(1, Ordering::Relaxed);
            });
            if reader.is_err() {
                count.fetch_sub(1, Ordering::Relaxed);
            }
        }
    })?;
    Ok(())
}

/// Reads requests until the peer hangs up.
fn serve(number: usize, stream: UnixStream, notes: &SyncSender<Note>) {
    let Ok(ours) = stream.try_clone() else { return };
    if ours.set_write_timeout(Some(WRITE_PATIENCE)).is_err()
        || notes.send(Note::Connected(number, ours)).is_err()
    {
        return;
    }
    let mut lines = BufReader::new(stream);
    let mut text = String::new();
    loop {
        text.clear();
        match lines.by_ref().take(LINE_BYTES).read_line(&mut text) {
            Ok(1..) if text.ends_with('\n') => {}
            Ok(_) | Err(_) => break,
        }
        let Ok(request) = serde_json::from_str::<Request>(&text) else { break };
        if notes.send(Note::Asked(number, request)).is_err() {
            break;
        }
    }
    let _ = notes.send(Note::HungUp(number));
}

/// Sends one line; `false` if the peer is gone.
pub(super) fn tell(peer: &mut UnixStream, event: &crate::protocol::Event) -> bool {
    peer.write_all(&line(event)).is_ok()
}

pub(super) fn thread(name: &str) -> std::thread::Builder {
    std::thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES)
}
