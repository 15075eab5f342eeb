//! Folds one fact into the state of its app. Both live operation and recovery use this code.

mod instances;
mod removal;
mod stored;
mod works;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use model::{
    HostAside, HostFault, Outcome, ReleaseNo, RolloutId, Share, Stage, Standby, StrategyKind,
    Timestamp,
};

use crate::ladder::needs_room;
use crate::planted::Bug;
use crate::{
    App, Budget, Cause, Fact, Pause, Phase, Rollout, RolloutKind, StandbyState, Started, Switched,
};
use instances::{drain, gone, mint, serve, stage};
use stored::{mark_bad, prune, served, sync, tried};

/// A fact that cannot follow the facts before it. The cause is a defect or a damaged journal, never
/// user input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Illegal {
    /// The fact's name.
    pub fact: &'static str,
    /// Why the fact is illegal.
    pub why: &'static str,
}

impl fmt::Display for Illegal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the fact {:?} cannot follow what happened before: {}", self.fact, self.why)
    }
}

impl core::error::Error for Illegal {}

/// Folds `fact` into `app`. On an error `app` is unchanged.
pub fn apply(app: &mut App, fact: &Fact) -> Result<(), Illegal> {
    let version = app.version + 1;
    fold(app, fact, version).map_err(|why| Illegal { fact: fact.name(), why })?;
    app.version = version;
    Ok(())
}

type Folded = Result<(), &'static str>;

fn fold(app: &mut App, fact: &Fact, version: u64) -> Folded {
    match fact {
        Fact::Started(started) => start(app, started),
        Fact::Minted { release, instances, at } => mint(app, *release, instances, *at),
        Fact::Serving { instance, listeners, at, .. } => serve(app, *instance, listeners, *at),
        Fact::Doomed { instance, .. } => {
            stage(app, *instance, Stage::Serving)?.doomed = true;
            Ok(())
        }
        Fact::Draining { instances, cause, at } => drain(app, instances, *cause, *at, version),
        Fact::Released { instance, .. } => {
            stage(app, *instance, Stage::Draining)?.released = true;
            Ok(())
        }
        Fact::Owed { instances, .. } => instances::owe(app, instances),
        Fact::NumbersSkipped { to, .. } => {
            app.last_instance = app.last_instance.max(*to);
            Ok(())
        }
        Fact::Gone { .. } => gone(app, fact),
        Fact::AddressesFreed { instances, .. } => instances::free_addresses(app, instances),
        Fact::Ready { rollout, at, .. } => {
            let rollout = in_phase(app, *rollout, |phase| *phase == Phase::Starting)?;
            enter(rollout, Phase::Ready, *at);
            Ok(())
        }
        Fact::Shifted { rollout, share, at, .. } => shift(app, *rollout, *share, *at, version),
        Fact::Acknowledged { rollout, took, spread, at, .. } => {
            let rollout = in_phase(app, *rollout, is_switching)?;
            let switched = rollout.switched.as_mut().ok_or("nothing was switched")?;
            (switched.took, switched.spread) = (Some(*took), *spread);
            if rollout.phase == Phase::Switching {
                let all = rollout.share == Share::ALL;
                enter(rollout, if all { Phase::Watching } else { Phase::Holding }, *at);
            }
            Ok(())
        }
        Fact::Settled { rollout, cause, at } => {
            stay(app, *rollout, cause.as_ref(), *at, version)?;
            settle(app, *rollout, cause.as_ref(), *at)
        }
        Fact::Stepped { rollout, rung, at } => {
            let rollout = in_phase(app, *rollout, |phase| *phase == Phase::Holding)?;
            if *rung <= rollout.rung {
                return Err("the rung does not follow the last one");
            }
            rollout.rung = *rung;
            enter(rollout, Phase::Starting, *at);
            Ok(())
        }
        Fact::Paused { rollout, because, at } => {
            let rollout = in_phase(app, *rollout, Phase::can_pause)?;
            if rollout.paused.is_some() {
                return Err("it is held already");
            }
            rollout.paused = Some(Pause { because: because.clone(), since: *at });
            Ok(())
        }
        Fact::Resumed { rollout, .. } => {
            let rollout = in_phase(app, *rollout, Phase::can_pause)?;
            rollout.paused.take().ok_or("it is not held")?;
            (rollout.crashes, rollout.ports_taken) = (0, 0);
            // Whoever goes on goes on without the hosts that have failed so far.
            rollout.budget.of = rollout.budget.of.max(rollout.budget.account().spent);
            let to = rollout.to;
            app.deaths.remove(&to);
            Ok(())
        }
        Fact::HostAside { rollout, aside, .. } => put_aside(app, *rollout, aside),
        Fact::LossConfirmed { at } => {
            app.loss_confirmed = Some(*at);
            Ok(())
        }
        Fact::Scaled { replicas, .. } => {
            if app.rollout.is_some() {
                return Err("a rollout is under way");
            }
            app.scale = *replicas;
            Ok(())
        }
        Fact::Synced { to, release, keep, .. } => sync(app, *to, release.as_deref(), *keep),
        Fact::Maintained { on, .. } => {
            app.maintenance.clone_from(on);
            Ok(())
        }
        Fact::Reverting { rollout, cause, at } => revert(app, *rollout, cause, *at, version),
        Fact::Kept { rollout, cause, at } => keep(app, *rollout, cause, *at),
        Fact::Ended { receipt, keep, at } => end(app, receipt, *keep, *at),
        Fact::StandbyRetired { release, .. } => match app.standby {
            Some(standby) if standby.release == *release => {
                app.standby = None;
                Ok(())
            }
            Some(_) | None => Err("it is not the standby"),
        },
        Fact::Removing { with_state, at } => removal::remove(app, *with_state, *at),
        Fact::WorkBegun(begun) => works::begin(app, begun),
        Fact::WorkRuns { work, at } => works::runs(app, *work, *at),
        Fact::WorkStopped { work, at, .. } => works::stop(app, *work, *at),
        Fact::WorkEnded(ended) => works::end(app, ended),
    }
}

