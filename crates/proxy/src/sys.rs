//! The only module with `unsafe`: asks the kernel for what no safe crate offers. Nothing else belongs
//! here.

#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::os::fd::AsFd;

use rustix::ioctl::{Getter, ioctl};

/// `TIOCOUTQ`, also called `SIOCOUTQ`; the same number on every Linux that segue is built for.
const UNACKNOWLEDGED: u32 = 0x5411;

/// Returns the number of bytes of a TCP socket that its peer has not acknowledged.
pub(crate) fn unacknowledged(socket: impl AsFd) -> io::Result<u64> {
    // SAFETY: the opcode only reads, and the kernel writes one `int` for it.
    let count: c_int = unsafe { ioctl(socket, Getter::<UNACKNOWLEDGED, c_int>::new()) }?;
    Ok(u64::try_from(count).unwrap_or(0))
}
