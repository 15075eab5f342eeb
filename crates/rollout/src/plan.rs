//! Computes the desired state: effects on hosts, and the app's section of the snapshot. The plan
//! depends neither on a clock nor on observations, so it is identical after any restart.

use alloc::boxed::Box;
use alloc::vec::Vec;

use model::{
    AppSection, Arm, Expect, HostCommand, HostId, Keep, Launch, Maintenance, Release, ReleaseNo,
    RolloutId, Run, Serving, Share, Split, Stage, StrategyKind, Target,
};

use crate::planted::Bug;
use crate::{App, Instance, Phase, Rollout, Work, WorkStage};

/// The desired state of one app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The app's part of the snapshot; `None` while no release is live.
    pub section: Option<AppSection>,
    /// Commands to the hosts of its instances and works. They are idempotent, and repeated until the
    /// resulting fact has arrived.
    pub effects: Vec<(HostId, HostCommand)>,
    /// The files and values of the app that every host still has to keep.
    pub keep: Option<Box<Keep>>,
}

/// Returns the desired state of `app`.
pub fn plan(app: &App) -> Plan {
    let effect = |(number, instance): (&u64, &Instance)| {
        Some((instance.host.clone(), effect(app, *number, instance)?))
    };
    let of_work = |(number, work): (&u64, &Work)| {
        Some((work.host.clone(), effect_of_work(app, *number, work)?))
    };
    let of_instances = app.instances.iter().filter_map(effect);
    let effects = of_instances.chain(app.works.iter().filter_map(of_work)).collect();
    let keep = (!Bug::LeavesFiles.is_planted()).then(|| Box::new(keep(app)));
    Plan { section: section(app), effects, keep }
}

fn effect(app: &App, number: u64, instance: &Instance) -> Option<HostCommand> {
    let release = app.releases.get(&instance.release)?;
    let expect = match instance.stage {
        Stage::Joining => Expect::Fresh,
        Stage::Serving => Expect::Running,
        // A draining instance keeps running, and is probed, until it may be stopped.
        Stage::Draining if !instance.released => Expect::Running,
        Stage::Draining => {
            let grace = release.spec.drain.deadline;
            return Some(HostCommand::Stop { id: app.id(number), grace });
        }
        Stage::Gone => return None,
    };
    let launch = Launch {
        id: app.id(number),
        release: release.no,
        label: release.label.clone(),
        content: release.content,
        run: release.spec.run.clone(),
        serving: Some(Serving::new(
            &release.spec,
            release.conventions,
            instance.address.clone(),
            instance.health_address.clone(),
        )),
        token: None,
    };
    Some(HostCommand::Run { launch: Box::new(launch), expect })
}

/// Returns the command for a work. A work has its own command, and otherwise runs like an instance of
/// its release.
fn effect_of_work(app: &App, number: u64, work: &Work) -> Option<HostCommand> {
    let release = app.releases.get(&work.release)?;
    let expect = match work.stage {
        WorkStage::Starting => Expect::Fresh,
        WorkStage::Running => Expect::Running,
        WorkStage::Ending => {
            return Some(HostCommand::Stop { id: app.id(number), grace: Work::GRACE });
        }
    };
    let launch = Launch {
        id: app.id(number),
        release: release.no,
        label: release.label.clone(),
        content: release.content,
        run: Run { command: work.task.command.clone(), ..release.spec.run.clone() },
        serving: None,
        token: work.token,
    };
    Some(HostCommand::Run { launch: Box::new(launch), expect })
}

