//! The rungs of a rollout: the number of instances of each side and the share of the traffic, step by
//! step. All strategies share this one shape. The rung that a rollout stands on is a fact.

use model::{Capacity, Gate, Order, ReleaseNo, Share, Stage, StrategyKind, Switch};

use crate::planted::Bug;
use crate::{App, Instance, Phase, Rollout, RolloutKind};

/// One step of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rung {
    /// The candidate's share of the traffic once this rung is reached.
    pub share: Share,
    /// Number of instances that the candidate needs before it gets that share.
    pub to: u16,
    /// Number of instances of the old release until the candidate has that share.
    pub before: u16,
    /// Number of instances of the old release from then on.
    pub after: u16,
    /// Defines whether the share is given as soon as the candidate is complete.
    pub switch: Switch,
    /// The gate before the next rung; `None` on the last rung.
    pub gate: Option<Gate>,
    /// True if old instances have to be gone before new ones start.
    pub makes_room: bool,
}

/// Returns the number of rungs of a rollout, at least one.
pub fn rungs(app: &App, rollout: &Rollout) -> u16 {
    let replicas = app.replicas(rollout.to);
    match kind(app, rollout) {
        None => 1,
        Some(StrategyKind::BlueGreen { .. } | StrategyKind::Recreate { .. }) => 1,
        Some(StrategyKind::Rolling { batch, .. }) => replicas.div_ceil(batch.of(replicas)),
        Some(StrategyKind::Canary { steps, .. }) => {
            u16::try_from(steps.len()).unwrap_or(u16::MAX - 1) + 1
        }
    }
}

/// Returns the rung with this number, from 1 on. A number beyond the last rung gives the last one.
pub fn rung(app: &App, rollout: &Rollout, number: u16) -> Rung {
    let last = rungs(app, rollout);
    let number = number.clamp(1, last);
    let to = app.replicas(rollout.to);
    let from = rollout.from.map_or(0, |from| app.replicas(from));
    let whole = Rung {
        share: Share::ALL,
        to,
        before: from,
        after: from,
        switch: Switch::Auto,
        gate: None,
        makes_room: false,
    };
    match kind(app, rollout) {
        None => whole,
        Some(StrategyKind::BlueGreen { switch }) => Rung { switch: *switch, ..whole },
        Some(StrategyKind::Recreate { .. }) => {
            Rung { before: 0, after: 0, makes_room: true, ..whole }
        }
        Some(StrategyKind::Rolling { batch, order, pause, .. }) => {
            let moved = |number: u16| (batch.of(to).saturating_mul(number)).min(to);
            let left = |number: u16| part_of(from, to - moved(number), to);
            let (after, in_place) = (left(number), *order == Order::InPlace);
            Rung {
                share: share(moved(number), to),
                to: moved(number),
                before: if in_place { after } else { left(number - 1) },
                after,
                gate: (number < last).then_some(Gate::After(*pause)),
                makes_room: in_place,
                ..whole
            }
        }
        Some(StrategyKind::Canary { steps, capacity, .. }) => {
            let Some(step) = steps.get(usize::from(number) - 1) else { return whole };
            let instances = match capacity {
                Capacity::Fixed(count) => *count,
                Capacity::Share => part_of(to, step.share.ten_thousandths(), 10_000),
            };
            let to = instances.clamp(1, to.max(1));
            Rung { share: step.share, to, gate: Some(step.gate), ..whole }
        }
    }
}

/// Returns the strategy by which the release comes in. Returns `None` for a first release and for a
/// rollback, which are a single switch, and for rollouts that move no traffic.
fn kind<'a>(app: &'a App, rollout: &Rollout) -> Option<&'a StrategyKind> {
    if rollout.kind != RolloutKind::Deploy {
        return None;
    }
    let kind = &app.releases.get(&rollout.to)?.spec.strategy.kind;
    // A first release has no release to compare with. The only gate that applies to it is a person's
    // promotion.
    let first = rollout.from.is_none() && !matches!(kind, StrategyKind::BlueGreen { .. });
    (!first).then_some(kind)
}

