//! Bugs planted between the engine and the world, to show that the invariants are checked.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "each bug changes the few commands that it is about"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use control::{Command, Engine};
use model::{AppName, AppSection, Expect, HostCommand, Share, Snapshot, Stage};
use rollout::App;

/// A bug planted between the engine and the world, one for each invariant that a simulation sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// I1: a snapshot keeps an instance that is not Serving any more.
    RouteToDraining,
    /// I2: an instance is told to stop as soon as it drains.
    StopEarly,
    /// I3: the switch takes an arm that lacks an instance.
    SwitchShort,
    /// I4: the last commit is lost in a crash.
    LoseCommit,
    /// I5: after a crash the term is not counted up.
    ReuseTerm,
    /// I7: a rollback starts an instance.
    RollbackStarts,
    /// I8: a snapshot gives the candidate less than the one before.
    ShareFalls,
    /// I9: a removed app's instances are left running.
    LeaveOrphans,
    /// I9: no host is told what nothing needs any more.
    LeaveFiles,
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::RouteToDraining,
        Self::StopEarly,
        Self::SwitchShort,
        Self::LoseCommit,
        Self::ReuseTerm,
        Self::RollbackStarts,
        Self::ShareFalls,
        Self::LeaveOrphans,
        Self::LeaveFiles,
    ];

    /// What the engine would want done if it had the bug, given the sections published before.
    pub(crate) fn plant(
        self,
        mut commands: Vec<Command>,
        engine: Option<&Engine>,
        before: &BTreeMap<AppName, AppSection>,
    ) -> Vec<Command> {
        match self {
            Sabotage::RouteToDraining => {
                for command in &mut commands {
                    if let Command::Publish(snapshot) = command {
                        *snapshot = Arc::new(with_what_left(snapshot, before));
                    }
                }
            }
            Sabotage::StopEarly => {
                let apps = engine.into_iter().flat_map(Engine::apps);
                let draining = apps.flat_map(|app| {
                    let of_app = app.instances.iter().filter(|(_, i)| i.stage == Stage::Draining);
                    of_app.map(|(number, _)| app.id(*number))
                });
                let stop = |id| HostCommand::Stop { id, grace: model::Millis(1) };
                commands.extend(draining.map(|id| Command::Host(stop(id))));
            }
            Sabotage::SwitchShort => {
                for command in &mut commands {
                    if let Command::Publish(snapshot) = command {
                        let mut short = (**snapshot).clone();
                        for arm in short.apps.iter_mut().flat_map(|section| &mut section.arms) {
                            if arm.share > Share::NONE {
                                arm.instances.truncate(1);
                            }
                        }
                        *snapshot = Arc::new(short);
                    }
                }
            }
            Sabotage::ShareFalls => {
                for command in &mut commands {
                    if let Command::Publish(snapshot) = command {
                        let mut less = (**snapshot).clone();
                        for section in less.apps.iter_mut().filter(|s| s.split.is_some()) {
                            let old = before.get(&section.app).is_some_and(|s| s.split.is_some());
                            for arm in section.arms.iter_mut().filter(|_| old) {
                                let candidate = section.split.as_ref().map(|s| s.candidate);
                                if candidate == Some(arm.release) {
                                    arm.share = Share::from_ten_thousandths(1).unwrap_or(arm.share);
                                }
                            }
                        }
                        *snapshot = Arc::new(less);
                    }
                }
            }
            Sabotage::RollbackStarts => {
                let back = |c: &Command| matches!(c, Command::Announce(e) if e.text.starts_with("rolling back"));
                let again = |app: &App| rollout::plan(app).effects;
                if commands.iter().any(back) {
                    let effects = engine.into_iter().flat_map(Engine::apps).flat_map(again);
                    let fresh = effects.filter_map(|effect| match effect {
                        HostCommand::Run { launch, .. } => {
                            Some(HostCommand::Run { launch, expect: Expect::Fresh })
                        }
                        _ => None,
                    });
                    commands.extend(fresh.take(1).map(Command::Host).collect::<Vec<_>>());
                }
            }
            Sabotage::LeaveOrphans => {
                commands.retain(|c| !matches!(c, Command::Host(HostCommand::Stop { .. })));
            }
            Sabotage::LeaveFiles => {
                commands.retain(|c| !matches!(c, Command::Host(HostCommand::Keep(_))));
            }
            Sabotage::LoseCommit | Sabotage::ReuseTerm => {}
        }
        commands
    }
}

/// The snapshot, with every target of the one before still in it.
fn with_what_left(snapshot: &Snapshot, before: &BTreeMap<AppName, AppSection>) -> Snapshot {
    let mut snapshot = snapshot.clone();
    for section in &mut snapshot.apps {
        let Some(before) = before.get(&section.app) else { continue };
        for arm in &before.arms {
            let Some(into) = section.arms.first_mut() else { continue };
            let missing = arm.instances.iter().filter(|t| !into.instances.contains(t));
            let missing: Vec<_> = missing.cloned().collect();
            into.instances.extend(missing);
        }
    }
    snapshot
}
