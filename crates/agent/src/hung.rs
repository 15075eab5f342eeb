//! A shim that has its folder and does not answer: stopped by a debugger, or starved for good. It is
//! ended, so that nobody waits for it without a bound; what it watched is then ended by its record.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
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
    for (pid, start) in &shims {
        let folder = folder.path().display();
        tracing::warn!(pid, "the shim in {folder} does not answer and is ended");
        procfs::signal(*pid, *start, Signal::KILL);
    }
    !shims.is_empty()
}

/// By number and start.
fn shims_in(folder: &RunFolder) -> Vec<(u32, u64)> {
    let living = procfs::processes().into_iter().filter(|(_, process)| !process.zombie);
    let shims = living.filter(|(pid, _)| is_shim_of(*pid, folder));
    shims.map(|(pid, process)| (pid, process.start)).collect()
}

/// Whether this process is the shim of that folder: by its user, which is ours, by its verb, and by its
/// working folder, which nobody else works in.
pub(crate) fn is_shim_of(pid: u32, folder: &RunFolder) -> bool {
    is_shim_in(pid, "cwd", folder.path())
}

/// Whether this process is the shim of any run folder in that folder.
pub(crate) fn is_shim_below(pid: u32, runs: &Path) -> bool {
    is_shim_in(pid, "cwd/..", runs)
}

/// `works_in` leads from the process's entry in `/proc` to what has to be `folder`.
fn is_shim_in(pid: u32, works_in: &str, folder: &Path) -> bool {
    if procfs::user_of(pid) != Some(rustix::process::geteuid().as_raw()) {
        return false;
    }
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    if words.split(|byte| *byte == 0).nth(1) != Some(b"__shim") {
        return false;
    }
    let works_in = fs::metadata(format!("/proc/{pid}/{works_in}"));
    match (fs::metadata(folder), works_in) {
        (Ok(here), Ok(there)) => (there.dev(), there.ino()) == (here.dev(), here.ino()),
        (Ok(_) | Err(_), _) => false,
    }
}
