//! Gives the proxies each snapshot in two steps: first all of them prepare their tables, then all use
//! them (I5). One snapshot is in progress at a time. Of the waiting snapshots only the newest is kept.

use std::sync::Arc;

use model::{Generation, Snapshot};
use rollout::Bug;

use crate::message::Command;

/// The snapshot on its way to the proxies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Publishing {
    /// The newest snapshot, in progress or waiting.
    pub newest: Option<Arc<Snapshot>>,
    /// The snapshot for which not every proxy has prepared its table yet.
    preparing: Option<Arc<Snapshot>>,
}

impl Publishing {
    /// Takes a new snapshot. `is_one` is true if there is a single proxy, which need not wait for
    /// others.
    pub fn offer(&mut self, snapshot: Arc<Snapshot>, is_one: bool, commands: &mut Vec<Command>) {
        self.newest = Some(snapshot.clone());
        if is_one || Bug::CommitsEarly.is_planted() {
            let generation = snapshot.generation;
            commands.extend([Command::Prepare(snapshot), Command::Commit(generation)]);
        } else if self.preparing.is_none() {
            self.prepare(snapshot, commands);
        }
    }

    /// Takes the newest snapshot, `everywhere`, for which every proxy has prepared a table.
    pub fn prepared(&mut self, everywhere: Generation, commands: &mut Vec<Command>) {
        let Some(snapshot) = self.preparing.take_if(|s| s.generation <= everywhere) else { return };
        commands.push(Command::Commit(snapshot.generation));
        if let Some(next) = self.newest.clone().filter(|s| s.generation > snapshot.generation) {
            self.prepare(next, commands);
        }
    }

    /// Repeats the commands for a proxy that may be behind. Proxies that are up to date do nothing
    /// more.
    pub fn repeat(&self, commands: &mut Vec<Command>) {
        if let Some(snapshot) = &self.preparing {
            commands.push(Command::Prepare(snapshot.clone()));
        } else if let Some(snapshot) = &self.newest {
            commands.push(Command::Prepare(snapshot.clone()));
            commands.push(Command::Commit(snapshot.generation));
        }
    }

    fn prepare(&mut self, snapshot: Arc<Snapshot>, commands: &mut Vec<Command>) {
        self.preparing = Some(snapshot.clone());
        commands.push(Command::Prepare(snapshot));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(counter: u64) -> Arc<Snapshot> {
        Arc::new(Snapshot { generation: generation(counter), apps: Vec::new() })
    }

    fn generation(counter: u64) -> Generation {
        Generation { term: 1, counter }
    }

    /// Writes prepare as `+n` and commit as `!n`.
    fn said(act: impl FnOnce(&mut Vec<Command>)) -> String {
        let mut commands = Vec::new();
        act(&mut commands);
        let words = commands.iter().map(|command| {
            if let Command::Prepare(snapshot) = command {
                return format!("+{}", snapshot.generation.counter);
            }
            let Command::Commit(generation) = command else { panic!("{command:?}") };
            format!("!{}", generation.counter)
        });
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn one_proxy_waits_for_nobody() {
        let mut publishing = Publishing::default();
        assert_eq!(said(|out| publishing.offer(snapshot(1), true, out)), "+1 !1");
        assert_eq!(said(|out| publishing.prepared(generation(1), out)), "");
        assert_eq!(said(|out| publishing.repeat(out)), "+1 !1");
    }

    #[test]
    fn nobody_uses_a_snapshot_before_everybody_has_made_its_table() {
        let mut publishing = Publishing::default();
        assert_eq!(said(|out| publishing.repeat(out)), "");
        assert_eq!(said(|out| publishing.offer(snapshot(1), false, out)), "+1");
        assert_eq!(said(|out| publishing.offer(snapshot(2), false, out)), "");
        assert_eq!(said(|out| publishing.offer(snapshot(3), false, out)), "");
        assert_eq!(said(|out| publishing.prepared(generation(0), out)), "");
        assert_eq!(said(|out| publishing.repeat(out)), "+1");
        assert_eq!(
            said(|out| publishing.prepared(generation(1), out)),
            "!1 +3",
            "the second never"
        );
        assert_eq!(said(|out| publishing.prepared(generation(1), out)), "");
        assert_eq!(said(|out| publishing.prepared(generation(3), out)), "!3");
        assert_eq!(said(|out| publishing.repeat(out)), "+3 !3");
    }
}
