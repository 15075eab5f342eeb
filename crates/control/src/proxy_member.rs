//! One proxy as control sees it: its connection, the tables that it was told of, and when it is late.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{
    Abilities, Generation, InstanceId, Millis, ProxyCommand, ProxyDuty, ProxyPresence, Reach,
    Reached, Timestamp, TrafficReport,
};

use rollout::{Absence, SentTables};

use crate::counts::Counters;
use crate::publishing::{PublishedSnapshot, Publishing};

/// One proxy.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProxyMember {
    pub abilities: Abilities,
    pub link: MemberLink,
    pub newest: Option<TrafficReport>,
    /// The last report read from the previous process, which may still send late reports.
    pub before: Option<TrafficReport>,
    /// Counts of all its processes since control began.
    pub counted: Counters,
    /// The snapshot that it has acknowledged last, and when that was heard.
    pub acknowledged_at: (Generation, Timestamp),
    pub tables: Arc<SentTables>,
    /// Instances that had left its tables when control began, and on which it may have had requests in flight.
    pub left: BTreeSet<InstanceId>,
    /// The instances that it asked, with what it found last.
    pub reached: Arc<BTreeMap<InstanceId, Reached>>,
    /// Its duty: whether it serves or is drained.
    pub duty: ProxyDuty,
    pub told: ToldTables,
    /// Time since which it is late: it did not answer in time, or was lost, and has not acknowledged the newest
    /// table since.
    pub late: Option<Timestamp>,
    /// Time at which it was last no longer late.
    pub followed_at: Timestamp,
}

/// The connection to a proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum MemberLink {
    /// The proxy is part of the server.
    #[default]
    Own,
    /// The proxy has connected with this process.
    Up { epoch: u64 },
    /// The proxy is not heard.
    Silent { since: Timestamp },
}

/// The newest tables of which a proxy was told since it connected or was reminded.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ToldTables {
    pub prepare: Generation,
    pub commit: Generation,
}

impl ProxyMember {
    /// Time in which a proxy prepares a table. Beyond it, the proxy is late.
    const PREPARE: Millis = Millis::from_secs(2);
    /// Time in which a proxy acknowledges a table that it may use. Beyond it, the proxy is late.
    const COMMIT: Millis = Millis::from_secs(1);

    /// Returns whether the proxy is connected.
    pub fn is_heard(&self) -> bool {
        !matches!(self.link, MemberLink::Silent { .. })
    }

    /// Returns whether the proxy is heard and its process has reported.
    pub fn is_up(&self) -> bool {
        match self.link {
            MemberLink::Own => true,
            MemberLink::Up { epoch } => self.newest.as_ref().is_some_and(|it| it.epoch == epoch),
            MemberLink::Silent { .. } => false,
        }
    }

    /// Returns the time at which the proxy was lost, if it is.
    pub fn lost_since(&self, now: Timestamp) -> Option<Timestamp> {
        match self.link {
            MemberLink::Own | MemberLink::Up { .. } => None,
            MemberLink::Silent { since } => Reach::of_silent(since, now).lost_since(),
        }
    }

    /// Returns whether the proxy is lost.
    pub fn is_lost(&self, now: Timestamp) -> bool {
        self.lost_since(now).is_some()
    }

    /// Returns whether switches wait for the proxy: it is neither late nor lost.
    pub fn is_waited_for(&self, now: Timestamp) -> bool {
        self.late.is_none() && !self.is_lost(now)
    }

    /// Returns the absence of the proxy, if switches do not wait for it.
    pub fn absence(&self, now: Timestamp) -> Option<Absence> {
        let lost = self.lost_since(now);
        let since = lost.or(self.late)?;
        Some(Absence { since, is_lost: lost.is_some() })
    }

    /// Returns the state of the proxy for people.
    pub fn state(&self, now: Timestamp) -> ProxyPresence {
        match (self.lost_since(now), self.late) {
            (Some(since), _) => ProxyPresence::Lost { since },
            (None, Some(since)) => ProxyPresence::Late { since },
            (None, None) => ProxyPresence::Here,
        }
    }

    /// Returns the newest snapshot for which the proxy's present process has prepared a table.
    pub fn prepared(&self) -> Generation {
        self.reported(|report| report.prepared)
    }

    /// Returns the snapshot that every worker of the proxy's present process holds, or has gone beyond.
    pub fn acknowledged(&self) -> Generation {
        self.reported(|report| report.acknowledged)
    }

    fn reported(&self, of: impl Fn(&TrafficReport) -> Generation) -> Generation {
        // A proxy whose process has not reported may hold any snapshot.
        let of_process = |report: &&TrafficReport| match self.link {
            MemberLink::Up { epoch } => report.epoch == epoch,
            MemberLink::Own | MemberLink::Silent { .. } => true,
        };
        self.newest.as_ref().filter(of_process).map(of).unwrap_or_default()
    }

    /// Returns the times at which the proxy is late with what it was told, unless it answers. The server's own
    /// proxy is never late: its threads are of this process.
    pub fn deadline(&self, publishing: &Publishing) -> impl Iterator<Item = Timestamp> + use<> {
        let preparing = publishing.preparing();
        let preparing = preparing.filter(|it| self.prepared() < it.table.generation());
        let committed = publishing.committed();
        let committed = committed.filter(|it| self.acknowledged() < it.table.generation());
        let prepare = preparing.map(|it| it.since.after(Self::PREPARE));
        let commit = committed.map(|it| it.since.after(Self::COMMIT));
        let is_own = self.link == MemberLink::Own;
        prepare.into_iter().chain(commit).filter(move |_| !is_own)
    }

    /// Tells the proxy what it lacks of the snapshots under way.
    pub fn tell(&mut self, publishing: &Publishing, say: &mut impl FnMut(ProxyCommand)) {
        // A late proxy gets the newest table once it has answered what it was told before.
        let is_stuck = self.late.is_some() && self.told.prepare > self.prepared();
        if !self.is_heard() || is_stuck {
            return;
        }
        if let Some(committed) = publishing.committed() {
            let generation = committed.table.generation();
            if self.acknowledged() < generation && self.told.commit < generation {
                if self.told.prepare < generation && self.prepared() != generation {
                    self.prepare(&committed.table, say);
                }
                self.told.commit = generation;
                say(ProxyCommand::Commit(generation));
            }
        }
        if let Some(preparing) = publishing.preparing()
            && self.told.prepare < preparing.table.generation()
            && self.prepared() < preparing.table.generation()
        {
            self.prepare(&preparing.table, say);
        }
    }

    fn prepare(&mut self, table: &PublishedSnapshot, say: &mut impl FnMut(ProxyCommand)) {
        let snapshot = match self.link {
            MemberLink::Own => table.own(),
            MemberLink::Up { .. } | MemberLink::Silent { .. } => table.elsewhere(),
        };
        self.told.prepare = snapshot.generation;
        Arc::make_mut(&mut self.tables).sent(snapshot);
        say(ProxyCommand::Prepare(Arc::clone(snapshot)));
    }
}