/// Begins a rollout, and stores its release if it is new. Also brings back an app that was removed.
fn start(app: &mut App, started: &Started) -> Folded {
    if app.rollout.is_some() {
        return Err("another rollout is under way");
    }
    if started.rollout.0 != app.last_rollout + 1 {
        return Err("its number does not follow the last one");
    }
    if started.from != app.live {
        return Err("the release it starts from is not live");
    }
    if app.removing.is_some() && !app.is_removed() {
        return Err("the app is still being removed");
    }
    if started.kind.renews() && started.from != Some(started.to) {
        return Err("only the live release is renewed");
    }
    match &started.release {
        Some(release) if release.no != started.to || release.no.0 != app.last_release + 1 => {
            return Err("the release's number does not follow the last one");
        }
        None if !app.releases.contains_key(&started.to) => return Err("the release is not stored"),
        Some(_) | None => {}
    }
    (app.removing, app.forget_state) = (None, None);
    app.last_rollout = started.rollout.0;
    if matches!(started.kind, RolloutKind::Deploy | RolloutKind::Restart) {
        app.avoided.clear();
    }
    if let Some(release) = &started.release {
        app.last_release = release.no.0;
        app.releases.insert(release.no, release.clone());
    }
    // The strategy is not part of the release's identity. The release keeps the strategy that it last
    // came in by.
    if let (Some(strategy), Some(release)) = (&started.strategy, app.releases.get_mut(&started.to))
    {
        Arc::make_mut(&mut release.spec).strategy = (**strategy).clone();
    }
    app.deaths.remove(&started.to);
    started.from.into_iter().for_each(|from| served(app, from, started.at));
    if started.kind == RolloutKind::Rollback
        && let Some(bad) = started.from.and_then(|from| app.releases.get_mut(&from))
    {
        bad.bad = Some("it was rolled back from".into());
    }
    // A scale applies until the app file asks for another number of instances.
    let replicas = |no: ReleaseNo| app.releases.get(&no).map(|r| r.spec.run.replicas);
    let new = started.release.is_some();
    if new && started.from.and_then(replicas) != replicas(started.to) {
        app.scale = None;
    }
    let strategy = app.releases.get(&started.to).map(|release| release.spec.strategy.clone());
    let kind = strategy.as_ref().map(|strategy| &strategy.kind);
    let deploys = started.kind == RolloutKind::Deploy;
    let recreates = deploys && is_recreate(kind);
    if recreates {
        // The app cannot run twice, so no other release of it is kept running.
        app.standby = None;
    }
    let restarts = started.kind == RolloutKind::Restart;
    let closed = (recreates && started.from.is_some()) || (restarts && is_recreate(kind));
    app.rollout = Some(Rollout {
        id: started.rollout,
        kind: started.kind,
        from: started.from,
        to: started.to,
        started: started.at,
        phase: Phase::Starting,
        since: started.at,
        crashes: 0,
        ports_taken: 0,
        switched: None,
        share: Share::NONE,
        rung: 1,
        went_live: false,
        paused: None,
        closed,
        failed: None,
        budget: budget(app, started),
    });
    Ok(())
}

/// Returns the budget of a rollout that begins. It counts the hosts that get instances.
fn budget(app: &App, started: &Started) -> Budget {
    let release = app.releases.get(&started.to);
    let hosts = u16::try_from(started.hosts.len()).unwrap_or(u16::MAX);
    let placed_on = hosts.min(app.replicas(started.to));
    let of = release.map_or(0, |release| release.spec.strategy.failure_budget.of(placed_on));
    Budget { hosts: started.hosts.clone(), of, aside: Vec::new() }
}

