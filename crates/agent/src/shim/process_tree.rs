//! The processes of one instance: the command and all that descends from it. Signals nothing that is
//! not a descendant of this process or in the instance's control group.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::cgroup::Cgroup;
use crate::procfs;

/// Processes left in a control group when its instance has ended are waited for no longer than this.
const TIMEOUT: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(5);

/// The process tree of the instance whose reaper this process is.
#[derive(Debug)]
pub(super) struct ProcessTree {
    main: u32,
    cgroup: Option<Cgroup>,
}

impl ProcessTree {
    pub fn new(main: u32, cgroup: Option<Cgroup>) -> Self {
        Self { main, cgroup }
    }

    /// Returns the process id of the command.
    pub fn main(&self) -> u32 {
        self.main
    }

    pub fn cgroup(&self) -> Option<&Cgroup> {
        self.cgroup.as_ref()
    }

    /// Sends SIGTERM to all processes.
    pub fn ask_to_end(&self) {
        self.signal(Signal::TERM);
    }

    /// Kills all processes that exist now. Repeat this until none is left: a process may be just starting
    /// another.
    pub fn kill(&self) {
        if let Some(group) = &self.cgroup {
            group.kill();
        }
        self.signal(Signal::KILL);
    }

    /// Returns what the limits did to the processes, one sentence each.
    pub fn hit_limits(&self) -> Vec<String> {
        self.cgroup.as_ref().map(Cgroup::hit_limits).unwrap_or_default()
    }

    /// Removes the control group, once all descendants of this process have ended, together with other
    /// processes in it, such as the command of a probe.
    pub fn clear(&self) {
        let Some(group) = &self.cgroup else { return };
        let give_up = Instant::now() + TIMEOUT;
        while !group.remove() && Instant::now() < give_up {
            self.kill();
            std::thread::sleep(AGAIN);
        }
    }

    fn signal(&self, signal: Signal) {
        let me = std::process::id();
        let all = procfs::processes();
        // Orphans of the tree come to this process, their reaper: so all are below it.
        let mut members = procfs::with_descendants(BTreeSet::from([me]), &all);
        members.remove(&me);
        members.extend(self.cgroup.iter().flat_map(Cgroup::members));
        for pid in members {
            // One that has joined the group since then.
            let found = all.get(&pid).copied().or_else(|| procfs::process(pid));
            if let Some(found) = found {
                procfs::signal(pid, found.start, signal);
            }
        }
    }
}
