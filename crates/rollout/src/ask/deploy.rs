//! `deploy`: a new rollout, or the one under way, or a reason why not.

use alloc::format;

use model::{
    AppSpec, Conventions, Digest, Label, Obstacle, Order, Release, ReleaseNo, Service, Share,
    Strategy, StrategyKind,
};

use super::batch::Batch;
use super::renew::Again;
use super::{Answer, Desk, NewRelease, Refusal};
use crate::decide::ended;
use crate::readiness::ready;
use crate::{Cause, Fact, Phase, Rollout, RolloutKind};

/// Whether the rollout under way is what a deploy asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Same {
    /// The rollout under way brings in another release.
    No,
    /// The rollout under way brings in that release, by another strategy.
    OtherStrategy,
    /// The rollout under way does what is asked for.
    Yes,
}

impl Desk<'_> {
    pub(super) fn deploy(&self, new: &NewRelease, replace: bool) -> Answer {
        let app = self.app;
        if app.removing.is_some() && !app.is_removed() {
            return Err(self.refused("it is being removed", "deploy again once it is gone"));
        }
        self.can_run(&new.spec)?;
        let label = new.label.clone().unwrap_or_else(|| default_label(&new.digest));
        let stored = app.labelled(&label);
        if let Some(other) = stored.filter(|stored| stored.digest != new.digest) {
            let why =
                format!("the label {label} belongs to release {}, with other content", other.no);
            let hint = "labels are immutable: choose another with `--release`";
            return Err(self.refused(&why, hint));
        }
        let stored = stored.map(|release| release.no);
        if let Some(live) = self.settled_on(&label)
            && (app.rollout.is_none() || ready(app, self.seen, live) < app.replicas(live))
        {
            return self.is_live(Batch::new(app), live, Again::Still);
        }
        let mut batch = self.make_way(&label, new, stored, replace)?;
        if let Some(rollout) = batch.attached {
            let note = format!("{label} is being rolled out already");
            return Ok(self.attached(rollout, note));
        }
        if let Some(live) = stored.filter(|no| batch.app.live == Some(*no)) {
            return self.is_live(batch, live, Again::Back);
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
            conventions: Conventions::NOW,
            service: Service::Unknown,
        });
        let strategy = stored.is_some().then(|| new.spec.strategy.clone());
        let rollout = batch.start(RolloutKind::Deploy, to, release, strategy, self.now)?;
        self.check_floor(&batch)?;
        let note = format!("{label} is release {to}");
        Ok(batch.accepted(Some(rollout), Some(to), note))
    }

    /// What no host can do for a release is known before anything is begun.
    pub(super) fn can_run(&self, spec: &AppSpec) -> Result<(), Refusal> {
        let mut obstacles = self.seen.hosts.values().map(|host| host.abilities.obstacle(spec));
        let first = obstacles.next().flatten();
        match first.filter(|_| obstacles.all(|obstacle| obstacle.is_some())) {
            Some(Obstacle { why, hint }) => Err(self.refused(&why, &hint)),
            None => Ok(()),
        }
    }

    /// Refuses to start instances of a stored release that no host can run.
    pub(super) fn can_start(&self, release: ReleaseNo) -> Result<(), Refusal> {
        let stored = self.app.releases.get(&release);
        stored.map_or(Ok(()), |stored| self.can_run(&stored.spec))
    }

    /// Ends or attaches to the rollout under way, or refuses to.
    fn make_way(
        &self,
        label: &Label,
        new: &NewRelease,
        stored: Option<ReleaseNo>,
        replace: bool,
    ) -> Result<Batch, Refusal> {
        let mut batch = Batch::new(self.app);
        let Some(rollout) = &self.app.rollout else { return Ok(batch) };
        let is_same = self.brings_in(rollout, stored, &new.spec.strategy);
        if is_same == Same::OtherStrategy && !replace {
            return Err(self.other_strategy(rollout, &new.spec.strategy));
        }
        match rollout.phase {
            Phase::Starting
            | Phase::Ready
            | Phase::Switching
            | Phase::Holding
            | Phase::Watching
            | Phase::Settling
                if is_same == Same::Yes =>
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
            | Phase::Holding
            | Phase::Watching
            | Phase::Reverting { .. } => {
                if replace {
                    let cause = Cause::Replaced { by: label.clone() };
                    batch.end_rollout(cause, self.seen, self.now)?;
                    // A recreate closes the app again, and stops what is left of the old release.
                    let kind = &new.spec.strategy.kind;
                    let recreates = matches!(kind, StrategyKind::Recreate { .. });
                    if !recreates || stored == rollout.from {
                        self.check_whole(&batch)?;
                    }
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

    /// Whether `rollout` brings in that stored release, by that strategy.
    fn brings_in(&self, rollout: &Rollout, stored: Option<ReleaseNo>, by: &Strategy) -> Same {
        let Some(release) = stored.filter(|no| *no == rollout.to) else { return Same::No };
        // With all of the traffic moved the strategy has done its part.
        let decided = rollout.kind != RolloutKind::Deploy || rollout.share == Share::ALL;
        let differs = self.app.releases.get(&release).is_some_and(|r| r.spec.strategy != *by);
        let back = matches!(rollout.phase, Phase::Reverting { .. });
        if differs && !decided && !back { Same::OtherStrategy } else { Same::Yes }
    }

    fn other_strategy(&self, rollout: &Rollout, asked: &Strategy) -> Refusal {
        let label = self.app.label(rollout.to);
        let runs = crate::receipt::strategy(self.app, rollout);
        let asked = asked.kind.name();
        let why = if runs == asked {
            format!("rollout {} of {label} is under way, with other settings of {runs}", rollout.id)
        } else {
            format!("rollout {} of {label} is under way by {runs}, not by {asked}", rollout.id)
        };
        self.refused(&why, "wait for it, or begin anew with `segue deploy --replace`")
    }

    /// Replacing a rollout must not leave the old release with less than it needs.
    fn check_whole(&self, batch: &Batch) -> Result<(), Refusal> {
        let before = self.app.rollout.as_ref();
        let Some(from) = before.filter(|r| r.share > Share::NONE || r.closed).and_then(|r| r.from)
        else {
            return Ok(());
        };
        let ready = ready(&batch.app, self.seen, from);
        if ready >= batch.app.replicas(from) {
            return Ok(());
        }
        let label = self.app.label(from);
        let why = format!("only {ready} instances of {label} are left to go back to");
        let hint = if before.is_some_and(|rollout| rollout.closed) {
            "wait for the way back; or deploy by `recreate`, which needs none of them"
        } else {
            "`segue abort` goes back in order; deploy again after it"
        };
        Err(self.refused(&why, hint))
    }

    /// What cannot keep the floor is refused before it starts (I3): a rolling rollout in place, with the
    /// instances that will really be there, whatever the file says.
    pub(super) fn check_floor(&self, batch: &Batch) -> Result<(), Refusal> {
        let app = &batch.app;
        let Some(rollout) = app.rollout.as_ref().filter(|rollout| rollout.from.is_some()) else {
            return Ok(());
        };
        let kind = app.releases.get(&rollout.to).map(|release| &release.spec.strategy.kind);
        let Some(StrategyKind::Rolling { batch: size, order: Order::InPlace, .. }) = kind else {
            return Ok(());
        };
        let replicas = app.replicas(rollout.to);
        let size = size.of(replicas);
        if size < replicas {
            return Ok(());
        }
        let why = format!(
            "a batch of {size} in place of {replicas} would leave no instance to serve with"
        );
        let scale = format!("`segue scale {} {}`", app.name, size.saturating_add(1));
        // A rollback takes the strategy of the stored release; a scale that holds hides what the file
        // says.
        let stored = batch.facts.iter().any(
            |fact| matches!(fact, Fact::Started(s) if s.release.is_none() && s.strategy.is_none()),
        );
        let hint = match (stored, app.scale) {
            (true, _) => format!("first {scale}"),
            (false, Some(_)) => format!("first {scale}; or let new ones start with `surge = true`"),
            (false, None) => {
                "`surge = true` starts new instances first; or use more replicas".into()
            }
        };
        Err(self.refused(&why, &hint))
    }
}

fn default_label(digest: &Digest) -> Label {
    digest.short().parse().expect("hexadecimal digits make a label")
}
