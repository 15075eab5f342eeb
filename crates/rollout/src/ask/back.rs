//! `rollback` and `abort`: the commands that go back to another release.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use model::{NotReady, Readiness, ReleaseNo, Share, StrategyKind};

use super::batch::FactBatch;
use super::checks;
use super::renew::{self, Again};
use super::{Answer, Desk, Refusal, RefusalCode};
use crate::planted::Bug;
use crate::reach::suspicion;
use crate::readiness::{can_take_over, is_up_where_heard, ready};
use crate::{Cause, Fact, Phase, Rollout, RolloutKind, closing, readiness};

pub(super) fn rollback(desk: &Desk, to: Option<ReleaseNo>) -> Answer {
    let app = desk.app;
    if let Some(wanted) = to {
        return rollback_to(desk, wanted);
    }
    match &app.rollout {
        None => switch_back(desk, check_way_back(desk)?),
        Some(rollout) if rollout.phase == Phase::Settling || rollout.kind.renews() => {
            switch_back(desk, check_way_back(desk)?)
        }
        Some(rollout) if rollout.share == Share::NONE && !rollout.closed => {
            turn(desk, rollout, Cause::Aborted)
        }
        Some(rollout) => turn(desk, rollout, Cause::RolledBack),
    }
}

/// Stops the rollout. The live release stays live, or gets its traffic back.
pub(super) fn abort(desk: &Desk) -> Answer {
    let Some(rollout) = &desk.app.rollout else {
        let hint = "to go back to the release before, use `segue rollback`";
        return Err(desk.refused("no rollout is under way", hint));
    };
    let decided = rollout.phase == Phase::Settling || rollout.kind == RolloutKind::Rollback;
    if decided {
        let why = format!("{} is live and stays", desk.app.label(rollout.to));
        return Err(desk.refused(&why, "to go back, use `segue rollback`"));
    }
    let mut answer = turn(desk, rollout, Cause::Aborted)?;
    if suspicion(desk.app, desk.seen).is_some() && !answer.facts.is_empty() {
        answer.facts.insert(0, Fact::LossConfirmed { at: desk.now });
    }
    Ok(answer)
}

/// Turns the rollout back, unless it is already going back or has no release to go back to.
fn turn(desk: &Desk, rollout: &Rollout, cause: Cause) -> Answer {
    let on_its_way = matches!(rollout.phase, Phase::Reverting { .. });
    if on_its_way || rollout.kind == RolloutKind::Rollback {
        return Ok(desk.attached(rollout.id, "it is on its way back already".into()));
    }
    if rollout.kind.renews() {
        let (id, to) = (rollout.id, rollout.to);
        let note = format!("{} stays as it is", desk.app.label(to));
        let mut batch = FactBatch::new(desk.app);
        batch.push(Fact::Kept { rollout: id, cause, at: desk.now })?;
        return Ok(batch.accepted(Some(id), Some(to), note));
    }
    let kind = desk.app.releases.get(&rollout.to).map(|r| &r.spec.strategy.kind);
    // The other strategies start what they go back to by themselves.
    let one_switch =
        matches!(kind, Some(StrategyKind::BlueGreen { .. } | StrategyKind::Canary { .. }));
    let has_users = rollout.share > Share::NONE;
    if has_users && (one_switch || rollout.from.is_none()) {
        check_way_back(desk)?;
    }
    check_room(desk, rollout)?;
    desk.revert(rollout, cause)
}

/// Refuses a way back that has to stop what a proxy that is not heard may use before it can start anything: the app
/// would be closed in vain.
fn check_room(desk: &Desk, rollout: &Rollout) -> Result<(), Refusal> {
    let Some((id, proxy)) = closing::in_the_way(desk.app, rollout, desk.seen, desk.now) else {
        return Ok(());
    };
    let name = &proxy.name;
    let why =
        format!("{name} is not heard and may send users to {id}, which would have to stop first");
    let hint =
        format!("wait until it is heard again; if it never will be, `segue fleet remove {name}`");
    Err(desk.refused(&why, &hint))
}

