//! Coverage of a set of runs: every reason, every phase of every strategy with every fault and every
//! command, and every command wherever it can be accepted.

use std::collections::BTreeMap;

use model::{AppView, NotReady, Readiness, Waiting};
use rollout::{Ask, Cause, Fact, Phase, Promote};

/// The strategy of an app's rollout, and its phase.
pub type Place = (&'static str, &'static str);

/// Counts of everything that was reached.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// By reason of a wait, a refusal or a failure.
    pub reasons: BTreeMap<&'static str, u64>,
    /// By place, and by fault or command.
    pub crossings: BTreeMap<(Place, &'static str), u64>,
    /// By place, and by command that was accepted there and changed something.
    pub accepted: BTreeMap<(Place, &'static str), u64>,
}

impl Coverage {
    /// All reasons.
    pub const REASONS: [&str; 23] = [
        "step",
        "resume",
        "instances",
        "files",
        "ports",
        "promote",
        "acknowledgement",
        "watch",
        "drain",
        "stop",
        "back-off",
        "recovery",
        "host",
        "lost-proxy",
        "closed-in-vain",
        "no-proxy",
        "suspects-itself",
        "host-aside",
        "no-previous",
        "not-kept",
        "marked-bad",
        "not-whole",
        "nothing-served",
    ];
    /// The strategy and the phase of an app without a rollout.
    const IDLE: Place = ("none", "idle");
    /// All strategies of a rollout.
    const STRATEGIES: [&str; 6] =
        ["blue-green", "rolling", "canary", "recreate", "rollback", "restart"];
    /// The faults that have to occur in every phase.
    pub const FAULTS: [&str; 11] = [
        "crash",
        "reboot",
        "kill",
        "dead-host",
        "cut-link",
        "cut-all",
        "dead-proxy",
        "cut-proxy",
        "disk-full",
        "lost-append",
        "fenced",
    ];
    /// The commands that have to be asked in every phase.
    pub const COMMANDS: [&str; 14] = [
        "deploy",
        "rollback",
        "rollback-to",
        "promote",
        "promote-full",
        "pause",
        "resume",
        "scale",
        "sync",
        "maintenance",
        "restart",
        "abort",
        "work",
        "remove",
    ];

    /// Records the view of an app.
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

    /// Records a decided fact.
    pub fn decided(&mut self, fact: &Fact) {
        if let Fact::Reverting { cause, .. }
        | Fact::Kept { cause, .. }
        | Fact::Settled { cause: Some(cause), .. } = fact
            && matches!(cause, Cause::LostProxy { .. })
        {
            *self.reasons.entry("closed-in-vain").or_default() += 1;
        }
    }

    /// Records a command and the view of the app at that time.
    pub fn asked(&mut self, ask: &Ask, view: Option<&AppView>) {
        self.fault(command(ask), view.into_iter());
    }

    /// Records an accepted command and the view that it was decided on.
    pub fn accepted(&mut self, command: &'static str, view: &AppView) {
        *self.accepted.entry((place(view), command)).or_default() += 1;
    }

    /// Records a fault and the views of the apps at that time.
    pub fn fault<'a>(&mut self, fault: &'static str, views: impl Iterator<Item = &'a AppView>) {
        for view in views {
            *self.crossings.entry((place(view), fault)).or_default() += 1;
        }
    }

    /// Adds the coverage of another run.
    pub fn add(&mut self, other: &Self) {
        for (reason, n) in &other.reasons {
            *self.reasons.entry(reason).or_default() += n;
        }
        for (crossing, n) in &other.crossings {
            *self.crossings.entry(*crossing).or_default() += n;
        }
        for (command, n) in &other.accepted {
            *self.accepted.entry(*command).or_default() += n;
        }
    }

    /// Returns what was not reached.
    pub fn missing(&self) -> Vec<String> {
        let reasons = Self::REASONS.iter().filter(|reason| !self.reasons.contains_key(*reason));
        let mut missing: Vec<String> = reasons.map(ToString::to_string).collect();
        for crossing in Self::crossings() {
            let ((strategy, phase), what) = crossing;
            if !self.crossings.contains_key(&crossing) {
                missing.push(format!("{what} while {strategy} is {phase}"));
            }
            if can_be(what, strategy, phase) && !self.accepted.contains_key(&crossing) {
                missing.push(format!("{what} accepted while {strategy} is {phase}"));
            }
        }
        missing
    }

    /// Returns every phase of every strategy with every fault and command that has to occur in it.
    pub fn crossings() -> Vec<(Place, &'static str)> {
        let all = || Self::FAULTS.into_iter().chain(Self::COMMANDS);
        Self::places().flat_map(|place| all().map(move |what| (place, what))).collect()
    }

    fn places() -> impl Iterator<Item = Place> {
        let of = |strategy: &'static str| {
            let phases = Phase::all().filter(move |phase| has_phase(strategy, phase));
            phases.map(move |phase| (strategy, phase.name()))
        };
        std::iter::once(Self::IDLE).chain(Self::STRATEGIES.into_iter().flat_map(of))
    }
}

