//! A shim that has its folder and does not answer: stopped by a debugger, or starved for good. It is
//! ended, so that nobody waits for it without a bound; what it watched is then ended by its record.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use rustix::process::Signal;

use crate::procfs;
use crate::runfolder::RunFolder;

/// A shim answers at once. One that has not answered for so long is hung.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// After the grace of a stop, a shim gets so long to see the last of its tree end.
pub(crate) const LAST: Duration = Duration::from_secs(30);

/// Ends the shim of this folder. `false` if there is none: then whoever holds the lock is another
/// part of segue, which gives it back.
pub(crate) fn end_shim(folder: &RunFolder) -> bool {
    let shims = shims_in(folder);
    for pid in &shims {
        let folder = folder.path().display();
        tracing::warn!(pid, "the shim in {folder} does not answer and is ended");
        procfs::signal(*pid, Signal::KILL);
    }
    !shims.is_empty()
}

/// A shim is known by its verb and by its working folder, which nobody else works in.
fn shims_in(folder: &RunFolder) -> Vec<u32> {
    let Ok(here) = fs::metadata(folder.path()) else { return Vec::new() };
    let works_here = |pid: &u32| {
        let there = fs::metadata(format!("/proc/{pid}/cwd"));
        there.is_ok_and(|there| (there.dev(), there.ino()) == (here.dev(), here.ino()))
    };
    let living = procfs::processes().into_iter().filter(|(_, process)| !process.zombie);
    living.map(|(pid, _)| pid).filter(|pid| is_shim(*pid) && works_here(pid)).collect()
}

fn is_shim(pid: u32) -> bool {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    words.split(|byte| *byte == 0).nth(1) == Some(b"__shim")
}
