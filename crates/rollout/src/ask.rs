//! What people ask for, and whether it can be: the verb × phase table.
//!
//! An accepted command is facts to be journaled as one record; a refused one says why, and what to do
//! instead. Nothing is ever half accepted.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use model::{
    AppSpec, Digest, Label, Maintenance, NotReady, Readiness, Release, ReleaseNo, RolloutId, Share,
    Timestamp,
};

use crate::decide::ended;
use crate::readiness::{ready, whole};
use crate::{App, Cause, Fact, Illegal, Observed, Phase, RolloutKind, Started, apply, readiness};

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
        /// So many.
        replicas: u16,
    },
    /// Close the app for its users, or open it again.
    Maintenance {
        /// What users see; `None` opens it.
        on: Option<Maintenance>,
    },
    /// Stop the rollout.
    Abort,
    /// Remove the app.
    Remove,
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
    fn verb(&self) -> &'static str {
        match self {
            Self::Deploy { .. } => "deploy",
            Self::Rollback { .. } => "roll back",
            Self::Promote(_) => "promote",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Scale { .. } => "scale",
            Self::Maintenance { .. } => "change the maintenance of",
            Self::Abort => "abort",
            Self::Remove => "remove",
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
    /// It cannot be, now or at all.
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
        Ask::Deploy { release, replace } => desk.deploy(release, *replace),
        Ask::Rollback { to } => desk.rollback(*to),
        Ask::Promote(_) => desk.promote(),
        Ask::Pause | Ask::Resume | Ask::Scale { .. } | Ask::Maintenance { .. } => {
            Err(desk.refused("it is being built", "wait"))
        }
        Ask::Abort => desk.abort(),
        Ask::Remove => desk.remove(),
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
    fn deploy(&self, new: &NewRelease, replace: bool) -> Answer {
        let app = self.app;
        if app.removing.is_some() && !app.is_removed() {
            return Err(self.refused("it is being removed", "deploy again once it is gone"));
        }
        let label = new.label.clone().unwrap_or_else(|| default_label(&new.digest));
        let stored = app.labelled(&label);
        if let Some(other) = stored.filter(|stored| stored.digest != new.digest) {
            let why =
                format!("the label {label} belongs to release {}, with other content", other.no);
            let hint = "labels are immutable: choose another with `--release`";
            return Err(self.refused(&why, hint));
        }
        let stored = stored.map(|release| release.no);
        if app.rollout.is_none() && stored.is_some() && stored == app.live {
            return Ok(self.nothing(stored, format!("{label} is already live")));
        }
        let mut batch = self.make_way(&label, stored, replace)?;
        if let Some(rollout) = batch.attached {
            let note = format!("{label} is being rolled out already");
            return Ok(self.attached(rollout, note));
        }
        if batch.app.live.is_some() && stored == batch.app.live {
            let note = format!("{label} is live again");
            return Ok(batch.accepted(None, stored, note));
        }
        // A removed app's labels are free again: its releases are forgotten when it starts anew.
        let to = stored.unwrap_or(ReleaseNo(app.last_release + 1));
        let release = stored.is_none().then(|| Release {
            no: to,
            label: label.clone(),
            digest: new.digest,
            content: new.content,
            spec: new.spec.clone(),
            created: self.now,
            bad: None,
        });
        let rollout = batch.start(RolloutKind::Deploy, to, release, self.now)?;
        let note = format!("{label} is release {to}");
        Ok(batch.accepted(Some(rollout), Some(to), note))
    }

    /// Ends or attaches to the rollout under way, or refuses to.
    fn make_way(
        &self,
        label: &Label,
        stored: Option<ReleaseNo>,
        replace: bool,
    ) -> Result<Batch, Refusal> {
        let mut batch = Batch::new(self.app);
        let Some(rollout) = &self.app.rollout else { return Ok(batch) };
        let is_same = stored == Some(rollout.to);
        match rollout.phase {
            Phase::Starting
            | Phase::Ready
            | Phase::Switching
            | Phase::Watching
            | Phase::Settling
                if is_same =>
            {
                batch.attached = Some(rollout.id);
                Ok(batch)
            }
            // What settles is decided; what still drains goes on draining beside the new rollout.
            Phase::Settling => {
                batch.push(ended(&batch.app, rollout, self.seen, self.now))?;
                Ok(batch)
            }
            Phase::Starting
            | Phase::Ready
            | Phase::Switching
            | Phase::Watching
            | Phase::Reverting { .. } => {
                if replace {
                    let cause = Cause::Replaced { by: label.clone() };
                    batch.end_rollout(cause, self.seen, self.now)?;
                    return Ok(batch);
                }
                let (to, since) = (self.app.label(rollout.to), self.now.since(rollout.started));
                let (id, phase) = (rollout.id, rollout.phase.name());
                let why =
                    format!("rollout {id} of {to} is under way ({phase}, started {since} ago)");
                let hint = "wait for it, or take its place with `segue deploy --replace`";
                Err(self.refused(&why, hint))
            }
        }
    }

    fn rollback(&self, to: Option<ReleaseNo>) -> Answer {
        let app = self.app;
        if let Some(wanted) = to {
            return self.rollback_to(wanted);
        }
        match app.rollout.as_ref().map(|rollout| (rollout, &rollout.phase)) {
            Some((rollout, Phase::Starting | Phase::Ready)) => {
                self.revert(rollout.id, Cause::Aborted)
            }
            Some((rollout, Phase::Switching | Phase::Watching))
                if rollout.kind == RolloutKind::Deploy =>
            {
                self.check_way_back()?;
                self.revert(rollout.id, Cause::RolledBack)
            }
            Some((rollout, Phase::Switching | Phase::Watching | Phase::Reverting { .. })) => {
                let note = "it is on its way back already".into();
                Ok(self.attached(rollout.id, note))
            }
            Some((_, Phase::Settling)) | None => self.switch_back(self.check_way_back()?),
        }
    }

    /// The release a bare rollback goes to, or the reason why it cannot.
    fn check_way_back(&self) -> Result<ReleaseNo, Refusal> {
        let why = match readiness(self.app, self.seen) {
            Readiness::Ready { to, .. } => return Ok(to),
            Readiness::NotReady(why) => why,
        };
        let redeploy = |release: &ReleaseNo| {
            let (name, label) = (&self.app.name, self.app.label(*release));
            format!("`segue rollback {name} --to {label}` starts it anew")
        };
        let hint = match &why {
            NotReady::NoPrevious
            | NotReady::NotKept { release: None }
            | NotReady::NothingServed => {
                "`segue releases` lists what is stored; deploy the release you want".into()
            }
            NotReady::MarkedBad { release, .. } => {
                let (name, label) = (&self.app.name, self.app.label(*release));
                format!("if you mean it: `segue rollback {name} --to {label}`")
            }
            NotReady::NotKept { release: Some(release) } | NotReady::NotWhole { release, .. } => {
                redeploy(release)
            }
        };
        Err(self.refused(&why.to_string(), &hint))
    }

    /// One commit, one snapshot: starts nothing and waits for nothing (I7).
    fn switch_back(&self, to: ReleaseNo) -> Answer {
        let mut batch = Batch::new(self.app);
        if let Some(rollout) = &self.app.rollout {
            batch.push(ended(&batch.app, rollout, self.seen, self.now))?;
        }
        let rollout = batch.start(RolloutKind::Rollback, to, None, self.now)?;
        let ready = ready(self.app, self.seen, to);
        batch.push(Fact::Shifted { rollout, share: Share::ALL, ready, at: self.now })?;
        let note = format!("switching back to {}", self.app.label(to));
        Ok(batch.accepted(Some(rollout), Some(to), note))
    }

    /// To a named release: one switch if it is the warm standby, else a rollout like a deploy.
    fn rollback_to(&self, to: ReleaseNo) -> Answer {
        let app = self.app;
        let Some(release) = app.releases.get(&to) else {
            let message = format!("cannot roll back {}: release {to} is not stored", app.name);
            let hint = Some(format!("`segue releases {}` lists them", app.name));
            return Err(Refusal { code: RefusalCode::NotFound, message, hint });
        };
        let label = release.label.clone();
        let idle = app.rollout.as_ref().is_none_or(|r| r.phase == Phase::Settling);
        if app.live == Some(to) && idle {
            return Ok(self.nothing(Some(to), format!("{label} is already live")));
        }
        if !idle {
            let way_back = app.rollout.as_ref().and_then(|r| r.from);
            if way_back == Some(to) {
                return self.rollback(None);
            }
            let hint = "abort it first: `segue abort`";
            return Err(self.refused("a rollout is under way", hint));
        }
        let standby = app.standby.filter(|s| s.release == to);
        if standby.is_some() && whole(app, self.seen, to).is_ok() {
            return self.switch_back(to);
        }
        let mut batch = Batch::new(app);
        if let Some(rollout) = &app.rollout {
            batch.push(ended(&batch.app, rollout, self.seen, self.now))?;
        }
        let rollout = batch.start(RolloutKind::Deploy, to, None, self.now)?;
        let note = format!("{label} is not warm: it is started anew, then switched to");
        Ok(batch.accepted(Some(rollout), Some(to), note))
    }

    fn promote(&self) -> Answer {
        let Some(rollout) = &self.app.rollout else {
            let hint = "start one with `segue deploy`";
            return Err(self.refused("no rollout is under way", hint));
        };
        let (phase, to) = (&rollout.phase, self.app.label(rollout.to));
        match phase {
            Phase::Ready => {}
            Phase::Starting => {
                let hint = "`segue status` shows what it waits for";
                return Err(self.refused(&format!("{to} is not ready yet"), hint));
            }
            Phase::Switching | Phase::Watching | Phase::Settling => {
                let note = format!("{to} has been promoted already");
                return Ok(self.attached(rollout.id, note));
            }
            Phase::Reverting { cause } => {
                let why = format!("{to} is being taken back: {cause}");
                return Err(self.refused(&why, "deploy it again once that is done"));
            }
        }
        if let Err(why) = whole(self.app, self.seen, rollout.to) {
            let hint = "`segue status` shows what it waits for; promote again when it is whole";
            return Err(self.refused(&why.to_string(), hint));
        }
        let mut batch = Batch::new(self.app);
        let ready = ready(self.app, self.seen, rollout.to);
        let (rollout, release) = (rollout.id, rollout.to);
        batch.push(Fact::Shifted { rollout, share: Share::ALL, ready, at: self.now })?;
        let note = format!("switching to {to}");
        Ok(batch.accepted(Some(rollout), Some(release), note))
    }

    fn abort(&self) -> Answer {
        let Some(rollout) = &self.app.rollout else {
            let hint = "to go back to the release before, use `segue rollback`";
            return Err(self.refused("no rollout is under way", hint));
        };
        match rollout.phase {
            Phase::Starting | Phase::Ready => self.revert(rollout.id, Cause::Aborted),
            Phase::Switching | Phase::Watching if rollout.kind == RolloutKind::Deploy => {
                self.check_way_back()?;
                self.revert(rollout.id, Cause::Aborted)
            }
            Phase::Switching | Phase::Watching | Phase::Settling => {
                let why = format!("{} is live and stays", self.app.label(rollout.to));
                Err(self.refused(&why, "to go back, use `segue rollback`"))
            }
            Phase::Reverting { .. } => {
                let note = "it is on its way back already".into();
                Ok(self.attached(rollout.id, note))
            }
        }
    }

    fn remove(&self) -> Answer {
        if self.app.removing.is_some() {
            return Ok(self.nothing(None, format!("{} is being removed", self.app.name)));
        }
        let mut batch = Batch::new(self.app);
        batch.end_rollout(Cause::Removed, self.seen, self.now)?;
        batch.push(Fact::Removing { at: self.now })?;
        let note = format!("{} is being removed", self.app.name);
        Ok(batch.accepted(None, None, note))
    }

    fn revert(&self, rollout: RolloutId, cause: Cause) -> Answer {
        let note = format!("taking {} back", self.app.label_of_candidate());
        let release = self.app.rollout.as_ref().and_then(|rollout| rollout.from);
        let mut batch = Batch::new(self.app);
        batch.push(Fact::Reverting { rollout, cause, at: self.now })?;
        Ok(batch.accepted(Some(rollout), release, note))
    }

    /// There is nothing to do.
    fn nothing(&self, release: Option<ReleaseNo>, note: String) -> Accepted {
        Batch::new(self.app).accepted(None, release, note)
    }

    /// There is nothing to do but to follow the rollout under way.
    fn attached(&self, rollout: RolloutId, note: String) -> Accepted {
        let to = self.app.rollout.as_ref().map(|rollout| rollout.to);
        Batch::new(self.app).accepted(Some(rollout), to, note)
    }

    fn refused(&self, why: &str, hint: &str) -> Refusal {
        let message = format!("cannot {} {}: {why}", self.verb, self.app.name);
        Refusal { code: RefusalCode::Refused, message, hint: Some(hint.into()) }
    }
}

