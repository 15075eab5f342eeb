//! Answers commands: decides whether a command is possible in the current phase, and what follows from
//! it.
//!
//! An accepted command yields facts that are journaled as one record. A refused command says why, and
//! what to do instead. A command is never accepted in part.

mod back;
mod batch;
mod checks;
mod deploy;
mod renew;
mod steer;
mod work;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use model::{
    AppSpec, Digest, Label, Maintenance, PlannedHosts, ReleaseNo, RolloutId, Strategy, Timestamp,
};

use crate::{App, Cause, Fact, Observed, Rollout, RolloutKind, Task};
use batch::FactBatch;

/// A command.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// Bring in a release.
    Deploy {
        /// The release.
        release: Box<NewRelease>,
        /// True if the deploy may replace another rollout.
        replace: bool,
    },
    /// Go back to the standby, or to a named release.
    Rollback {
        /// The release to go back to; `None` is the standby.
        to: Option<ReleaseNo>,
    },
    /// Open the gate: go on to the next step.
    Promote(Promote),
    /// Pause the rollout.
    Pause,
    /// Resume a rollout that is paused.
    Resume,
    /// Set the number of instances, until the app file's `replicas` changes.
    Scale {
        /// The number of instances.
        replicas: u16,
    },
    /// Bring the standby to the live version.
    Sync,
    /// Close the app for its users, or open it again.
    Maintenance {
        /// The maintenance settings; `None` opens the app.
        on: Option<Maintenance>,
    },
    /// Replace every instance of the live release, one after the other.
    Restart,
    /// Stop the rollout.
    Abort,
    /// Run a task of the live release once, beside its instances.
    Work(Box<Task>),
    /// Remove the app.
    Remove {
        /// True if the app's state is removed as well, without any remains.
        with_state: bool,
    },
}

/// The extent of `promote`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promote {
    /// To the next step.
    Step,
    /// To all of the traffic.
    Full,
}

impl Ask {
    /// Returns whether the answer depends on the health of instances.
    pub fn looks_at_health(&self) -> bool {
        match self {
            Self::Deploy { .. } | Self::Rollback { .. } | Self::Promote(_) | Self::Abort => true,
            Self::Pause
            | Self::Resume
            | Self::Scale { .. }
            | Self::Sync
            | Self::Maintenance { .. }
            | Self::Restart
            | Self::Work(_)
            | Self::Remove { .. } => false,
        }
    }

    /// Returns what the command does, for messages: "cannot … the app".
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Deploy { .. } => "deploy",
            Self::Rollback { .. } => "roll back",
            Self::Promote(_) => "promote",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Scale { .. } => "scale",
            Self::Sync => "sync",
            Self::Maintenance { .. } => "change the maintenance of",
            Self::Restart => "restart",
            Self::Abort => "abort",
            Self::Work(_) => "run a task of",
            Self::Remove { .. } => "remove",
        }
    }
}

/// A release to be deployed.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRelease {
    /// The release's label; `None` uses the first digits of the digest.
    pub label: Option<Label>,
    /// The digest over everything that makes up the release.
    pub digest: Digest,
    /// The digest of the list of its files.
    pub content: Option<Digest>,
    /// The app's settings.
    pub spec: Arc<AppSpec>,
}

/// An accepted command.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// Facts to be journaled as one record. Empty if there is nothing to do.
    pub facts: Vec<Fact>,
    /// The rollout to follow, if there is one.
    pub rollout: Option<RolloutId>,
    /// The release that the command concerns, if there is one.
    pub release: Option<(ReleaseNo, Label)>,
    /// One sentence for people.
    pub note: String,
    /// The rollout in progress that the command ends.
    pub ends: Option<RolloutId>,
    /// The course of the rollout that the command begins.
    pub begins: Option<Box<Course>>,
}

/// The course of a rollout that a command begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    /// The purpose of the rollout.
    pub kind: RolloutKind,
    /// The release that was live before it.
    pub from: Option<Label>,
    /// The strategy of the rollout.
    pub strategy: Strategy,
    /// Number of instances that the release has at the end.
    pub replicas: u16,
    /// The hosts that get them; `None` if the fleet has a single host, or the rollout brings no release in.
    pub hosts: Option<PlannedHosts>,
}