/// Puts a host aside for the rest of the rollout. Each host counts once.
fn put_aside(app: &mut App, id: RolloutId, aside: &HostAside) -> Folded {
    let rollout =
        in_phase(app, id, |phase| !matches!(phase, Phase::Settling | Phase::Reverting { .. }))?;
    if rollout.budget.is_aside(&aside.host) && !Bug::CountsHostTwice.is_planted() {
        return Err("the host is put aside already");
    }
    rollout.budget.aside.push(aside.clone());
    Ok(())
}

/// Sets the candidate's share: forward to the share of its rung, or back to none.
fn shift(app: &mut App, id: RolloutId, share: Share, at: Timestamp, version: u64) -> Folded {
    let rollout = in_phase(app, id, |phase| {
        matches!(phase, Phase::Starting | Phase::Ready | Phase::Reverting { .. })
    })?;
    let back = matches!(rollout.phase, Phase::Reverting { .. });
    let fits = if back {
        share == Share::NONE && (rollout.share > share || rollout.closed)
    } else {
        share > rollout.share
    };
    if !fits {
        return Err("the share does not follow the last one");
    }
    if back {
        take_back(app, at, version);
        return Ok(());
    }
    rollout.switched = Some(Switched { at, version, took: None, spread: None });
    rollout.share = share;
    (rollout.went_live, rollout.closed, rollout.crashes) = (true, false, 0);
    enter(rollout, Phase::Switching, at);
    let to = rollout.to;
    if share == Share::ALL {
        app.live = Some(to);
    }
    served(app, to, at);
    Ok(())
}

/// Turns the rollout back. The old release gets the traffic at once if it is complete, or if the app was closed
/// and nothing of it was stopped yet. Otherwise the candidate keeps its share until the old release is complete.
/// If both releases must not run at the same time, the app is closed instead until then.
fn revert(app: &mut App, id: RolloutId, cause: &Cause, at: Timestamp, version: u64) -> Folded {
    let running = in_phase(app, id, |p| !matches!(p, Phase::Reverting { .. } | Phase::Settling))?;
    enter(running, Phase::Reverting { cause: cause.clone() }, at);
    running.paused = None;
    let (from, to, share, closed) = (running.from, running.to, running.share, running.closed);
    if cause.blames_release() {
        mark_bad(app, to, cause);
    }
    let serving =
        |no: ReleaseNo| app.instances_of(no).filter(|(_, i)| i.stage == Stage::Serving).count();
    let whole = from.is_none_or(|from| serving(from) >= usize::from(app.replicas(from)));
    // A rollout that has closed the app stops all of it at once.
    let untouched = closed && from.is_some_and(|from| serving(from) > 0);
    let alone = app.rollout.as_ref().is_some_and(|rollout| needs_room(app, rollout));
    if (whole || untouched) && (share > Share::NONE || closed) {
        take_back(app, at, version);
    } else if let Some(rollout) = app.rollout.as_mut().filter(|_| alone && !whole) {
        rollout.closed = true;
    }
    Ok(())
}

/// Ends the rollout without moving traffic: the live release stays live, even if it is unhealthy.
fn keep(app: &mut App, id: RolloutId, cause: &Cause, at: Timestamp) -> Folded {
    let running = in_phase(app, id, |p| !matches!(p, Phase::Reverting { .. } | Phase::Settling))?;
    if !running.keeps_live() {
        return Err("there is a release to go back to");
    }
    enter(running, Phase::Reverting { cause: cause.clone() }, at);
    (running.paused, running.closed) = (None, false);
    let to = running.to;
    // Instances that were to be replaced continue to serve.
    app.instances.values_mut().filter(|i| i.release == to).for_each(|i| i.doomed = false);
    Ok(())
}

/// Gives all of the traffic back to the old release.
fn take_back(app: &mut App, at: Timestamp, version: u64) {
    let Some(rollout) = app.rollout.as_mut() else { return };
    rollout.switched = Some(Switched { at, version, took: None, spread: None });
    (rollout.share, rollout.closed) = (Share::NONE, false);
    app.live = rollout.from;
}

