//! What a set of runs has reached: every reason, and every phase with every fault.

use std::collections::BTreeMap;

use model::{AppView, NotReady, Readiness, Waiting};
use rollout::Ask;

/// Counts of what was reached.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// By reason.
    pub reasons: BTreeMap<&'static str, u64>,
    /// By phase and fault or command.
    pub crossings: BTreeMap<(&'static str, &'static str), u64>,
}

impl Coverage {
    /// Every reason that there is to reach.
    pub const REASONS: [&str; 16] = [
        "step",
        "resume",
        "instances",
        "ports",
        "promote",
        "acknowledgement",
        "watch",
        "drain",
        "stop",
        "back-off",
        "recovery",
        "no-previous",
        "not-kept",
        "marked-bad",
        "not-whole",
        "nothing-served",
    ];
    /// Every phase there is.
    pub const PHASES: [&str; 8] =
        ["holding", "idle", "starting", "ready", "switching", "watching", "settling", "reverting"];
    /// Every fault and command that is to meet every phase.
    pub const FAULTS: [&str; 10] = [
        "crash",
        "reboot",
        "dead-host",
        "kill",
        "disk-full",
        "deploy",
        "rollback",
        "promote",
        "abort",
        "remove",
    ];

    /// An app was shown.
    pub fn seen(&mut self, view: &AppView) {
        let of_rollout = view.rollout.iter().filter_map(|rollout| rollout.waiting.as_ref());
        for reason in of_rollout.chain(&view.waiting) {
            *self.reasons.entry(name_of(&reason.waiting)).or_default() += 1;
        }
        if let Readiness::NotReady(why) = &view.rollback {
            let name = match why {
                NotReady::NoPrevious => "no-previous",
                NotReady::NotKept { .. } => "not-kept",
                NotReady::MarkedBad { .. } => "marked-bad",
                NotReady::NotWhole { .. } => "not-whole",
                NotReady::NothingServed => "nothing-served",
            };
            *self.reasons.entry(name).or_default() += 1;
        }
    }

    /// Somebody asked for something while the app looked like this.
    pub fn asked(&mut self, ask: &Ask, view: Option<&AppView>) {
        let name = match ask {
            Ask::Deploy { .. } => "deploy",
            Ask::Rollback { .. } => "rollback",
            Ask::Promote(_) => "promote",
            Ask::Pause => "pause",
            Ask::Resume => "resume",
            Ask::Scale { .. } => "scale",
            Ask::Sync => "sync",
            Ask::Maintenance { .. } => "maintenance",
            Ask::Abort => "abort",
            Ask::Remove => "remove",
        };
        self.fault(name, view.into_iter());
    }

    /// A fault met apps that looked like this.
    pub fn fault<'a>(&mut self, fault: &'static str, views: impl Iterator<Item = &'a AppView>) {
        for view in views {
            let phase = view.rollout.as_ref().map_or("idle", |rollout| rollout.phase);
            *self.crossings.entry((phase, fault)).or_default() += 1;
        }
    }

    /// Adds what another run has reached.
    pub fn add(&mut self, other: &Self) {
        for (reason, n) in &other.reasons {
            *self.reasons.entry(reason).or_default() += n;
        }
        for (crossing, n) in &other.crossings {
            *self.crossings.entry(*crossing).or_default() += n;
        }
    }

    /// What was not reached.
    pub fn missing(&self) -> Vec<String> {
        let reasons = Self::REASONS.iter().filter(|reason| !self.reasons.contains_key(*reason));
        let mut missing: Vec<String> = reasons.map(ToString::to_string).collect();
        for phase in Self::PHASES {
            for fault in Self::FAULTS {
                if !self.crossings.contains_key(&(phase, fault)) {
                    missing.push(format!("{fault} while {phase}"));
                }
            }
        }
        missing
    }
}

fn name_of(waiting: &Waiting) -> &'static str {
    match waiting {
        Waiting::Instances { .. } => "instances",
        Waiting::Ports => "ports",
        Waiting::Promote => "promote",
        Waiting::Acknowledgement { .. } => "acknowledgement",
        Waiting::Step { .. } => "step",
        Waiting::Resume { .. } => "resume",
        Waiting::Watch => "watch",
        Waiting::Drain { .. } => "drain",
        Waiting::Stop { .. } => "stop",
        Waiting::BackOff { .. } => "back-off",
        Waiting::Recovery { .. } => "recovery",
    }
}
