//! Invariants of the failure budget, checked from outside: each host counts once, never on a way back, and
//! never one that was lost before; a rollout that has spent its budget moves no traffic.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "each check looks at the few facts that it is about"
)]

use std::collections::{BTreeMap, BTreeSet};

use control::Engine;
use model::{AppName, HostFault, HostId, Reach, RolloutId, Share, Stage};
use rollout::{App, Fact, Instance, Phase, Rollout, RolloutKind};

use crate::violation::Wrong;

/// What was known when rollouts began.
#[derive(Clone, Debug, Default)]
pub struct Budgets {
    /// The hosts that were not heard when each rollout began.
    unheard: BTreeMap<(AppName, RolloutId), BTreeSet<HostId>>,
}

impl Budgets {
    /// Checks a fact of `app`, which is as it was before. `heard` are the hosts that control was told to be
    /// connected.
    pub fn check(
        &mut self,
        engine: &Engine,
        (app, fact): (&App, &Fact),
        heard: &BTreeSet<HostId>,
    ) -> Option<Wrong> {
        if let Fact::Started(started) = fact {
            let unheard = engine.hosts().keys().filter(|host| !heard.contains(*host));
            // A record that the journal refuses leaves what is known of the rollout under way.
            let rollout = (app.name.clone(), started.rollout);
            self.unheard.insert(rollout, unheard.cloned().collect());
        }
        let what = self.check_fact(engine, fact, app, heard)?;
        Some(("budget", format!("{}: {what}", app.name)))
    }

    fn check_fact(
        &self,
        engine: &Engine,
        fact: &Fact,
        app: &App,
        heard: &BTreeSet<HostId>,
    ) -> Option<String> {
        if let Fact::Started(started) = fact {
            let meant = engine.hosts().len();
            let is_deploy = started.kind == RolloutKind::Deploy;
            let hosts = &started.hosts;
            let too_few = !hosts.is_empty() && hosts.len() * 2 < meant;
            let unheard = hosts.iter().find(|host| !heard.contains(*host));
            return match (unheard, is_deploy || hosts.is_empty(), too_few) {
                (Some(host), _, _) => Some(format!("{host} is not heard and in the budget")),
                (None, false, _) => Some("a way back has a budget".into()),
                (None, true, true) => Some(format!("{} hosts of {meant} are few", hosts.len())),
                (None, true, false) => None,
            };
        }
        let rollout = app.rollout.as_ref()?;
        match fact {
            Fact::HostAside { aside, .. } => self.aside(aside, app, rollout, heard),
            Fact::Minted { release, instances, .. } if *release == rollout.to => {
                let wrong =
                    instances.iter().find(|minted| rollout.budget.is_aside(&minted.host))?;
                Some(format!("the candidate is placed on {}, which was put aside", wrong.host))
            }
            Fact::Stepped { .. } => goes_on(engine, app, rollout).or_else(|| {
                let silent = silent(engine, app, rollout)?;
                Some(format!("a step begins, and {silent} is silent"))
            }),
            Fact::Shifted { share, .. } if *share > Share::NONE => goes_on(engine, app, rollout),
            _ => None,
        }
    }

    fn aside(
        &self,
        aside: &model::HostAside,
        app: &App,
        rollout: &Rollout,
        heard: &BTreeSet<HostId>,
    ) -> Option<String> {
        let host = &aside.host;
        if matches!(rollout.phase, Phase::Reverting { .. } | Phase::Settling)
            || rollout.kind != RolloutKind::Deploy
        {
            return Some(format!("{host} is put aside on a way back"));
        }
        if rollout.budget.is_aside(host) {
            return Some(format!("{host} is put aside twice"));
        }
        let mut candidates =
            app.instances_of(rollout.to).filter(|(_, i)| i.stage < Stage::Draining);
        let has_candidate = candidates.any(|(_, i)| i.host == *host);
        let before = self
            .unheard
            .get(&(app.name.clone(), rollout.id))
            .is_some_and(|unheard| unheard.contains(host));
        match aside.why {
            HostFault::Lost if heard.contains(host) => {
                Some(format!("{host} is heard and put aside"))
            }
            HostFault::Lost if before && !has_candidate => {
                Some(format!("{host} was lost before and is put aside"))
            }
            HostFault::Lost
            | HostFault::CannotRun(_)
            | HostFault::NotReached(_)
            | HostFault::SaidToBeLost => None,
        }
    }
}

/// Returns a host with the candidate that is not heard, and not lost yet.
fn silent<'a>(engine: &Engine, app: &'a App, rollout: &Rollout) -> Option<&'a HostId> {
    let there = app.instances_of(rollout.to).filter(|(_, i)| i.stage < Stage::Draining);
    let mut hosts = there.map(|(_, instance)| &instance.host);
    let reach = |host| engine.hosts().get(host).map(|host| host.reach);
    hosts.find(|host| matches!(reach(host), Some(Reach::Silent { .. })))
}

/// Checks that a rollout that goes on has counted every lost host with an instance of the candidate, and has
/// not spent more than its budget.
fn goes_on(engine: &Engine, app: &App, rollout: &Rollout) -> Option<String> {
    let budget = &rollout.budget;
    let has_budget = rollout.kind == RolloutKind::Deploy && !budget.hosts.is_empty();
    if !has_budget || rollout.keeps_live() || matches!(rollout.phase, Phase::Reverting { .. }) {
        return None;
    }
    let is_lost = |host: &HostId| {
        engine.hosts().get(host).is_some_and(|host| host.reach.lost_since().is_some())
    };
    let stands = |since| app.loss_confirmed.is_none_or(|at| at < since);
    let is_blind = engine.suspicion().is_some_and(|suspicion| stands(suspicion.since));
    let there = app.instances_of(rollout.to).filter(|(_, i)| i.stage < Stage::Draining);
    let there = there.map(|(_, i)| &i.host);
    let mut forgotten = there.filter(|host| is_lost(host) && !budget.is_aside(host));
    if let Some(host) = forgotten.next().filter(|_| !is_blind) {
        return Some(format!("the rollout goes on, and {host} is lost"));
    }
    let counting = budget.aside.iter().filter(|aside| aside.why != HostFault::SaidToBeLost);
    let failed: BTreeSet<&HostId> = counting.map(|aside| &aside.host).collect();
    let is_spent = failed.len() > usize::from(budget.of) && rollout.share == Share::NONE;
    is_spent.then(|| format!("the rollout goes on after {} of {} hosts", failed.len(), budget.of))
}

/// Counts the old release's instances that the floor is lower by: they are on lost hosts that were put aside.
pub fn excused(app: &App, engine: &Engine) -> usize {
    let Some(rollout) = &app.rollout else { return 0 };
    let Some(from) = rollout.from.filter(|from| app.share(*from) > Share::NONE) else { return 0 };
    let is_lost = |instance: &Instance| {
        let reach = engine.hosts().get(&instance.host).map(|host| host.reach);
        reach.is_some_and(|reach| reach.lost_since().is_some())
    };
    let there = app.instances_of(from).map(|(_, i)| i).filter(|i| i.stage == Stage::Serving);
    there.filter(|i| is_lost(i) && rollout.budget.is_aside(&i.host)).count()
}
