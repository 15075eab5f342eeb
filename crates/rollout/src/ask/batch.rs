//! A batch of new facts. Each is applied to a draft when it is added, so that the next can build on it.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use model::{HostId, PlannedHosts, Release, ReleaseNo, RolloutId, Share, Strategy, Timestamp};

use super::{Accepted, Course, Refusal, RefusalCode};
use crate::decide::ended;
use crate::readiness::ready;
use crate::{App, Cause, Fact, Illegal, Observed, Phase, RolloutKind, Started, apply};

/// New facts, with the state that they lead to.
pub(super) struct FactBatch {
    pub app: App,
    pub facts: Vec<Fact>,
    pub attached: Option<RolloutId>,
    /// The hosts that the rollout it begins will place instances on, if that is of interest.
    pub planned: Option<PlannedHosts>,
}

impl FactBatch {
    pub fn new(app: &App) -> Self {
        Self { app: app.clone(), facts: Vec::new(), attached: None, planned: None }
    }

    pub fn push(&mut self, fact: Fact) -> Result<(), Refusal> {
        apply(&mut self.app, &fact)?;
        self.facts.push(fact);
        Ok(())
    }

    /// Begins a rollout. `strategy` is the strategy of the command, if the release is stored already.
    /// `None` keeps the strategy stored with the release. `hosts` are those that the failure budget is about.
    pub fn start(
        &mut self,
        kind: RolloutKind,
        to: ReleaseNo,
        release: Option<Release>,
        strategy: Option<Strategy>,
        hosts: Vec<HostId>,
        at: Timestamp,
    ) -> Result<RolloutId, Refusal> {
        let rollout = RolloutId(self.app.last_rollout + 1);
        let from = self.app.live;
        let strategy = strategy.map(Box::new);
        let started = Started { rollout, kind, from, to, release, strategy, hosts, at };
        self.push(Fact::Started(Box::new(started)))?;
        Ok(rollout)
    }

    pub fn accepted(
        self,
        rollout: Option<RolloutId>,
        release: Option<ReleaseNo>,
        note: String,
    ) -> Accepted {
        let stored = release.and_then(|no| self.app.releases.get(&no));
        let release = stored.map(|release| (release.no, release.label.clone()));
        let ends = self.facts.iter().find_map(|fact| {
            if let Fact::Ended { receipt, .. } = fact { Some(receipt.rollout) } else { None }
        });
        let begins = self.begins().map(Box::new);
        Accepted { facts: self.facts, rollout, release, note, ends, begins }
    }

    /// Returns the course of the rollout that one of the facts begins.
    fn begins(&self) -> Option<Course> {
        let begins = self.facts.iter().any(|fact| matches!(fact, Fact::Started(_)));
        let rollout = self.app.rollout.as_ref().filter(|_| begins)?;
        let release = self.app.releases.get(&rollout.to)?;
        let from = rollout.from.and_then(|from| self.app.releases.get(&from));
        Some(Course {
            kind: rollout.kind,
            from: from.map(|from| from.label.clone()),
            strategy: release.spec.strategy.clone(),
            replicas: self.app.replicas(rollout.to),
            hosts: self.planned.clone(),
        })
    }

    /// Ends the rollout in progress at once. It goes back to the release it came from unless it is
    /// decided.
    pub fn end_rollout(
        &mut self,
        cause: Cause,
        seen: &Observed,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let Some(rollout) = self.app.rollout.clone() else { return Ok(()) };
        match rollout.phase {
            Phase::Settling | Phase::Reverting { .. } => {}
            Phase::Starting
            | Phase::Ready
            | Phase::Switching
            | Phase::Holding
            | Phase::Watching
                if rollout.keeps_live() =>
            {
                self.push(Fact::Kept { rollout: rollout.id, cause, at: now })?;
            }
            Phase::Starting
            | Phase::Ready
            | Phase::Switching
            | Phase::Holding
            | Phase::Watching => {
                self.push(Fact::Reverting { rollout: rollout.id, cause, at: now })?;
            }
        }
        let Some(rollout) = self.app.rollout.clone() else { return Ok(()) };
        let back = matches!(rollout.phase, Phase::Reverting { .. }) && !rollout.keeps_live();
        if back && (rollout.share > Share::NONE || rollout.closed) {
            let ready = rollout.from.map_or(0, |from| ready(&self.app, seen, from));
            let (rollout, share) = (rollout.id, Share::NONE);
            self.push(Fact::Shifted { rollout, share, ready, at: now })?;
        }
        let Some(rollout) = self.app.rollout.clone() else { return Ok(()) };
        self.push(ended(&self.app, &rollout, seen, now))
    }
}

impl From<Illegal> for Refusal {
    /// Reports a defect of segue as such, instead of panicking in front of production traffic.
    fn from(illegal: Illegal) -> Self {
        let hint = Some("this is a defect in segue; nothing was changed".into());
        Self { code: RefusalCode::Refused, message: illegal.to_string(), hint }
    }
}
