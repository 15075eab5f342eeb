//! The processes of one instance: the command and all that descends from it. Signals nothing that is
//! not a descendant of this process or in the instance's control group.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::cgroup::Cgroup;
use crate::procfs;

/// What is left in a group when its instance has ended is waited for no longer.
const PATIENCE: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(5);

/// The process tree of the instance whose reaper this process is.
#[derive(Debug)]
pub(super) struct Tree {
    main: u32,
    cgroup: Option<Cgroup>,
}

impl Tree {
    pub fn new(main: u32, cgroup: Option<Cgroup>) -> Self {
        Self { main, cgroup }
    }

    /// The command's own process.
    pub fn main(&self) -> u32 {
        self.main
    }

    pub fn cgroup(&self) -> Option<&Cgroup> {
        self.cgroup.as_ref()
    }

    /// Asks all of them to end.
    pub fn ask_to_end(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends all that are found now. To be repeated until none is left: one may be just starting
    /// another.
    pub fn kill(&self) {
        if let Some(group) = &self.cgroup {
            group.kill();
        }
        self.signal(Signal::KILL);
    }

    /// What its limits did to it, one sentence each.
    pub fn hit_limits(&self) -> Vec<String> {
        self.cgroup.as_ref().map(Cgroup::hit_limits).unwrap_or_default()
    }

    /// All that descends from this process has ended: removes the group, with what else is in it, such as
    /// the command of a probe.
    pub fn clear(&self) {
        let Some(group) = &self.cgroup else { return };
        let give_up = Instant::now() + PATIENCE;
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
