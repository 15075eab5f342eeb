//! What people ask for, and whether it can be: the verb × phase table.
//!
//! An accepted command is facts to be journaled as one record; a refused one says why, and what to do
//! instead. Nothing is ever half accepted.

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

use model::{AppSpec, Digest, Label, Maintenance, ReleaseNo, RolloutId, Strategy, Timestamp};

use crate::{App, Cause, Fact, Observed, Rollout, RolloutKind, Task};
use batch::FactBatch;

/// A command.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// Bring this release in.
    Deploy {
        /// The release.
        release: Box<NewRelease>,
        /// Take another rollout's place.
        replace: bool,
    },
    /// Go back: to the standby, or to this release.
    Rollback {
        /// `None` is the standby.
        to: Option<ReleaseNo>,
    },
    /// Open the gate: go on to the next step.
    Promote(Promote),
    /// Hold the rollout where it is.
    Pause,
    /// Let a rollout that is held go on.
    Resume,
    /// Have so many instances from now on, until the file's `replicas` changes.
    Scale {
        /// The number of instances.
        replicas: u16,
    },
    /// Bring the standby to the live version.
    Sync,
    /// Close the app for its users, or open it again.
    Maintenance {
        /// What users see; `None` opens it.
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
        /// Its state as well: nothing of it is left.
        with_state: bool,
    },
}

/// How far `promote` goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promote {
    /// To the next step.
    Step,
    /// To all of the traffic.
    Full,
}

impl Ask {
    /// Whether the answer hangs on how instances are.
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

    /// What it does, for messages: "cannot … the app".
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

/// A release as it is deployed.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRelease {
    /// What people call it; the digest's first digits if nobody said.
    pub label: Option<Label>,
    /// Names everything that makes it.
    pub digest: Digest,
    /// Names the list of its files.
    pub content: Option<Digest>,
    /// Its settings.
    pub spec: Arc<AppSpec>,
}

/// An accepted command.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// To be journaled as one record; none when there is nothing to do.
    pub facts: Vec<Fact>,
    /// The rollout to follow, if there is one.
    pub rollout: Option<RolloutId>,
    /// The release it is about, if about one.
    pub release: Option<(ReleaseNo, Label)>,
    /// One sentence for people.
    pub note: String,
    /// The rollout under way that ends by it.
    pub ends: Option<RolloutId>,
    /// How the rollout goes that begins by it.
    pub begins: Option<Box<Course>>,
}

/// How a rollout goes that a command begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    /// What it is for.
    pub kind: RolloutKind,
    /// The release that is live before it.
    pub from: Option<Label>,
    /// The strategy it goes by.
    pub strategy: Strategy,
    /// How many instances its release has at its end.
    pub replicas: u16,
}

/// A refused command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of refusal.
    pub code: RefusalCode,
    /// Act, object and cause.
    pub message: String,
    /// What to do instead.
    pub hint: Option<String>,
}

/// Kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCode {
    /// The command cannot be carried out, now or at all.
    Refused,
    /// Somebody else was first.
    Conflict,
    /// There is no such thing.
    NotFound,
    /// Not now: it cannot be recorded.
    Unavailable,
}

type Answer = Result<Accepted, Refusal>;

/// Answers a command. `version` is the state its sender saw, if it matters to them.
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

/// Everything an answer rests on.
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
        let note = format!("taking {} back", self.app.label(rollout.to));
        let mut batch = FactBatch::new(self.app);
        batch.push(Fact::Reverting { rollout: rollout.id, cause, at: self.now })?;
        Ok(batch.accepted(Some(rollout.id), rollout.from, note))
    }

    /// There is nothing to do.
    fn nothing(&self, release: Option<ReleaseNo>, note: String) -> Accepted {
        FactBatch::new(self.app).accepted(None, release, note)
    }

    /// There is nothing to do but to follow the rollout under way.
    fn attached(&self, rollout: RolloutId, note: String) -> Accepted {
        let to = self.app.rollout.as_ref().map(|rollout| rollout.to);
        FactBatch::new(self.app).accepted(Some(rollout), to, note)
    }

    fn refused(&self, why: &str, hint: &str) -> Refusal {
        let message = format!("cannot {} {}: {why}", self.verb, self.app.name);
        Refusal { code: RefusalCode::Refused, message, hint: Some(hint.into()) }
    }
}