/// Facts under way, with the state they lead to.
struct Batch {
    app: App,
    facts: Vec<Fact>,
    attached: Option<RolloutId>,
}

impl Batch {
    fn new(app: &App) -> Self {
        Self { app: app.clone(), facts: Vec::new(), attached: None }
    }

    fn push(&mut self, fact: Fact) -> Result<(), Refusal> {
        apply(&mut self.app, &fact)?;
        self.facts.push(fact);
        Ok(())
    }

    fn start(
        &mut self,
        kind: RolloutKind,
        to: ReleaseNo,
        release: Option<Release>,
        at: Timestamp,
    ) -> Result<RolloutId, Refusal> {
        let rollout = RolloutId(self.app.last_rollout + 1);
        let from = self.app.live;
        self.push(Fact::Started(Box::new(Started { rollout, kind, from, to, release, at })))?;
        Ok(rollout)
    }

    fn accepted(
        self,
        rollout: Option<RolloutId>,
        release: Option<ReleaseNo>,
        note: String,
    ) -> Accepted {
        let stored = release.and_then(|no| self.app.releases.get(&no));
        let release = stored.map(|release| (release.no, release.label.clone()));
        Accepted { facts: self.facts, rollout, release, note }
    }

    /// Ends the rollout under way at once, going back to where it came from unless it is decided.
    fn end_rollout(
        &mut self,
        cause: Cause,
        seen: &Observed,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let Some(rollout) = self.app.rollout.clone() else { return Ok(()) };
        match rollout.phase {
            Phase::Settling | Phase::Reverting { .. } => {}
            Phase::Starting | Phase::Ready | Phase::Switching | Phase::Watching => {
                self.push(Fact::Reverting { rollout: rollout.id, cause, at: now })?;
            }
        }
        let Some(rollout) = self.app.rollout.clone() else { return Ok(()) };
        self.push(ended(&self.app, &rollout, seen, now))
    }
}

impl From<Illegal> for Refusal {
    /// A defect of ours, told as what it is instead of a panic in front of production traffic.
    fn from(illegal: Illegal) -> Self {
        let hint = Some("this is a defect in segue; nothing was changed".into());
        Self { code: RefusalCode::Refused, message: illegal.to_string(), hint }
    }
}

impl App {
    fn label_of_candidate(&self) -> String {
        self.rollout.as_ref().map_or_else(String::new, |rollout| self.label(rollout.to))
    }
}

fn default_label(digest: &Digest) -> Label {
    digest.short().parse().expect("hexadecimal digits make a label")
}
