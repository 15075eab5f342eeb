//! Messages from the other threads of a shim to its supervisor. One of these threads waits for the children.

use std::os::unix::net::UnixStream;
use std::sync::mpsc::SyncSender;

use rustix::process::{WaitOptions, WaitStatus};

use crate::protocol::ShimRequest;

/// A message to the supervisor. The numbers identify connections.
pub(super) enum SupervisorMessage {
    /// A child of this process has ended. Adopted orphans count as children.
    Reaped {
        pid: u32,
        status: WaitStatus,
    },
    /// This process has no child left, so the process tree is empty.
    NoChildren,
    /// All output is written.
    OutputDone,
    Connected(usize, UnixStream),
    Requested(usize, ShimRequest),
    Disconnected(usize),
}

/// Waits for all children. Orphans of the process tree become children of this process. Once this process has
/// no child left, no process of the tree is left.
pub(super) fn reap_children(messages: &SyncSender<SupervisorMessage>) {
    loop {
        let message = match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) => {
                SupervisorMessage::Reaped { pid: pid.as_raw_nonzero().get().unsigned_abs(), status }
            }
            Ok(None) | Err(rustix::io::Errno::INTR) => continue,
            Err(_) => SupervisorMessage::NoChildren,
        };
        let last = matches!(message, SupervisorMessage::NoChildren);
        if messages.send(message).is_err() || last {
            return;
        }
    }
}
