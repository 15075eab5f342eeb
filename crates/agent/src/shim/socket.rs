//! The shim's socket: accepts connections, passes requests on to the supervisor, and sends events. Decides
//! nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use super::message::SupervisorMessage;
use crate::protocol::{ShimEvent, ShimRequest, line};

/// The largest number of connections at a time. Further connections are closed at once.
const CONNECTIONS: usize = 16;
/// The longest request, in bytes.
const LINE_BYTES: u64 = 4096;
/// A connection is closed if its peer does not read for this time.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// The stack size of each thread of a shim, in bytes. None of the threads needs much.
pub(super) const STACK_BYTES: usize = 128 * 1024;

/// Starts the thread that accepts connections for as long as the shim runs.
pub(super) fn accept(
    listener: UnixListener,
    messages: SyncSender<SupervisorMessage>,
) -> std::io::Result<()> {
    let count = Arc::new(AtomicUsize::new(0));
    thread("socket").spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let Ok(stream) = stream else {
                std::thread::sleep(Duration::from_millis(50));
                continue;
            };
            if count.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
                count.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let (messages, ours) = (messages.clone(), Arc::clone(&count));
            let reader = thread("peer").spawn(move || {
                serve(number, stream, &messages);
                ours.fetch_sub(1, Ordering::Relaxed);
            });
            if reader.is_err() {
                count.fetch_sub(1, Ordering::Relaxed);
            }
        }
    })?;
    Ok(())
}

/// Reads requests until the peer closes the connection.
fn serve(number: usize, stream: UnixStream, messages: &SyncSender<SupervisorMessage>) {
    let Ok(ours) = stream.try_clone() else { return };
    if ours.set_write_timeout(Some(WRITE_TIMEOUT)).is_err()
        || messages.send(SupervisorMessage::Connected(number, ours)).is_err()
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
        let Ok(request) = serde_json::from_str::<ShimRequest>(&text) else { break };
        if messages.send(SupervisorMessage::Requested(number, request)).is_err() {
            break;
        }
    }
    let _ = messages.send(SupervisorMessage::Disconnected(number));
}

/// Sends one event. Returns false if the peer is gone.
pub(super) fn send(peer: &mut UnixStream, event: &ShimEvent) -> bool {
    peer.write_all(&line(event)).is_ok()
}

pub(super) fn thread(name: &str) -> std::thread::Builder {
    std::thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES)
}
