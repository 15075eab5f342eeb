//! The only module with `unsafe` code: file descriptors that are known only by their number, and calls that
//! reset the state that a process has inherited. Nothing else belongs here.

#![allow(unsafe_code)]

use std::fs;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::libc;

/// Closes every descriptor above standard error, in case the parent did not mark them close-on-exec.
///
/// Call this only in the first lines of a process, before it has opened anything.
pub(crate) fn close_inherited() {
    for number in above_stderr() {
        // SAFETY: the process has only just begun and has a single thread; nothing in it owns or
        // borrows a descriptor above 2, so taking ownership in order to close it is sound. The one
        // that listed them is closed already; closing it again fails without effect, because
        // nothing was opened in between.
        drop(unsafe { OwnedFd::from_raw_fd(number) });
    }
}

/// Marks every descriptor above standard error to be closed when this process executes another program.
pub(crate) fn close_on_exec() {
    for number in above_stderr() {
        // SAFETY: the borrow lasts for one system call that changes no ownership. If the number is
        // closed by now the call fails, and then there is nothing to mark.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        let _ = rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::CLOEXEC);
    }
}

/// Gives every signal its default action and blocks none. The program that started the server may have
/// ignored some, as `nohup` does.
pub(crate) fn default_signals() {
    // The kernel's struct for an action is shorter than this on every architecture; zeros are the default
    // action without flags. The C library's own function excludes two signals that it uses itself.
    const DEFAULT: [u64; 16] = [0; 16];
    const SET_BYTES: usize = 8;
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: the kernel reads the action, which outlives the call, and writes nothing. The action
        // contains no pointer to our code. For the two signals that cannot have another action the call
        // fails.
        unsafe {
            let old = std::ptr::null_mut::<u64>();
            libc::syscall(libc::SYS_rt_sigaction, signal, DEFAULT.as_ptr(), old, SET_BYTES);
        }
    }
    // SAFETY: `sigemptyset` initialises the set before it is read, and cannot fail for a valid pointer.
    unsafe {
        let mut none = std::mem::MaybeUninit::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}

/// Ignores every signal that can be ignored, except SIGCHLD and faults of this program itself. A signal to
/// all processes with the program's name, such as `pkill -HUP segue` for the server, then ends no shim.
pub(crate) fn ignore_signals() {
    const HEARD: [libc::c_int; 10] = [
        libc::SIGCHLD,
        libc::SIGCONT,
        libc::SIGABRT,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGILL,
        libc::SIGSEGV,
        libc::SIGSYS,
        libc::SIGTRAP,
        libc::SIGURG,
    ];
    for signal in (1..=libc::SIGRTMAX()).filter(|signal| !HEARD.contains(signal)) {
        // SAFETY: ignoring a signal needs no handler, and nothing here waits for one of these signals. The
        // call fails for SIGKILL, SIGSTOP and the signals that the C library uses itself.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Sets the ordinary scheduler, and no I/O priority class. A setting that is not permitted stays unchanged.
pub(crate) fn default_scheduling() {
    const THIS_PROCESS: libc::c_int = 1;
    let ordinary = libc::sched_param { sched_priority: 0 };
    // SAFETY: the parameter outlives the call, which only reads it.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_OTHER, &raw const ordinary) };
    // SAFETY: three numbers, no memory: `ioprio_set` sets the I/O priority of this process to "none".
    unsafe { libc::syscall(libc::SYS_ioprio_set, THIS_PROCESS, 0, 0) };
}

/// Returns the open descriptors above 2, without the one used to list them.
fn above_stderr() -> Vec<RawFd> {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return Vec::new() };
    let numbers: Vec<RawFd> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2)
        .collect();
    // The descriptor used for listing is closed by now, so it is filtered out.
    numbers
        .into_iter()
        .filter(|number| fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_ok())
        .collect()
}
