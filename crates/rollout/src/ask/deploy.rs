//! `deploy`: begins a rollout, follows the rollout in progress, or refuses with a reason.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use model::{
    Conventions, Digest, HostLeftOut, Label, PlannedHosts, Release, ReleaseNo, Service, Share,
    Strategy, StrategyKind,
};

use super::batch::FactBatch;
use super::checks::{self, MeantHosts};
use super::renew::{self, Again};
use super::{Answer, Desk, NewRelease, Refusal};
use crate::decide::{Placement, ended};
use crate::readiness::whole;
use crate::{Cause, Phase, Rollout, RolloutKind};

/// The result of comparing the rollout in progress with a deploy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Same {
    /// The rollout in progress brings in another release.
    No,
    /// The rollout in progress brings in that release by another strategy.
    OtherStrategy,
    /// The rollout in progress does what the deploy asks for.
    Yes,
}

pub(super) fn deploy(desk: &Desk, new: &NewRelease, replace: bool) -> Answer {
    let app = desk.app;
    if app.removing.is_some() && !app.is_removed() {
        return Err(desk.refused("it is being removed", "deploy again once it is gone"));
    }
    checks::can_run(desk, &new.spec)?;
    let label = new.label.clone().unwrap_or_else(|| default_label(&new.digest));
    let stored = app.labelled(&label);
    if let Some(other) = stored.filter(|stored| stored.digest != new.digest) {
        let why = format!("the label {label} belongs to release {}, with other content", other.no);
        let hint = "labels are immutable: choose another with `--release`";
        return Err(desk.refused(&why, hint));
    }
    let stored = stored.map(|release| release.no);
    if let Some(live) = renew::settled_on(desk, &label)
        && (app.rollout.is_none() || whole(app, desk.seen, live).is_err())
    {
        return renew::is_live(desk, FactBatch::new(app), live, Again::Still);
    }
    let mut batch = make_way(desk, &label, new, stored, replace)?;
    if let Some(rollout) = batch.attached {
        let note = format!("{label} is being rolled out already");
        return Ok(desk.attached(rollout, note));
    }
    if let Some(live) = stored.filter(|no| batch.app.live == Some(*no)) {
        return renew::is_live(desk, batch, live, Again::Back);
    }
    checks::check_proxy_here(desk)?;
    // The labels of a removed app are free again: its releases are forgotten when it starts anew.
    let to = stored.unwrap_or(ReleaseNo(app.last_release + 1));
    let release = stored.is_none().then(|| Release {
        no: to,
        label: label.clone(),
        digest: new.digest,
        content: new.content,
        spec: new.spec.clone(),
        created: desk.now,
        bad: None,
        conventions: Conventions::NOW,
        service: Service::Unknown,
    });
    let strategy = stored.is_some().then(|| new.spec.strategy.clone());
    let MeantHosts { taking, left_out } = checks::hosts_for(desk, &new.spec)?;
    let rollout = batch.start(RolloutKind::Deploy, to, release, strategy, taking, desk.now)?;
    batch.planned = planned(desk, &batch, left_out);
    checks::check_floor(desk, &batch)?;
    checks::check_proxies(desk, &batch)?;
    if batch.app.rollout.as_ref().is_some_and(|rollout| rollout.closed) {
        checks::check_heard(desk)?;
    }
    let note = match batch.app.rollout.as_ref().map(|rollout| &rollout.budget) {
        Some(budget) if budget.hosts.len() > 1 => {
            format!("{label} is release {to}; {}", may_fail(budget.of))
        }
        Some(_) | None => format!("{label} is release {to}"),
    };
    Ok(batch.accepted(Some(rollout), Some(to), note))
}

/// Returns the hosts that the rollout will place its release on, if the fleet has more than one.
fn planned(desk: &Desk, batch: &FactBatch, left_out: Vec<HostLeftOut>) -> Option<PlannedHosts> {
    let rollout = batch.app.rollout.as_ref().filter(|_| desk.seen.hosts.len() > 1)?;
    let release = batch.app.releases.get(&rollout.to)?;
    let replicas = usize::from(batch.app.replicas(rollout.to));
    let mut instances = BTreeMap::new();
    for minted in Placement::new(&batch.app, desk.seen).place(release, replicas) {
        *instances.entry(minted.host).or_default() += 1;
    }
    Some(PlannedHosts { instances, left_out, may_fail: rollout.budget.of })
}

/// Says how many hosts may fail.
fn may_fail(of: u16) -> String {
    match of {
        0 => "no host may fail during the rollout: `failure_budget` is 0".into(),
        1 => "1 host may fail during the rollout".into(),
        of => format!("{of} hosts may fail during the rollout"),
    }
}

/// Ends the rollout in progress, attaches to it, or refuses the deploy.
fn make_way(
    desk: &Desk,
    label: &Label,
    new: &NewRelease,
    stored: Option<ReleaseNo>,
    replace: bool,
) -> Result<FactBatch, Refusal> {
    let mut batch = FactBatch::new(desk.app);
    let Some(rollout) = &desk.app.rollout else { return Ok(batch) };
    let is_same = brings_in(desk, rollout, stored, &new.spec.strategy);
    if is_same == Same::OtherStrategy && !replace {
        return Err(other_strategy(desk, rollout, &new.spec.strategy));
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
        // A settling rollout is decided. Its draining instances continue to drain beside the new
        // rollout.
        Phase::Settling => {
            batch.push(ended(&batch.app, rollout, desk.seen, desk.now))?;
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
                batch.end_rollout(cause, desk.seen, desk.now)?;
                // A recreate closes the app again and stops what is left of the old release.
                let kind = &new.spec.strategy.kind;
                let recreates = matches!(kind, StrategyKind::Recreate { .. });
                if !recreates || stored == rollout.from {
                    checks::check_whole(desk, &batch)?;
                }
                return Ok(batch);
            }
            let (to, since) = (desk.app.label(rollout.to), desk.now.since(rollout.started));
            let (id, phase) = (rollout.id, rollout.phase.name());
            let why = format!("rollout {id} of {to} is under way ({phase}, started {since} ago)");
            let hint = "wait for it, or take its place with `segue deploy --replace`";
            Err(desk.refused(&why, hint))
        }
    }
}

/// Compares `rollout` with a deploy of that stored release by that strategy.
fn brings_in(desk: &Desk, rollout: &Rollout, stored: Option<ReleaseNo>, by: &Strategy) -> Same {
    let Some(release) = stored.filter(|no| *no == rollout.to) else { return Same::No };
    // Once all of the traffic is moved, the strategy no longer matters.
    let decided = rollout.kind != RolloutKind::Deploy || rollout.share == Share::ALL;
    let differs = desk.app.releases.get(&release).is_some_and(|r| r.spec.strategy != *by);
    let back = matches!(rollout.phase, Phase::Reverting { .. });
    if differs && !decided && !back { Same::OtherStrategy } else { Same::Yes }
}

fn other_strategy(desk: &Desk, rollout: &Rollout, asked: &Strategy) -> Refusal {
    let label = desk.app.label(rollout.to);
    let runs = crate::receipt::strategy(desk.app, rollout);
    let asked = asked.kind.name();
    let why = if runs == asked {
        format!("rollout {} of {label} is under way, with other settings of {runs}", rollout.id)
    } else {
        format!("rollout {} of {label} is under way by {runs}, not by {asked}", rollout.id)
    };
    desk.refused(&why, "wait for it, or start over with `segue deploy --replace`")
}

fn default_label(digest: &Digest) -> Label {
    digest.short().parse().expect("hexadecimal digits make a label")
}
