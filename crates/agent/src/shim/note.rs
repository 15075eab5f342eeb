//! What the threads of a shim tell the one that decides.

use std::os::unix::net::UnixStream;
use std::sync::mpsc::SyncSender;

use rustix::process::{WaitOptions, WaitStatus};

use crate::protocol::Request;

/// What a thread saw.
pub(super) enum Note {
    /// A child of ours, born or adopted, has ended.
    Buried {
        pid: u32,
        status: WaitStatus,
    },
    /// We have no child left: the tree is empty.
    Childless,
    /// All output is written.
    OutputDone,
    Connected(usize, UnixStream),
    Asked(usize, Request),
    HungUp(usize),
}

/// Waits for all children. Orphans of the tree become ours, so when there is none left, there is
/// nothing left.
pub(super) fn bury(notes: &SyncSender<Note>) {
    loop {
        let note = match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) => {
                Note::Buried { pid: pid.as_raw_nonzero().get().unsigned_abs(), status }
            }
            Ok(None) | Err(rustix::io::Errno::INTR) => continue,
            Err(_) => Note::Childless,
        };
        let last = matches!(note, Note::Childless);
        if notes.send(note).is_err() || last {
            return;
        }
    }
}
