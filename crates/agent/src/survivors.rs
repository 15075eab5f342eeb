//! What a shim that died left behind. Finds the instance's processes by what was recorded of them,
//! ends them, and says how the instance ended. Never touches a process it cannot prove to belong to
//! the instance.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use model::{Exit, InstanceId};
use rustix::process::Signal;

use crate::cgroup::Cgroup;
use crate::layout::Layout;
use crate::logs;
use crate::procfs;
use crate::runfolder::{ProcessRecord, RunFolder};

/// Lines of output in the last report.
const TAIL_LINES: usize = 20;

/// How an instance ended.
pub(crate) struct End {
    pub exit: Exit,
    pub tail: Vec<String>,
}

impl End {
    /// Nobody saw it.
    pub fn unknown() -> Self {
        Self { exit: Exit::Unknown, tail: Vec::new() }
    }
}

/// Waits until no shim has the instance, ends what is left of it, and reads how it ended.
pub(crate) fn settle(layout: &Layout, boot_id: &str, id: &InstanceId) -> End {
    let folder = RunFolder::at(&layout.run(id));
    if !datadir::is_there(folder.path()) {
        return End::unknown();
    }
    let lock = folder.lock();
    if let Err(e) = &lock {
        tracing::warn!(instance = %id, "cannot lock the run folder: {e}");
    }
    let exit = folder.exit().unwrap_or_default();
    // A recorded exit means that the shim saw the whole tree end.
    if let (None, Ok(Some(record))) = (exit, folder.process())
        && record.boot_id == boot_id
    {
        end(&record, id, &layout.state(&id.app));
    }
    if exit.is_none() && lock.is_ok() {
        // From now on this is what is known: whoever follows the output sees that it has ended.
        let _ = folder.record_exit(Exit::Unknown);
    }
    let tail = logs::last_words(folder.path(), TAIL_LINES).unwrap_or_default();
    End { exit: exit.unwrap_or(Exit::Unknown), tail }
}

/// Ends the tree, and returns when nothing of it is left.
fn end(record: &ProcessRecord, id: &InstanceId, state: &Path) {
    let group = record.cgroup.as_deref().map(Cgroup::at);
    for round in 1_u32.. {
        if let Some(group) = &group {
            group.kill();
        }
        let left = find(record, group.as_ref(), id, state);
        if left.is_empty() {
            break;
        }
        left.iter().for_each(|pid| procfs::signal(*pid, Signal::KILL));
        if round.is_multiple_of(100) {
            tracing::warn!(instance = %id, "processes do not end on SIGKILL: {left:?}");
        }
        // It takes the kernel a moment; a process that hangs in a system call takes longer.
        std::thread::sleep(Duration::from_millis(if round < 100 { 10 } else { 200 }));
    }
    if let Some(group) = group {
        group.remove();
    }
}

/// The living processes of the tree: in its group, or the recorded one, or carrying the instance's
/// name in their environment; and all that descend from those.
fn find(
    record: &ProcessRecord,
    group: Option<&Cgroup>,
    id: &InstanceId,
    state: &Path,
) -> BTreeSet<u32> {
    let all = procfs::processes();
    let mut roots: BTreeSet<u32> = group.iter().flat_map(|group| group.members()).collect();
    let recorded = all.get(&record.pid).is_some_and(|process| process.start == record.start);
    roots.extend(recorded.then_some(record.pid));
    let marks = [format!("SEGUE_INSTANCE={id}"), format!("SEGUE_STATE_DIR={}", state.display())];
    // Nothing of the tree can be older than its first process.
    let young = all.iter().filter(|(_, process)| process.start >= record.start);
    roots.extend(young.map(|(pid, _)| *pid).filter(|pid| carries(*pid, &marks)));
    roots.remove(&std::process::id());
    let mut tree = procfs::with_descendants(roots, &all);
    tree.retain(|pid| all.get(pid).is_some_and(|process| !process.zombie));
    tree
}

/// Whether a process was started with all of these in its environment.
fn carries(pid: u32, marks: &[String]) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    let has =
        |mark: &String| environment.split(|byte| *byte == 0).any(|one| one == mark.as_bytes());
    marks.iter().all(has)
}
