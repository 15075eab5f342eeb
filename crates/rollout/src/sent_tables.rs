//! The tables that one proxy was sent and may use. A proxy that is not heard may use any of them.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;

use model::{AppName, AppSection, Generation, InstanceId, ReleaseNo, Snapshot};

/// The tables from the last one that a proxy acknowledged to the last one that it was sent.
#[derive(Clone, Debug, Default)]
pub struct SentTables {
    /// The oldest is the acknowledged one, if it was sent by this control.
    tables: VecDeque<Arc<Snapshot>>,
    /// Instances in other tables, with the newest of these. Tables of an earlier control count, too.
    others: BTreeMap<InstanceId, Generation>,
}

impl SentTables {
    /// Tables kept apart. Of those between, only the instances are kept.
    const KEPT: usize = 4;

    /// Assumes that an earlier control has sent these instances, and nothing is known of its tables.
    /// `generation` is older than any that this control sends.
    pub fn assume(instances: impl Iterator<Item = InstanceId>, generation: Generation) -> Self {
        let others = instances.map(|id| (id, generation)).collect();
        Self { tables: VecDeque::new(), others }
    }

    /// Records that the proxy is sent a table.
    pub fn sent(&mut self, snapshot: &Arc<Snapshot>) {
        if self.tables.iter().any(|table| table.generation == snapshot.generation) {
            return;
        }
        self.tables.push_back(Arc::clone(snapshot));
        if self.tables.len() > Self::KEPT
            && let Some(between) = self.tables.remove(1)
        {
            let of_it = instances(&between).map(|id| (id.clone(), between.generation));
            self.others.extend(of_it);
        }
    }

    /// Records that the proxy uses this table or a newer one, and never again an older one.
    pub fn acknowledged(&mut self, generation: Generation) {
        while self.tables.front().is_some_and(|table| table.generation < generation) {
            self.tables.pop_front();
        }
        self.others.retain(|_, newest| *newest >= generation);
    }

    /// Returns whether the proxy may send requests to this instance.
    pub fn may_use(&self, id: &InstanceId) -> bool {
        let holds = |table: &Arc<Snapshot>| {
            let arms = section(table, &id.app).into_iter().flat_map(|section| &section.arms);
            arms.flat_map(|arm| &arm.instances).any(|target| target.id == *id)
        };
        self.others.contains_key(id) || self.tables.iter().any(holds)
    }

    /// Returns the release of the app that most users get by the oldest table, if it has instances there.
    pub fn serves(&self, app: &AppName) -> Option<ReleaseNo> {
        let section = section(self.tables.front()?, app)?;
        let most = section.arms.iter().max_by_key(|arm| arm.share)?;
        (!most.instances.is_empty()).then_some(most.release)
    }

    /// Returns the oldest and the newest of the tables, and how many instances are in others.
    pub fn extent(&self) -> (Option<Generation>, Option<Generation>, usize) {
        let generation = |table: &Arc<Snapshot>| table.generation;
        let (oldest, newest) = (self.tables.front(), self.tables.back());
        (oldest.map(generation), newest.map(generation), self.others.len())
    }
}

/// Returns an app's section of a snapshot, in which the sections are in the order of the apps' names.
fn section<'a>(snapshot: &'a Snapshot, app: &AppName) -> Option<&'a AppSection> {
    let at = snapshot.apps.binary_search_by(|section| section.app.cmp(app)).ok()?;
    snapshot.apps.get(at)
}

fn instances(snapshot: &Snapshot) -> impl Iterator<Item = &InstanceId> {
    let arms = snapshot.apps.iter().flat_map(|section| &section.arms);
    arms.flat_map(|arm| &arm.instances).map(|target| &target.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use model::{AppSection, Arm, Share, Target};

    fn id(number: u64) -> InstanceId {
        InstanceId { app: "web".parse().expect("it is a name"), number }
    }

    fn generation(counter: u64) -> Generation {
        Generation { term: 2, counter }
    }

    /// A table whose only instance has the table's own number.
    fn table(counter: u64) -> Arc<Snapshot> {
        let address = model::Address::Tcp(([10, 0, 0, 1], 20_000).into());
        let listeners = Default::default();
        let target = Target { id: id(counter), address, weight: Default::default(), listeners };
        let label = "v1".parse().expect("it is a label");
        let instances = vec![target];
        let arm = Arm { release: ReleaseNo(1), label, share: Share::ALL, instances };
        let section = AppSection {
            app: id(1).app,
            route: model::Route::everything(model::Millis(0)),
            drain_deadline: model::Millis(0),
            split: None,
            maintenance: None,
            arms: vec![arm],
        };
        Arc::new(Snapshot { generation: generation(counter), apps: vec![section] })
    }

    fn numbers(tables: &SentTables) -> Vec<u64> {
        (0..100).filter(|number| tables.may_use(&id(*number))).collect()
    }

    #[test]
    fn every_table_from_the_acknowledged_one_on_may_be_in_use() {
        let mut tables = SentTables::default();
        (1..=9).for_each(|counter| tables.sent(&table(counter)));
        assert_eq!(numbers(&tables), [1, 2, 3, 4, 5, 6, 7, 8, 9], "none was acknowledged");
        tables.acknowledged(generation(5));
        assert_eq!(numbers(&tables), [5, 6, 7, 8, 9]);
        tables.sent(&table(9));
        tables.acknowledged(generation(4));
        assert_eq!(numbers(&tables), [5, 6, 7, 8, 9], "a late report takes nothing back");
        tables.acknowledged(generation(9));
        assert_eq!(numbers(&tables), [9]);
    }

    #[test]
    fn after_a_restart_of_control_all_that_was_there_may_be_in_use() {
        let mut tables = SentTables::assume([id(70), id(71)].into_iter(), generation(0));
        tables.acknowledged(Generation { term: 1, counter: 99 });
        tables.sent(&table(1));
        assert_eq!(numbers(&tables), [1, 70, 71]);
        tables.acknowledged(generation(1));
        assert_eq!(numbers(&tables), [1]);
    }
}