/// Returns what hosts have to keep for this app. The result is empty once the app is removed.
fn keep(app: &App) -> Keep {
    // A release that never had users keeps its files and values only while it is tried.
    let tried = app.rollout.as_ref().map(|rollout| rollout.to);
    let needs = |release: &&Release| {
        let no = release.no;
        let in_use = tried == Some(no) || app.standby.is_some_and(|standby| standby.release == no);
        let works = app.works.values().any(|work| work.release == no);
        release.service.keeps_files() || in_use || works || app.instances_of(no).next().is_some()
    };
    let needed = || app.releases.values().filter(needs);
    let instances = app.instances.keys().chain(app.works.keys());
    let instances = instances.chain(&app.remembered).chain(&app.remembered_works);
    let forgets = |no| Bug::ForgetsValues.is_planted() && app.live != Some(no);
    let env = needed().filter(|release| !forgets(release.no));
    let env = env.flat_map(|release| release.spec.run.env.values());
    Keep {
        app: app.name.clone(),
        releases: needed().map(|r| (r.no, r.content)).collect(),
        env: env.copied().collect(),
        instances: instances.map(|number| app.id(*number)).collect(),
        forget_state: app.forget_state.filter(|_| app.is_removed()),
        last_rollout: RolloutId(app.last_rollout),
    }
}

fn section(app: &App) -> Option<AppSection> {
    let live = app.releases.get(&app.live?)?;
    // What a rollout is about to stop is in no table any more, although it still serves.
    let is_closed = app.rollout.as_ref().is_some_and(|rollout| rollout.closed);
    let emptied = |arm: Arm| if is_closed { Arm { instances: Vec::new(), ..arm } } else { arm };
    Some(AppSection {
        app: app.name.clone(),
        route: live.spec.route.clone(),
        drain_deadline: live.spec.drain.deadline,
        split: split(app),
        maintenance: maintenance(app, live),
        arms: app.on_offer().filter_map(|release| arm(app, release)).map(emptied).collect(),
    })
}

/// Returns who gets the candidate while it has a part of the traffic.
fn split(app: &App) -> Option<Split> {
    let rollout = app.rollout.as_ref()?;
    let partly = rollout.share > Share::NONE && rollout.share < Share::ALL;
    let kind = &app.releases.get(&rollout.to)?.spec.strategy.kind;
    let cohort = match kind {
        StrategyKind::Canary { cohort, .. } => cohort.clone(),
        StrategyKind::BlueGreen { .. }
        | StrategyKind::Rolling { .. }
        | StrategyKind::Recreate { .. } => None,
    };
    partly.then_some(Split { rollout: rollout.id, candidate: rollout.to, cohort })
}

/// Returns the maintenance settings while the app is closed: by command, or by a rollout during which
/// nothing of the app runs.
fn maintenance(app: &App, live: &Release) -> Option<Maintenance> {
    if app.maintenance.is_some() {
        return app.maintenance.clone();
    }
    let rollout = app.rollout.as_ref().filter(|rollout| rollout.closed)?;
    match &app.releases.get(&rollout.to)?.spec.strategy.kind {
        StrategyKind::Recreate { page } => {
            Some(Maintenance { page: page.clone(), hold: live.spec.route.hold, allow: Vec::new() })
        }
        StrategyKind::BlueGreen { .. }
        | StrategyKind::Rolling { .. }
        | StrategyKind::Canary { .. } => None,
    }
}

fn arm(app: &App, no: ReleaseNo) -> Option<Arm> {
    let release = app.releases.get(&no)?;
    let instances = app
        .instances_of(no)
        .filter(|(_, instance)| {
            instance.stage == Stage::Serving
                || (Bug::RoutesToDraining.is_planted() && instance.stage == Stage::Draining)
        })
        .map(|(number, i)| Target {
            listeners: i.listeners.clone(),
            ..Target::new(app.id(number), i.address.clone())
        })
        .collect();
    let is_next_step = |r: &Rollout| r.to == no && r.phase == Phase::Starting;
    let share = match &app.rollout {
        Some(rollout) if Bug::ForgetsShare.is_planted() && is_next_step(rollout) => Share::NONE,
        Some(_) | None => app.share(no),
    };
    Some(Arm { release: no, label: release.label.clone(), share, instances })
}
