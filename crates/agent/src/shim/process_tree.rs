//! The processes of one instance: the command and all its descendants. Sends signals only to descendants of
//! this process and to processes in the instance's control group.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::cgroup::Cgroup;
use crate::procfs;

/// The longest wait for processes left in the control group of an ended instance.
const TIMEOUT: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(5);

/// The process tree of the instance for which this process is the reaper.
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

    /// Kills all processes that exist now. Repeat this until none is left, because a process may be just
    /// starting another.
    pub fn kill(&self) {
        if let Some(group) = &self.cgroup {
            group.kill();
        }
        self.signal(Signal::KILL);
    }

    /// Returns the effects of the limits on the processes, one sentence each.
    pub fn hit_limits(&self) -> Vec<String> {
        self.cgroup.as_ref().map(Cgroup::hit_limits).unwrap_or_default()
    }

    /// Removes the control group, once all descendants of this process have ended. Kills other processes in
    /// the group, such as the command of a probe.
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
        // This process is the reaper and adopts the tree's orphans, so all processes of the tree are its
        // descendants.
        let mut members = procfs::with_descendants(BTreeSet::from([me]), &all);
        members.remove(&me);
        members.extend(self.cgroup.iter().flat_map(Cgroup::members));
        for pid in members {
            // The process may have joined the group since the list was made.
            let found = all.get(&pid).copied().or_else(|| procfs::process(pid));
            if let Some(found) = found {
                procfs::signal(pid, found.start, signal);
            }
        }
    }
}