/// Returns the number of instances that a release should have now.
pub fn wanted(app: &App, release: ReleaseNo) -> u16 {
    if !app.on_offer().any(|offered| offered == release) {
        return 0;
    }
    let rollout = app.rollout.as_ref();
    if let Some(renewed) = rollout.filter(|r| r.kind.renews() && r.to == release) {
        return wanted_renewed(app, renewed);
    }
    let moving = rollout.filter(|r| r.kind == RolloutKind::Deploy);
    let standby = app.standby.is_some_and(|standby| standby.release == release);
    match moving {
        Some(rollout) if rollout.to == release && !standby => wanted_to(app, rollout),
        Some(rollout) if rollout.from == Some(release) && !standby => wanted_from(app, rollout),
        Some(_) | None => app.replicas(release),
    }
}

/// Returns the number of instances that the old release should have now.
fn wanted_from(app: &App, rollout: &Rollout) -> u16 {
    let rung = rung(app, rollout, rollout.rung);
    let all = rollout.from.map_or(0, |from| app.replicas(from));
    match rollout.phase {
        Phase::Starting | Phase::Ready if Bug::ForgetsFloor.is_planted() => 0,
        Phase::Starting | Phase::Ready => rung.before,
        Phase::Switching | Phase::Holding | Phase::Watching => rung.after,
        Phase::Settling => 0,
        // None of its instances is started while other instances, including its own former ones, are
        // still ending.
        Phase::Reverting { .. } if needs_room(app, rollout) && is_crowded(app, rollout.from) => {
            rollout.from.map_or(0, |from| staying(app, from)).min(all)
        }
        Phase::Reverting { .. } => all,
    }
}

/// Returns the number of instances that the candidate should have now.
fn wanted_to(app: &App, rollout: &Rollout) -> u16 {
    let here = rung(app, rollout, rollout.rung);
    let reached = if rollout.rung > 1 { rung(app, rollout, rollout.rung - 1).to } else { 0 };
    let forward = !matches!(rollout.phase, Phase::Reverting { .. });
    let is_crowded = is_crowded(app, Some(rollout.to)) && !Bug::RunsBeside.is_planted();
    if forward && needs_room(app, rollout) && is_crowded {
        return staying(app, rollout.to).min(here.to);
    }
    match rollout.phase {
        Phase::Starting | Phase::Ready => {
            // An instance that is owed takes up no room on a host that is here.
            let old = rollout.from.into_iter().flat_map(|from| app.instances_of(from));
            let counts = |i: &Instance| match needs_room(app, rollout) {
                true => !is_left_alone(app, i),
                false => !i.owed,
            };
            let old = old.filter(|(_, i)| counts(i)).count();
            let is_full = old > usize::from(here.before) && !Bug::RunsBeside.is_planted();
            if here.makes_room && is_full { reached } else { here.to }
        }
        // While the pause of a surge lasts, the next batch already starts: there is room for it.
        Phase::Holding if here.after < here.before => rung(app, rollout, rollout.rung + 1).to,
        Phase::Switching | Phase::Holding => here.to,
        Phase::Watching | Phase::Settling => app.replicas(rollout.to),
        Phase::Reverting { .. } if rollout.share == Share::NONE => 0,
        Phase::Reverting { .. } if needs_room(app, rollout) => 0,
        // Existing instances carry the candidate's share for a little longer. No more are started.
        Phase::Reverting { .. } => {
            let there = app.instances_of(rollout.to).filter(|(_, i)| i.stage < Stage::Draining);
            u16::try_from(there.count()).unwrap_or(here.to).min(here.to)
        }
    }
}

/// Returns the number of instances that the live release should have now, during a restart or a start.
fn wanted_renewed(app: &App, rollout: &Rollout) -> u16 {
    let all = app.replicas(rollout.to);
    // A release that must not run twice starts new instances once the former ones have gone. This
    // includes former instances that do not drain yet because a person has paused the restart.
    let is_former = |(_, i): (u64, &Instance)| i.minted < rollout.started;
    let to_leave =
        rollout.kind == RolloutKind::Restart && app.instances_of(rollout.to).any(is_former);
    if runs_alone(app, rollout) && (to_leave || is_crowded(app, Some(rollout.to))) {
        return staying(app, rollout.to).min(all);
    }
    all
}