/// A refused command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The kind of refusal.
    pub code: RefusalCode,
    /// The act, its object and the cause.
    pub message: String,
    /// The user's alternative.
    pub hint: Option<String>,
}

/// Kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCode {
    /// The command cannot be carried out, now or at all.
    Refused,
    /// Another command was first.
    Conflict,
    /// The object of the command does not exist.
    NotFound,
    /// The command cannot be recorded at the moment.
    Unavailable,
}

type Answer = Result<Accepted, Refusal>;

/// Answers a command. `version` is the state that the sender saw, if the command depends on it.
pub fn ask(app: &App, ask: &Ask, version: Option<u64>, seen: &Observed, now: Timestamp) -> Answer {
    if version.is_some_and(|version| version != app.version) {
        let (verb, name) = (ask.verb(), &app.name);
        let message = format!("cannot {verb} {name}: it has changed since you looked");
        let hint = Some("look again with `segue status`, then repeat the command".into());
        return Err(Refusal { code: RefusalCode::Conflict, message, hint });
    }
    let desk = Desk { app, seen, now, verb: ask.verb() };
    match ask {
        Ask::Deploy { release, replace } => deploy::deploy(&desk, release, *replace),
        Ask::Rollback { to } => back::rollback(&desk, *to),
        Ask::Promote(promote) => steer::promote(&desk, *promote),
        Ask::Pause => steer::pause(&desk),
        Ask::Resume => steer::resume(&desk),
        Ask::Scale { replicas } => steer::scale(&desk, *replicas),
        Ask::Sync => steer::sync(&desk),
        Ask::Maintenance { on } => steer::maintain(&desk, on.clone()),
        Ask::Restart => renew::restart(&desk),
        Ask::Abort => back::abort(&desk),
        Ask::Work(task) => work::begin(&desk, task),
        Ask::Remove { with_state } => desk.remove(*with_state),
    }
}

/// Everything that an answer is based on.
struct Desk<'a> {
    app: &'a App,
    seen: &'a Observed<'a>,
    now: Timestamp,
    verb: &'static str,
}

impl Desk<'_> {
    fn remove(&self, with_state: bool) -> Answer {
        let more = with_state && self.app.forget_state.is_none();
        if self.app.removing.is_some() && !more {
            return Ok(self.nothing(None, format!("{} is being removed", self.app.name)));
        }
        let mut batch = FactBatch::new(self.app);
        batch.end_rollout(Cause::Removed, self.seen, self.now)?;
        batch.push(Fact::Removing { with_state, at: self.now })?;
        let note = format!("{} is being removed", self.app.name);
        Ok(batch.accepted(None, None, note))
    }

    fn revert(&self, rollout: &Rollout, cause: Cause) -> Answer {
        let note = self.with_proxies(format!("taking {} back", self.app.label(rollout.to)));
        let mut batch = FactBatch::new(self.app);
        batch.push(Fact::Reverting { rollout: rollout.id, cause, at: self.now })?;
        Ok(batch.accepted(Some(rollout.id), rollout.from, note))
    }

    /// Returns what a command that takes users back says, also if no proxy is here that could do so yet.
    fn with_proxies(&self, note: String) -> String {
        if self.seen.proxies.here > 0 {
            return note;
        }
        format!("{note}; no proxy has it yet, the first that is heard again gets it")
    }

    /// Accepts a command that requires no change.
    fn nothing(&self, release: Option<ReleaseNo>, note: String) -> Accepted {
        FactBatch::new(self.app).accepted(None, release, note)
    }

    /// Accepts a command that only has to follow the rollout in progress.
    fn attached(&self, rollout: RolloutId, note: String) -> Accepted {
        let to = self.app.rollout.as_ref().map(|rollout| rollout.to);
        FactBatch::new(self.app).accepted(Some(rollout), to, note)
    }

    fn refused(&self, why: &str, hint: &str) -> Refusal {
        let message = format!("cannot {} {}: {why}", self.verb, self.app.name);
        Refusal { code: RefusalCode::Refused, message, hint: Some(hint.into()) }
    }
}
