//! Gives the proxies each snapshot in two steps: all make their table of it, then all use it (I5). One
//! snapshot is under way at a time; of those that wait for it the newest replaces the rest.

use std::sync::Arc;

use model::{Generation, Snapshot};
use rollout::Bug;

use crate::message::Command;

/// Which snapshot is on its way to the proxies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Publishing {
    /// The newest one, whether it is under way or waits.
    pub newest: Option<Arc<Snapshot>>,
    /// The one of which not every proxy has made its table yet.
    preparing: Option<Arc<Snapshot>>,
}

impl Publishing {
    /// There is a new snapshot. `is_one` if there is one proxy: it need not wait for others.
    pub fn offer(&mut self, snapshot: Arc<Snapshot>, is_one: bool, commands: &mut Vec<Command>) {
        self.newest = Some(snapshot.clone());
        if is_one || Bug::CommitsEarly.is_planted() {
            let generation = snapshot.generation;
            commands.extend([Command::Prepare(snapshot), Command::Commit(generation)]);
        } else if self.preparing.is_none() {
            self.prepare(snapshot, commands);
        }
    }

    /// Every proxy has made its table of the snapshot `everywhere`, or of a later one.
    pub fn prepared(&mut self, everywhere: Generation, commands: &mut Vec<Command>) {
        let Some(snapshot) = self.preparing.take_if(|s| s.generation <= everywhere) else { return };
        commands.push(Command::Commit(snapshot.generation));
        if let Some(next) = self.newest.clone().filter(|s| s.generation > snapshot.generation) {
            self.prepare(next, commands);
        }
    }

    /// Some proxy may not have what the others have. Whoever has it does nothing more.
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

    /// `+n` is prepare, `!n` is commit.
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
