//! Ends the processes that a shim left behind when it died, and reports how the instance ended. Finds the
//! processes by their records. Never touches a process that it cannot prove to belong to the instance.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Address, Exit, HostReport, InstanceId};
use rustix::process::Signal;

use crate::cgroup::Cgroup;
use crate::context::Context;
use crate::disk::on_disk;
use crate::layout::InstanceLayout;
use crate::logs;
use crate::ports;
use crate::procfs;
use crate::runfolder::{ProcessRecord, RunFolder};
use crate::socketfolder;

/// The largest delay of a dead instance's replacement by processes that are known only by their environment
/// and are started again and again.
const MARKED_TIMEOUT: Duration = Duration::from_secs(10);
/// The number of output lines in the last report.
const TAIL_LINES: usize = 20;

/// The end of an instance.
pub(crate) struct EndedInstance {
    pub exit: Exit,
    pub tail: Vec<String>,
}

impl EndedInstance {
    /// Returns the end of an instance whose exit nobody recorded.
    pub fn unknown() -> Self {
        Self { exit: Exit::Unknown, tail: Vec::new() }
    }
}

/// Waits until the instance's shim is gone, ends the processes it may have left behind, and returns the
/// instance's last report.
pub(crate) async fn final_report(
    context: &Arc<Context>,
    id: &InstanceId,
    address: Option<&Address>,
) -> HostReport {
    let (shared, owned) = (Arc::clone(context), id.clone());
    let end = on_disk(move || clean_up(&shared.layout, &shared.config.boot_id, &owned)).await;
    let EndedInstance { exit, tail } = end.unwrap_or_else(EndedInstance::unknown);
    let address_in_use = address.is_some_and(|address| !ports::is_free(address));
    HostReport::Exited { id: id.clone(), exit, address_in_use, tail }
}

/// Waits until no shim has the instance, ends its remaining processes, and reads how the instance ended.
pub(crate) fn clean_up(layout: &InstanceLayout, boot_id: &str, id: &InstanceId) -> EndedInstance {
    let folder = RunFolder::at(&layout.run(id));
    if !datadir::is_there(folder.path()) {
        return EndedInstance::unknown();
    }
    let lock = folder.lock();
    if let Err(e) = &lock {
        tracing::warn!(instance = %id, "cannot lock the run folder: {e}");
    }
    let exit = folder.exit().unwrap_or_default();
    // A recorded exit means that the shim has seen the end of the whole tree.
    if let (None, Ok(Some(record))) = (exit, folder.process())
        && record.boot_id == boot_id
    {
        kill_remaining(&folder, &record, id, &layout.state(&id.app));
    }
    if exit.is_none() && lock.is_ok() {
        // The exit is unknown. Recording this tells followers of the output that the instance has ended.
        let _ = folder.record_exit(Exit::Unknown);
    }
    if lock.is_ok() {
        socketfolder::remove_of(&folder);
    }
    let tail = logs::last_words(folder.path(), TAIL_LINES).unwrap_or_default();
    EndedInstance { exit: exit.unwrap_or(Exit::Unknown), tail }
}

/// Kills the instance's remaining processes, and returns when no process is left that certainly belongs to
/// the instance. A process that only carries the instance's marks, as any process can, is killed as well. It
/// is waited for only if it runs as the instance's user, and only for a bounded time.
fn kill_remaining(folder: &RunFolder, record: &ProcessRecord, id: &InstanceId, state: &Path) {
    let group = record.cgroup.as_deref().map(Cgroup::at);
    let owners = owners(state);
    let begun = Instant::now();
    for round in 1_u32.. {
        if let Some(group) = &group {
            group.kill();
        }
        let remaining = find_remaining(record, group.as_ref(), id, state, &owners);
        for (pid, start) in
            remaining.certain.iter().chain(&remaining.marked).chain(&remaining.others)
        {
            procfs::signal(*pid, *start, Signal::KILL);
        }
        if remaining.certain.is_empty() && remaining.marked.is_empty() {
            break;
        }
        let pids: Vec<_> = remaining.certain.keys().chain(remaining.marked.keys()).collect();
        if remaining.certain.is_empty() && begun.elapsed() >= MARKED_TIMEOUT {
            tracing::warn!(instance = %id, "processes that name the instance go on: {pids:?}");
            break;
        }
        if round.is_multiple_of(100) {
            tracing::warn!(instance = %id, "processes do not end on SIGKILL: {pids:?}");
        }
        // The kernel needs a moment; a process that hangs in a system call takes longer.
        std::thread::sleep(Duration::from_millis(if round < 100 { 10 } else { 200 }));
    }
    if let Some(group) = group {
        for sentence in group.hit_limits() {
            let _ = folder.note(&sentence);
        }
        group.remove();
    }
}

/// Returns the users whose processes can belong to the instance: segue's own user, and the app's user, who
/// owns its state folder.
fn owners(state: &Path) -> BTreeSet<u32> {
    let app = fs::metadata(state).ok().map(|state| state.uid());
    app.into_iter().chain([rustix::process::geteuid().as_raw()]).collect()
}

/// Remaining processes of an instance: process ids with start times.
#[derive(Default)]
struct Remaining {
    /// Members of its control group, the recorded process, and their descendants.
    certain: BTreeMap<u32, u64>,
    /// Processes of its owners with its name in their environment, and their descendants.
    marked: BTreeMap<u32, u64>,
    /// Processes marked in the same way that belong to other users.
    others: BTreeMap<u32, u64>,
}

fn find_remaining(
    record: &ProcessRecord,
    group: Option<&Cgroup>,
    id: &InstanceId,
    state: &Path,
    owners: &BTreeSet<u32>,
) -> Remaining {
    let all = procfs::processes();
    let mut certain: BTreeSet<u32> = group.iter().flat_map(|group| group.members()).collect();
    let recorded = all.get(&record.pid).is_some_and(|process| process.start == record.start);
    certain.extend(recorded.then_some(record.pid));
    let marks = [format!("SEGUE_INSTANCE={id}"), format!("SEGUE_STATE_DIR={}", state.display())];
    // No process of the tree can be older than its first process.
    let young = all.iter().filter(|(_, process)| process.start >= record.start);
    let of_owner = |pid: &u32| procfs::user_of(*pid).is_some_and(|uid| owners.contains(&uid));
    let (marked, others): (BTreeSet<u32>, BTreeSet<u32>) =
        young.map(|(pid, _)| *pid).filter(|pid| carries(*pid, &marks)).partition(of_owner);
    let living = |mut roots: BTreeSet<u32>| -> BTreeMap<u32, u64> {
        roots.remove(&std::process::id());
        let tree = procfs::with_descendants(roots, &all).into_iter();
        let found = tree.filter_map(|pid| Some((pid, all.get(&pid)?)));
        found.filter(|(_, process)| !process.zombie).map(|(pid, it)| (pid, it.start)).collect()
    };
    let certain = living(certain);
    let (mut marked, mut others) = (living(marked), living(others));
    marked.retain(|pid, _| !certain.contains_key(pid));
    others.retain(|pid, _| !certain.contains_key(pid) && !marked.contains_key(pid));
    Remaining { certain, marked, others }
}

/// Returns whether a process was started with all of these variables in its environment.
fn carries(pid: u32, marks: &[String]) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    let has =
        |mark: &String| environment.split(|byte| *byte == 0).any(|one| one == mark.as_bytes());
    marks.iter().all(has)
}