/// Returns whether rollouts of that strategy pass through such a phase.
fn has_phase(strategy: &str, phase: &Phase) -> bool {
    match phase {
        Phase::Starting => strategy != "rollback",
        Phase::Ready => strategy == "blue-green",
        Phase::Switching => strategy != "restart",
        Phase::Holding => matches!(strategy, "rolling" | "canary"),
        Phase::Watching | Phase::Reverting { .. } => !matches!(strategy, "rollback" | "restart"),
        // A recreate leaves nothing to settle. A restart ends even while former instances drain.
        Phase::Settling => !matches!(strategy, "recreate" | "restart"),
    }
}

/// Returns whether that command can be accepted there and change something. This repeats the table of
/// commands and phases in readable form.
fn can_be(command: &str, strategy: &str, phase: &str) -> bool {
    let under_way = matches!(phase, "starting" | "ready" | "switching" | "holding" | "watching");
    let deploys = strategy != "rollback";
    match command {
        "maintenance" | "remove" | "deploy" | "work" => true,
        "scale" | "sync" | "restart" => phase == "idle",
        "pause" | "resume" => matches!(phase, "starting" | "ready" | "holding"),
        "abort" => deploys && under_way,
        // A warm standby exists beside a settling deploy. After a rollback it is known to be bad.
        "rollback" => {
            let warm = matches!(strategy, "blue-green" | "canary") && phase == "settling";
            // A restart gives way to a warm rollback.
            phase == "idle" || warm || (deploys && under_way)
        }
        "rollback-to" => phase == "idle" || phase == "settling" || (deploys && under_way),
        "promote" => matches!(phase, "ready" | "holding"),
        "promote-full" => phase == "ready" || (strategy, phase) == ("canary", "holding"),
        _ => false,
    }
}

/// Returns the place of the app.
pub fn place(view: &AppView) -> Place {
    let Some(rollout) = &view.rollout else { return Coverage::IDLE };
    let mut known = Coverage::STRATEGIES.into_iter();
    let strategy = known.find(|strategy| *strategy == rollout.strategy);
    (strategy.unwrap_or("unknown"), rollout.phase)
}

/// Returns a command's name.
pub fn command(ask: &Ask) -> &'static str {
    match ask {
        Ask::Deploy { .. } => "deploy",
        Ask::Rollback { to: None } => "rollback",
        Ask::Rollback { to: Some(_) } => "rollback-to",
        Ask::Promote(Promote::Step) => "promote",
        Ask::Promote(Promote::Full) => "promote-full",
        Ask::Pause => "pause",
        Ask::Resume => "resume",
        Ask::Scale { .. } => "scale",
        Ask::Sync => "sync",
        Ask::Maintenance { .. } => "maintenance",
        Ask::Restart => "restart",
        Ask::Abort => "abort",
        Ask::Work(_) => "work",
        Ask::Remove { .. } => "remove",
    }
}

fn name_of(waiting: &Waiting) -> &'static str {
    match waiting {
        Waiting::Instances { .. } => "instances",
        Waiting::Files { .. } => "files",
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
        Waiting::Host { .. } => "host",
        Waiting::HostAside(_) => "host-aside",
        Waiting::LostProxy { .. } => "lost-proxy",
        Waiting::NoProxy => "no-proxy",
        Waiting::SuspectsItself { .. } => "suspects-itself",
        Waiting::Busy { .. } => "busy",
    }
}
