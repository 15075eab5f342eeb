//! The one place with `unsafe`: file descriptors that are known by their number only.
//! Nothing else belongs here.

#![allow(unsafe_code)]

use std::fs;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Closes every descriptor above standard error: whatever the parent forgot to mark.
///
/// Only for the first lines of a process, before it has opened anything.
pub(crate) fn close_inherited() {
    for number in above_stderr() {
        // SAFETY: the process has only just begun and has a single thread; nothing in it owns or
        // borrows a descriptor above 2, so taking ownership in order to close it is sound. The one
        // that listed them is closed already; closing it again fails without effect, because
        // nothing was opened in between.
        drop(unsafe { OwnedFd::from_raw_fd(number) });
    }
}

/// Marks every descriptor above standard error to be closed when this process executes another
/// program.
pub(crate) fn close_on_exec() {
    for number in above_stderr() {
        // SAFETY: the borrow lasts for one system call that changes no ownership. If the number is
        // closed by now the call fails, and then there is nothing to mark.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        let _ = rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::CLOEXEC);
    }
}

/// The open descriptors above 2, without the one used to list them.
fn above_stderr() -> Vec<RawFd> {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return Vec::new() };
    let numbers: Vec<RawFd> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2)
        .collect();
    // The listing's own descriptor is closed by now, and so no longer found.
    numbers
        .into_iter()
        .filter(|number| fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_ok())
        .collect()
}