/// Returns whether the release whose instances are renewed must not run twice.
pub(crate) fn runs_alone(app: &App, rollout: &Rollout) -> bool {
    let kind = app.releases.get(&rollout.to).map(|release| &release.spec.strategy.kind);
    matches!(kind, Some(StrategyKind::Recreate { .. }))
}

/// Returns whether the two releases must not run at the same time.
pub(crate) fn needs_room(app: &App, rollout: &Rollout) -> bool {
    matches!(kind(app, rollout), Some(StrategyKind::Recreate { .. }))
}

/// Returns the number of instances, over both releases, that have to carry the app while a rollout
/// moves it. Healthy instances are not let go below this number (I3). A revert gets along with whatever
/// is left.
pub(crate) fn least(app: &App) -> u16 {
    if let Some(renewed) = app.rollout.as_ref().filter(|r| r.kind.renews()) {
        return if runs_alone(app, renewed) { 0 } else { app.replicas(renewed.to) };
    }
    let Some(rollout) = app.rollout.as_ref().filter(|r| r.kind == RolloutKind::Deploy) else {
        return 0;
    };
    let moving = !matches!(rollout.phase, Phase::Settling | Phase::Reverting { .. });
    let (Some(from), Some(kind)) = (rollout.from.filter(|_| moving), kind(app, rollout)) else {
        return 0;
    };
    let to = app.replicas(rollout.to);
    let all = to.min(app.replicas(from));
    match kind {
        StrategyKind::Recreate { .. } => 0,
        StrategyKind::Rolling { batch, order: Order::InPlace, .. } => {
            all.saturating_sub(batch.of(to)).max(1)
        }
        StrategyKind::BlueGreen { .. }
        | StrategyKind::Rolling { order: Order::Surge, .. }
        | StrategyKind::Canary { .. } => all,
    }
}

/// Returns the number of instances that the candidate needs to carry its share.
pub(crate) fn floor(app: &App, rollout: &Rollout) -> u16 {
    match rollout.phase {
        Phase::Starting | Phase::Ready if rollout.rung > 1 => {
            rung(app, rollout, rollout.rung - 1).to
        }
        Phase::Starting | Phase::Ready => 0,
        Phase::Switching
        | Phase::Holding
        | Phase::Watching
        | Phase::Settling
        | Phase::Reverting { .. } => rung(app, rollout, rollout.rung).to,
    }
}

/// Returns the number of the release's instances that neither drain nor are to be replaced.
fn staying(app: &App, release: ReleaseNo) -> u16 {
    let stays = |(_, i): &(u64, &Instance)| i.stage < Stage::Draining && !i.doomed;
    u16::try_from(app.instances_of(release).filter(stays).count()).unwrap_or(u16::MAX)
}

/// Returns whether an instance runs that has to end before this release starts: one of another release,
/// or a draining one of this release.
fn is_crowded(app: &App, release: Option<ReleaseNo>) -> bool {
    let has_to_end = |i: &Instance| Some(i.release) != release || i.stage == Stage::Draining;
    app.instances.values().any(|i| has_to_end(i) && !is_left_alone(app, i))
}

/// Returns whether nothing waits for the end of the instance, also where two must not run: its host was lost, and the
/// rollout goes on without that host.
fn is_left_alone(app: &App, instance: &Instance) -> bool {
    let rollout = app.rollout.as_ref().filter(|_| instance.owed);
    rollout.is_some_and(|rollout| rollout.budget.is_aside(&instance.host))
}

/// Returns `of` × `part` / `whole`, rounded up.
fn part_of(of: u16, part: u16, whole: u16) -> u16 {
    let product = u32::from(of) * u32::from(part);
    u16::try_from(product.div_ceil(u32::from(whole.max(1)))).unwrap_or(of)
}

fn share(moved: u16, all: u16) -> Share {
    let part = u32::from(moved) * 10_000 / u32::from(all.max(1));
    let part = u16::try_from(part).ok().and_then(Share::from_ten_thousandths);
    part.unwrap_or(Share::ALL)
}
