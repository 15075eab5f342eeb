//! `rollback` and `abort`: the ways back.

use alloc::format;
use alloc::string::ToString;

use model::{NotReady, Readiness, ReleaseNo, Share, StrategyKind};

use super::batch::Batch;
use super::renew::Again;
use super::{Answer, Desk, Refusal, RefusalCode};
use crate::planted::Bug;
use crate::readiness::{ready, whole};
use crate::{Cause, Fact, Phase, Rollout, RolloutKind, readiness};

impl Desk<'_> {
    pub(super) fn rollback(&self, to: Option<ReleaseNo>) -> Answer {
        let app = self.app;
        if let Some(wanted) = to {
            return self.rollback_to(wanted);
        }
        match &app.rollout {
            None => self.switch_back(self.check_way_back()?),
            Some(rollout) if rollout.phase == Phase::Settling || rollout.kind.renews() => {
                self.switch_back(self.check_way_back()?)
            }
            Some(rollout) if rollout.share == Share::NONE && !rollout.closed => {
                self.turn(rollout, Cause::Aborted)
            }
            Some(rollout) => self.turn(rollout, Cause::RolledBack),
        }
    }

    /// Stops the rollout; what was live stays, or gets the traffic back.
    pub(super) fn abort(&self) -> Answer {
        let Some(rollout) = &self.app.rollout else {
            let hint = "to go back to the release before, use `segue rollback`";
            return Err(self.refused("no rollout is under way", hint));
        };
        let decided = rollout.phase == Phase::Settling || rollout.kind == RolloutKind::Rollback;
        if decided {
            let why = format!("{} is live and stays", self.app.label(rollout.to));
            return Err(self.refused(&why, "to go back, use `segue rollback`"));
        }
        self.turn(rollout, Cause::Aborted)
    }

    /// Turns the rollout back, unless it is on its way already or there is nothing to go back to.
    fn turn(&self, rollout: &Rollout, cause: Cause) -> Answer {
        let on_its_way = matches!(rollout.phase, Phase::Reverting { .. });
        if on_its_way || rollout.kind == RolloutKind::Rollback {
            return Ok(self.attached(rollout.id, "it is on its way back already".into()));
        }
        if rollout.kind.renews() {
            let (id, to) = (rollout.id, rollout.to);
            let note = format!("{} stays as it is", self.app.label(to));
            let mut batch = Batch::new(self.app);
            batch.push(Fact::Kept { rollout: id, cause, at: self.now })?;
            return Ok(batch.accepted(Some(id), Some(to), note));
        }
        let kind = self.app.releases.get(&rollout.to).map(|r| &r.spec.strategy.kind);
        // The others bring what they go back to themselves.
        let one_switch =
            matches!(kind, Some(StrategyKind::BlueGreen { .. } | StrategyKind::Canary { .. }));
        let has_users = rollout.share > Share::NONE;
        if has_users && (one_switch || rollout.from.is_none()) {
            self.check_way_back()?;
        }
        self.revert(rollout.id, cause)
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
        batch.end_rollout(Cause::RolledBack, self.seen, self.now)?;
        let rollout = batch.start(RolloutKind::Rollback, to, None, None, self.now)?;
        let ready = ready(self.app, self.seen, to);
        if !Bug::RollsBackInTwo.is_planted() {
            batch.push(Fact::Shifted { rollout, share: Share::ALL, ready, at: self.now })?;
        }
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
        let over = |r: &Rollout| r.phase == Phase::Settling || r.kind.renews();
        let idle = app.rollout.as_ref().is_none_or(over);
        if app.live == Some(to) && idle {
            if let Some(renewed) = app.rollout.as_ref().filter(|r| r.kind.renews()) {
                return Ok(self.attached(renewed.id, format!("{label} is already live")));
            }
            return self.is_live(Batch::new(app), to, Again::Still);
        }
        if !idle {
            let way_back = app.rollout.as_ref().and_then(|r| r.from);
            if way_back == Some(to) {
                return self.rollback(None);
            }
            let hint = "abort it first: `segue abort`";
            return Err(self.refused("a rollout is under way", hint));
        }
        if !release.service.keeps_files() {
            let why = format!("{label} never had users, so its files are not kept");
            return Err(self.refused(&why, "deploy it again"));
        }
        let standby = app.standby.filter(|s| s.release == to);
        if standby.is_some() && whole(app, self.seen, to).is_ok() {
            return self.switch_back(to);
        }
        self.can_run(&release.spec)?;
        let mut batch = Batch::new(app);
        batch.end_rollout(Cause::RolledBack, self.seen, self.now)?;
        let rollout = batch.start(RolloutKind::Deploy, to, None, None, self.now)?;
        self.check_floor(&batch)?;
        let note = format!("{label} is not warm: it is started anew, then switched to");
        Ok(batch.accepted(Some(rollout), Some(to), note))
    }
}