/// Ends a revert whose old release cannot run, or cannot be started: the candidate gets all of the traffic, and then settles like
/// a rollout that has been watched.
fn stay(
    app: &mut App,
    id: RolloutId,
    failed: Option<&Cause>,
    at: Timestamp,
    version: u64,
) -> Folded {
    let back = |phase: &Phase| matches!(phase, Phase::Reverting { .. });
    let Some(cause) = failed.filter(|_| app.rollout.as_ref().is_some_and(|r| back(&r.phase)))
    else {
        return Ok(());
    };
    let rollout = in_phase(app, id, back)?;
    if rollout.share < Share::ALL || rollout.closed {
        rollout.switched = Some(Switched { at, version, took: None, spread: None });
        (rollout.share, rollout.closed) = (Share::ALL, false);
    }
    enter(rollout, Phase::Watching, at);
    let (from, to) = (rollout.from, rollout.to);
    app.live = Some(to);
    if let Some(from) = from.filter(|_| cause.blames_release()) {
        mark_bad(app, from, cause);
    }
    Ok(())
}

/// Keeps the new release. The formerly live release becomes the standby if the policy says so.
fn settle(app: &mut App, id: RolloutId, failed: Option<&Cause>, at: Timestamp) -> Folded {
    let renews = app.rollout.as_ref().is_some_and(|rollout| rollout.kind.renews());
    let before = if renews { Phase::Starting } else { Phase::Watching };
    let rollout = in_phase(app, id, |phase| *phase == before)?;
    enter(rollout, Phase::Settling, at);
    rollout.failed = failed.cloned();
    if renews {
        (rollout.paused, rollout.closed) = (None, false);
        return Ok(());
    }
    let (kind, from, to) = (rollout.kind, rollout.from, rollout.to);
    // After a rollback, the standby policy of the release that left applies to that release.
    let policy_of = match kind {
        RolloutKind::Deploy => Some(to),
        RolloutKind::Rollback | RolloutKind::Restart | RolloutKind::Start => from,
    };
    let policy = policy_of
        .and_then(|release| app.releases.get(&release))
        .map_or(Standby::None, |release| release.spec.strategy.standby);
    let twice = !is_recreate(app.releases.get(&to).map(|release| &release.spec.strategy.kind));
    let runs = !matches!(failed, Some(Cause::OldKeptDying { .. }));
    app.standby = match (from.filter(|_| twice && runs), policy) {
        (None, _) | (_, Standby::None) => None,
        (Some(release), Standby::Keep) => Some(StandbyState { release, until: None }),
        (Some(release), Standby::For(time)) => {
            Some(StandbyState { release, until: Some(at.after(time)) })
        }
    };
    if let Some(release) = app.releases.get_mut(&to).filter(|_| failed.is_none()) {
        release.bad = None;
    }
    Ok(())
}

fn end(app: &mut App, receipt: &model::Receipt, keep: Option<u16>, at: Timestamp) -> Folded {
    in_phase(app, receipt.rollout, |p| matches!(p, Phase::Settling | Phase::Reverting { .. }))?;
    if let Some(rollout) = app.rollout.take().filter(|_| keep.is_some()) {
        let cannot = |aside: &&HostAside| match aside.why {
            HostFault::CannotRun(_) | HostFault::NotReached(_) => true,
            HostFault::Lost | HostFault::SaidToBeLost => false,
        };
        app.avoided.extend(rollout.budget.aside.iter().filter(cannot).cloned());
        tried(app, &rollout, at);
    }
    app.receipts.push_back(receipt.clone());
    while app.receipts.len() > App::RECEIPTS {
        let brought_live_in = app.receipts.iter().rposition(|r| brought_in(app, r));
        app.receipts.remove(usize::from(brought_live_in == Some(0)));
    }
    prune(app, keep);
    Ok(())
}

/// Returns whether the receipt is of the rollout that made the live release live. Such a receipt is
/// kept, however many rollouts have failed since.
fn brought_in(app: &App, receipt: &model::Receipt) -> bool {
    let live = app.live.and_then(|live| app.releases.get(&live));
    // A failed rollout may have left its release live because there was no better one to go back to.
    let stayed = receipt.live.as_ref() == Some(&receipt.to);
    (receipt.outcome == Outcome::Completed || stayed)
        && live.is_some_and(|live| live.label == receipt.to)
}

fn enter(rollout: &mut Rollout, phase: Phase, at: Timestamp) {
    rollout.phase = phase;
    rollout.since = at;
}

fn is_recreate(kind: Option<&StrategyKind>) -> bool {
    matches!(kind, Some(StrategyKind::Recreate { .. }))
}

fn is_switching(phase: &Phase) -> bool {
    matches!(phase, Phase::Switching | Phase::Reverting { .. })
}

/// Returns the rollout with this id if its phase passes the check.
fn in_phase(
    app: &mut App,
    id: RolloutId,
    fits: impl Fn(&Phase) -> bool,
) -> Result<&mut Rollout, &'static str> {
    match app.rollout.as_mut() {
        Some(rollout) if rollout.id != id => Err("another rollout is under way"),
        Some(rollout) if fits(&rollout.phase) => Ok(rollout),
        Some(_) => Err("the rollout is in another phase"),
        None => Err("no rollout is under way"),
    }
}
