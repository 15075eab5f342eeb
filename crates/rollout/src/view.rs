//! The view of an app for people. It is derived from state and observations, and stored nowhere.

use model::{
    AppView, ArmView, Gate, Health, InstanceView, Millis, ReleaseNo, ReleaseView, RolloutView,
    Stage,
};

use crate::ladder::{rung, rungs};
use crate::reach::owed;
use crate::reachable::unreached;
use crate::readiness::way_back;
use crate::{App, Cause, Observed, Process, Reasons, Rollout, readiness};

/// Returns the current view of the app.
pub fn view(app: &App, seen: &Observed, reasons: Reasons) -> AppView {
    let candidate = app.rollout.as_ref().map(|r| r.to).filter(|to| app.live != Some(*to));
    let standby = way_back(app).filter(|no| app.live != Some(*no) && candidate != Some(*no));
    let Reasons { rollout: waiting, app: others } = reasons;
    AppView {
        app: app.name.clone(),
        version: app.version,
        live: app.live.and_then(|no| arm(app, seen, no)),
        standby: standby.and_then(|no| arm(app, seen, no)),
        candidate: candidate.and_then(|no| arm(app, seen, no)),
        rollout: app.rollout.as_ref().map(|r| RolloutView { waiting, ..rollout(app, r) }),
        rollback: readiness(app, seen),
        waiting: others,
        releases: app.releases.values().map(release).collect(),
        receipts: app.receipts.iter().cloned().collect(),
        maintenance: app.maintenance.is_some() || app.rollout.as_ref().is_some_and(|r| r.closed),
        scale: app.scale,
        removing: app.removing.is_some(),
        owed: owed(app),
    }
}

fn arm(app: &App, seen: &Observed, no: ReleaseNo) -> Option<ArmView> {
    let release = app.releases.get(&no)?;
    let instance = |(number, i): (u64, &crate::Instance)| {
        let is_held_back = i.stage == Stage::Joining && unreached(app, seen, (number, i)).is_some();
        let seen = seen.instance(number);
        let pid = match seen.process {
            Process::Running { pid } => Some(pid),
            Process::Unseen
            | Process::AddressInUse
            | Process::Refused(_)
            | Process::Exited { .. } => None,
        };
        let has_ended = seen.process.has_ended();
        // Healthy on its host is not yet healthy for its users.
        let health = match (seen.health, has_ended) {
            (_, true) => Health::Down,
            (Health::Up, false) if is_held_back => Health::Unknown,
            (Health::Unknown | Health::Up | Health::Down, false) => seen.health,
        };
        InstanceView {
            id: app.id(number),
            host: i.host.clone(),
            pid,
            address: i.address.clone(),
            stage: i.stage,
            health,
            in_flight: seen.in_flight,
            busy_since: seen.busy.map(|busy| busy.since),
        }
    };
    Some(ArmView {
        release: no,
        label: release.label.clone(),
        share: app.share(no),
        instances: app.instances_of(no).map(instance).collect(),
    })
}

fn rollout(app: &App, rollout: &Rollout) -> RolloutView {
    use alloc::string::ToString;
    let cause = rollout.cause().map(Cause::to_string);
    RolloutView {
        id: rollout.id,
        strategy: crate::receipt::strategy(app, rollout),
        phase: rollout.phase.name(),
        since: rollout.since,
        started: rollout.started,
        share: app.share(rollout.to),
        step: (rollout.rung, rungs(app, rollout)),
        paused: rollout.paused.is_some(),
        at_least: at_least(app, rollout),
        waiting: None,
        cause,
    }
}

fn release(release: &model::Release) -> ReleaseView {
    ReleaseView {
        no: release.no,
        label: release.label.clone(),
        digest: release.digest,
        spec: release.spec.clone(),
        content: release.content,
        created: release.created,
        bad: release.bad.clone(),
        service: release.service.clone(),
        conventions: release.conventions,
    }
}

/// Returns the minimum duration of the whole rollout. Every rung takes a start; a rung in place also
/// takes a drain first; timed gates take their time. Manual gates count as zero. The watch comes on
/// top.
fn at_least(app: &App, rollout: &Rollout) -> Option<Millis> {
    let (start, drain) = (app.pace.start?.0, app.pace.drain.map_or(0, |drain| drain.0));
    let count = rungs(app, rollout);
    let first = rung(app, rollout, 1);
    let each = if first.makes_room { start + drain } else { start };
    let gates: u64 = (1..=count)
        .filter_map(|number| match rung(app, rollout, number).gate {
            Some(Gate::After(time)) => Some(time.0),
            Some(Gate::Manual) | None => None,
        })
        .sum();
    Some(Millis(each * u64::from(count) + gates))
}
