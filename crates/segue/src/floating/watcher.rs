//! The process that writes a proxy's priority into the file that keepalived reads. It outlives the proxy by the
//! moment in which it writes that the proxy is dead, whatever killed that. It also notices a proxy that says nothing
//! any more.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open};
use rustix::stdio::stdin;

use super::priority::FAULT;

/// Time after which a proxy that says nothing hangs.
const SILENT: Duration = Duration::from_secs(3);
/// Bytes that are read at a time: the last line counts.
const PIECE: usize = 4096;

/// Runs the process. The arguments are the file and the proxy's process id.
pub fn main(args: &[OsString]) -> ExitCode {
    let [file, proxy] = args else { return ExitCode::from(2) };
    let proxy = proxy.to_str().and_then(|proxy| proxy.parse().ok()).and_then(Pid::from_raw);
    let Some(proxy) = proxy else { return ExitCode::from(2) };
    match watch(Path::new(file), proxy) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "cannot watch the proxy");
            ExitCode::FAILURE
        }
    }
}

/// Writes what the proxy says, until it is dead.
fn watch(file: &Path, proxy: Pid) -> io::Result<()> {
    // Whoever ends the proxy by a signal to its group, or to all processes of its unit, must not end this one first.
    SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP])
        .thread_block()?;
    let mut written = Written { file, failed: false };
    let followed = alive(proxy).and_then(|proxy| follow(&proxy, &mut written));
    written.is(FAULT);
    followed
}

/// Writes what the proxy says, until it is dead or has closed its end.
fn follow(proxy: &OwnedFd, written: &mut Written<'_>) -> io::Result<()> {
    let patience = Timespec { tv_sec: SILENT.as_secs().cast_signed(), tv_nsec: 0 };
    loop {
        let said = stdin();
        let mut watched =
            [PollFd::new(proxy, PollFlags::IN), PollFd::from_borrowed_fd(said, PollFlags::IN)];
        match poll(&mut watched, Some(&patience)) {
            Ok(0) => written.is(FAULT),
            Ok(_) if !watched[0].revents().is_empty() => return Ok(()),
            Ok(_) => {
                let mut piece = [0; PIECE];
                let read = rustix::io::read(said, &mut piece)?;
                if read == 0 {
                    return Ok(());
                }
                if let Some(value) = last_line(&piece[..read]) {
                    written.is(value);
                }
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Returns the value in the last line that is whole. The rest of one that is not comes with the next piece, and a
/// newer value after it.
fn last_line(piece: &[u8]) -> Option<i32> {
    let whole = &piece[..piece.iter().rposition(|byte| *byte == b'\n')?];
    let line = whole.rsplit(|byte| *byte == b'\n').next()?;
    str::from_utf8(line).ok()?.parse().ok()
}

/// Returns the parent's process, which must be the proxy.
fn alive(proxy: Pid) -> io::Result<OwnedFd> {
    let descriptor = pidfd_open(proxy, PidfdFlags::empty())?;
    // It was alive when it was opened, so that the number meant no other process.
    match getppid() == Some(proxy) {
        true => Ok(descriptor),
        false => Err(io::Error::new(io::ErrorKind::NotFound, "the proxy is gone already")),
    }
}

/// The file with the value.
struct Written<'a> {
    file: &'a Path,
    /// Whether it could not be written the last time.
    failed: bool,
}

impl Written<'_> {
    /// Writes a value unless the file has it. The process of a proxy that has just died may have written its last
    /// word since this one looked.
    fn is(&mut self, value: i32) {
        let text = format!("{value}\n");
        if datadir::read(self.file).is_ok_and(|there| there == text.as_bytes()) {
            return;
        }
        let replaced = datadir::replace(self.file, text.as_bytes());
        if let (Err(error), false) = (&replaced, self.failed) {
            let file = self.file.display();
            tracing::error!(%error, %file, "keepalived is not told of this proxy");
        }
        self.failed = replaced.is_err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_line_counts() {
        assert_eq!(last_line(b"0\n-80\n"), Some(-80));
        assert_eq!(last_line(b"-60\n-8"), Some(-60));
        assert_eq!(last_line(b"-25"), None);
        assert_eq!(last_line(b"what\n"), None);
    }

    #[test]
    fn a_value_is_written_whole_and_again_if_another_one_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("priority");
        let mut written = Written { file: &file, failed: false };
        written.is(-40);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "-40\n");
        std::fs::write(&file, "-254\n").unwrap();
        written.is(-40);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "-40\n");
    }
}