/// Returns the release that a rollback without `--to` goes to, or refuses with the reason. Hosts that are
/// not heard are no reason to refuse, as long as an instance is left on another.
fn check_way_back(desk: &Desk) -> Result<ReleaseNo, Refusal> {
    let why = match readiness(desk.app, desk.seen) {
        Readiness::Ready { to, .. } => return Ok(to),
        Readiness::NotReady(why) => why,
    };
    let redeploy = |release: &ReleaseNo| {
        let (name, label) = (&desk.app.name, desk.app.label(*release));
        format!("`segue rollback {name} --to {label}` starts it again")
    };
    if let NotReady::NotWhole { release, .. } = &why
        && is_up_where_heard(desk.app, desk.seen, *release)
    {
        return Ok(*release);
    }
    let hint = match &why {
        NotReady::NoPrevious | NotReady::NotKept { release: None } | NotReady::NothingServed => {
            "`segue releases` lists what is stored; deploy the release you want".into()
        }
        NotReady::MarkedBad { release, .. } => {
            let (name, label) = (&desk.app.name, desk.app.label(*release));
            format!("to go back to it anyway: `segue rollback {name} --to {label}`")
        }
        NotReady::NotKept { release: Some(release) } | NotReady::NotWhole { release, .. } => {
            redeploy(release)
        }
    };
    Err(desk.refused(&why.to_string(), &hint))
}

/// Switches back with one commit and one snapshot. Starts nothing and waits for nothing (I7).
fn switch_back(desk: &Desk, to: ReleaseNo) -> Answer {
    let mut batch = FactBatch::new(desk.app);
    batch.end_rollout(Cause::RolledBack, desk.seen, desk.now)?;
    let rollout = batch.start(RolloutKind::Rollback, to, None, None, Vec::new(), desk.now)?;
    let ready = ready(desk.app, desk.seen, to);
    if !Bug::RollsBackInTwo.is_planted() {
        batch.push(Fact::Shifted { rollout, share: Share::ALL, ready, at: desk.now })?;
    }
    let note = desk.with_proxies(format!("switching back to {}", desk.app.label(to)));
    Ok(batch.accepted(Some(rollout), Some(to), note))
}

/// Goes back to a named release: by one switch if it is the warm standby, otherwise by a rollout like a
/// deploy.
fn rollback_to(desk: &Desk, to: ReleaseNo) -> Answer {
    let app = desk.app;
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
            return Ok(desk.attached(renewed.id, format!("{label} is already live")));
        }
        return renew::is_live(desk, FactBatch::new(app), to, Again::Still);
    }
    if !idle {
        let way_back = app.rollout.as_ref().and_then(|r| r.from);
        if way_back == Some(to) {
            return rollback(desk, None);
        }
        let hint = "abort it first: `segue abort`";
        return Err(desk.refused("a rollout is under way", hint));
    }
    if !release.service.keeps_files() {
        let why = format!("{label} never had users, so its files are not kept");
        return Err(desk.refused(&why, "deploy it again"));
    }
    let standby = app.standby.filter(|s| s.release == to);
    let live = app.live.unwrap_or(to);
    if standby.is_some() && can_take_over(app, desk.seen, live, to).is_ok() {
        return switch_back(desk, to);
    }
    checks::can_run(desk, &release.spec)?;
    let mut batch = FactBatch::new(app);
    batch.end_rollout(Cause::RolledBack, desk.seen, desk.now)?;
    let rollout = batch.start(RolloutKind::Deploy, to, None, None, Vec::new(), desk.now)?;
    checks::check_floor(desk, &batch)?;
    checks::check_proxies(desk, &batch)?;
    let note = format!("{label} is not warm: it is started again, then switched to");
    Ok(batch.accepted(Some(rollout), Some(to), note))
}
