//! Kills a shim that holds its run folder and does not answer, because a debugger has stopped it or it gets
//! no CPU. Every wait for such a shim is bounded. The instance is then ended with the help of its record.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::procfs;
use crate::runfolder::RunFolder;

/// The time after which a shim that has not answered counts as unresponsive. A shim normally answers at once.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The time after the grace period of a stop within which the shim's process tree must have ended.
pub(crate) const AFTER_GRACE: Duration = Duration::from_secs(30);

/// Kills the shim of this run folder. Returns false if there is no shim. Then another part of segue holds the
/// lock, and will release it.
pub(crate) fn kill_shim(folder: &RunFolder) -> bool {
    let shims = shims_in(folder);
    for (pid, start) in &shims {
        let folder = folder.path().display();
        tracing::warn!(pid, "the shim in {folder} does not answer and is ended");
        procfs::signal(*pid, *start, Signal::KILL);
    }
    !shims.is_empty()
}

/// Returns the shims of this run folder, as process ids and start times.
fn shims_in(folder: &RunFolder) -> Vec<(u32, u64)> {
    let living = procfs::processes().into_iter().filter(|(_, process)| !process.zombie);
    let shims = living.filter(|(pid, _)| is_shim_of(*pid, folder));
    shims.map(|(pid, process)| (pid, process.start)).collect()
}

/// Returns whether this process is the shim of that run folder. A shim is recognised by its user, which is
/// segue's own, by its verb, and by its working folder, in which no other process works.
pub(crate) fn is_shim_of(pid: u32, folder: &RunFolder) -> bool {
    is_shim_in(pid, "cwd", folder.path())
}

/// Returns whether this process is the shim of any run folder in `runs`.
pub(crate) fn is_shim_below(pid: u32, runs: &Path) -> bool {
    is_shim_in(pid, "cwd/..", runs)
}

/// Returns whether this process is a shim that works in `folder`. `works_in` is the path, relative to the
/// process's entry in `/proc`, that must lead to `folder`.
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
