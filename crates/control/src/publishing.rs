//! Gives the proxies each snapshot in two steps: first all of them prepare their tables, then all use
//! them (I5). One snapshot is in progress at a time. Of the waiting snapshots only the newest is kept.

use std::sync::{Arc, OnceLock};

use model::{Generation, Millis, Snapshot, Timestamp};
use rollout::Bug;

/// A snapshot, and what proxies on other machines get of it.
#[derive(Debug)]
pub(crate) struct PublishedSnapshot {
    snapshot: Arc<Snapshot>,
    elsewhere: OnceLock<Arc<Snapshot>>,
}

impl PublishedSnapshot {
    fn new(snapshot: Arc<Snapshot>) -> Arc<Self> {
        Arc::new(Self { snapshot, elsewhere: OnceLock::new() })
    }

    /// Returns the snapshot's number.
    pub fn generation(&self) -> Generation {
        self.snapshot.generation
    }

    /// Returns the whole snapshot, for the server's own proxy.
    pub fn own(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Returns the snapshot for proxies on other machines. It is made once for all of them.
    pub fn elsewhere(&self) -> &Arc<Snapshot> {
        if Bug::SendsEverything.is_planted() {
            return &self.snapshot;
        }
        self.elsewhere.get_or_init(|| self.snapshot.for_other_machines())
    }
}

/// The snapshots on their way to the proxies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Publishing {
    /// The newest snapshot, in progress or waiting.
    newest: Option<Arc<PublishedSnapshot>>,
    /// The snapshot that is prepared and that no proxy may use yet.
    preparing: Option<Preparing>,
    /// The snapshot that all proxies may use.
    committed: Option<Committed>,
}

/// A snapshot for which proxies prepare their tables.
#[derive(Clone, Debug)]
pub(crate) struct Preparing {
    pub table: Arc<PublishedSnapshot>,
    /// Time since which it is prepared.
    pub since: Timestamp,
    /// True if it takes users back: it does not wait long for slow proxies.
    is_urgent: bool,
}

/// A snapshot that proxies may use.
#[derive(Clone, Debug)]
pub(crate) struct Committed {
    pub table: Arc<PublishedSnapshot>,
    /// Time since which they may.
    pub since: Timestamp,
    /// Time that they had to prepare.
    pub prepare: Millis,
}

/// What the proxies have prepared, as far as it concerns a commit.
pub(crate) trait Prepared {
    /// Returns whether every proxy that is waited for has prepared this snapshot, and one at least.
    fn all_have(&self, generation: Generation) -> bool;
    /// Returns whether some proxy has prepared this snapshot.
    fn some_has(&self, generation: Generation) -> bool;
}

impl Publishing {
    /// Time that a snapshot which takes users back waits for all proxies.
    const URGENT: Millis = Millis(200);

    /// Takes a new snapshot. One that takes users back replaces the one that is being prepared.
    pub fn offer(&mut self, snapshot: Arc<Snapshot>, is_urgent: bool, now: Timestamp) {
        let table = PublishedSnapshot::new(snapshot);
        self.newest = Some(table.clone());
        if is_urgent || self.preparing.is_none() {
            self.preparing = Some(Preparing { table, since: now, is_urgent });
        }
    }

    /// Lets the proxies use the newest snapshot without waiting for tables. The only proxy waits for no other.
    pub fn commit_at_once(&mut self, now: Timestamp) {
        self.preparing = None;
        if let Some(table) = self.newest.clone() {
            self.committed = Some(Committed { table, since: now, prepare: Millis(0) });
        }
    }

    /// Lets the proxies use the snapshot that is being prepared, if they may. Returns whether they may.
    pub fn commit(&mut self, proxies: &impl Prepared, now: Timestamp) -> bool {
        let may_be_used = |preparing: &mut Preparing| {
            let generation = preparing.table.generation();
            let is_over = preparing.is_urgent && now >= preparing.since.after(Self::URGENT);
            proxies.all_have(generation)
                || (is_over && proxies.some_has(generation))
                || Bug::CommitsEarly.is_planted()
        };
        let Some(Preparing { table, since, .. }) = self.preparing.take_if(may_be_used) else {
            return false;
        };
        let next = self.newest.clone().filter(|newest| newest.generation() > table.generation());
        self.preparing = next.map(|table| Preparing { table, since: now, is_urgent: false });
        self.committed = Some(Committed { table, since: now, prepare: now.since(since) });
        true
    }

    /// Returns the newest snapshot, in progress or waiting.
    pub fn newest(&self) -> Option<&Arc<Snapshot>> {
        self.newest.as_ref().map(|table| table.own())
    }

    /// Returns the snapshot that is being prepared.
    pub fn preparing(&self) -> Option<&Preparing> {
        self.preparing.as_ref()
    }

    /// Returns the snapshot that proxies may use.
    pub fn committed(&self) -> Option<&Committed> {
        self.committed.as_ref()
    }

    /// Returns the time at which a snapshot that takes users back waits no longer for all proxies.
    pub fn wake_at(&self) -> Option<Timestamp> {
        let urgent = self.preparing.as_ref().filter(|preparing| preparing.is_urgent);
        urgent.map(|preparing| preparing.since.after(Self::URGENT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    /// The generations that the slowest and the fastest proxy have prepared.
    struct Have(u64, u64);

    impl Prepared for Have {
        fn all_have(&self, generation: Generation) -> bool {
            self.0 >= generation.counter
        }

        fn some_has(&self, generation: Generation) -> bool {
            self.1 >= generation.counter
        }
    }

    fn snapshot(counter: u64) -> Arc<Snapshot> {
        let generation = Generation { term: 1, counter };
        Arc::new(Snapshot { generation, apps: Vec::new() })
    }

    fn state(publishing: &Publishing) -> (Option<u64>, Option<u64>) {
        let number = |table: &Arc<PublishedSnapshot>| table.generation().counter;
        let preparing = publishing.preparing().map(|it| number(&it.table));
        (preparing, publishing.committed().map(|it| number(&it.table)))
    }

    #[test]
    fn nobody_uses_a_snapshot_before_everybody_has_prepared_its_table() {
        let mut publishing = Publishing::default();
        (1..=3).for_each(|counter| publishing.offer(snapshot(counter), false, NOW));
        assert_eq!(state(&publishing), (Some(1), None));
        assert!(!publishing.commit(&Have(0, 1), NOW));
        assert!(publishing.commit(&Have(1, 1), NOW));
        assert_eq!(state(&publishing), (Some(3), Some(1)), "the second is never prepared");
        assert!(!publishing.commit(&Have(1, 3), NOW.after(Millis::from_secs(60))));
        assert!(publishing.commit(&Have(3, 3), NOW));
        assert_eq!(state(&publishing), (None, Some(3)));
    }

    #[test]
    fn a_way_back_waits_neither_for_the_snapshot_before_it_nor_long_for_slow_proxies() {
        let mut publishing = Publishing::default();
        publishing.offer(snapshot(1), false, NOW);
        publishing.offer(snapshot(2), true, NOW);
        assert_eq!(state(&publishing), (Some(2), None));
        let later = publishing.wake_at().expect("it waits");
        assert_eq!(later, NOW.after(Millis(200)));
        assert!(!publishing.commit(&Have(1, 2), NOW));
        assert!(!publishing.commit(&Have(1, 1), later), "there has to be one");
        assert!(publishing.commit(&Have(1, 2), later));
        assert_eq!(state(&publishing), (None, Some(2)));
    }
}
