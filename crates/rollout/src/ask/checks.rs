//! Checks of commands that do not concern the phase of a rollout: a host must be able to run the
//! release, and enough instances must carry the app meanwhile. Changes nothing.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use model::{
    AppSpec, HostDuty, HostId, HostLeftOut, Obstacle, Order, Reach, ReleaseNo, Share, StrategyKind,
};

use super::batch::FactBatch;
use super::{Desk, Refusal};
use crate::readiness::{can_take_over, ready};
use crate::{Fact, HostSeen, Instance, Phase};

/// The number of releases of an app, besides those on offer, that are kept for proxies that are late or lost.
const KEPT_FOR_PROXIES: usize = 2;

/// Refuses a release that none of the hosts that take instances can run, before anything is begun.
pub(super) fn can_run(desk: &Desk, spec: &AppSpec) -> Result<(), Refusal> {
    let mut taking = desk.seen.hosts.values().filter(|host| host.takes_instances()).peekable();
    if !desk.seen.hosts.is_empty() && taking.peek().is_none() {
        let hint = "`segue fleet` shows why; `segue fleet uncordon NAME` lets one take them again";
        return Err(desk.refused("no host takes new instances", hint));
    }
    let mut obstacles = taking.map(|host| host.obstacle(spec));
    let first = obstacles.next().flatten();
    let Some(first) = first.filter(|_| obstacles.all(|obstacle| obstacle.is_some())) else {
        return Ok(());
    };
    let could = |host: &HostSeen| host.duty.is_active() && host.obstacle(spec).is_none();
    let unheard = desk.seen.hosts.iter().filter(|(_, host)| host.reach != Reach::Here);
    let unheard: Vec<&str> =
        unheard.filter(|(_, host)| could(host)).map(|(id, _)| id.as_str()).collect();
    if unheard.is_empty() {
        let Obstacle { why, hint } = first;
        return Err(desk.refused(&why, &hint));
    }
    let why = format!("no host that could run it is heard: {}", unheard.join(", "));
    let hint =
        "`segue fleet` shows since when; after a start of the server, hosts connect within seconds";
    Err(desk.refused(&why, hint))
}

/// The hosts that a release is meant for.
pub(super) struct MeantHosts {
    /// The hosts that it can be placed on.
    pub taking: Vec<HostId>,
    /// All others.
    pub left_out: Vec<HostLeftOut>,
}

/// Returns the hosts that a release is meant for. Refuses it if these are less than half of the hosts that
/// it is meant for: what is left could not carry the app.
pub(super) fn hosts_for(desk: &Desk, spec: &AppSpec) -> Result<MeantHosts, Refusal> {
    // A host that gets nothing at all by its settings is not one of them.
    let is_meant = |host: &HostSeen| host.is_meant(spec) && host.abilities.closed.is_none();
    let meant = || desk.seen.hosts.iter().filter(|(_, host)| is_meant(host));
    let left_out = |host: &HostSeen| match (host.reach, host.duty) {
        (Reach::Silent { .. } | Reach::Lost { .. }, _) => Some("it is not heard".into()),
        (Reach::Here, HostDuty::Cordoned) => Some("it is cordoned".into()),
        (Reach::Here, HostDuty::Draining) => Some("it is drained".into()),
        (Reach::Here, HostDuty::Active) => host.obstacle(spec).map(|obstacle| obstacle.why),
    };
    let mut hosts = MeantHosts { taking: Vec::new(), left_out: Vec::new() };
    for (id, host) in meant() {
        match left_out(host) {
            None => hosts.taking.push(id.clone()),
            Some(why) => hosts.left_out.push(HostLeftOut { host: id.clone(), why }),
        }
    }
    let (left, all) = (hosts.taking.len(), hosts.taking.len() + hosts.left_out.len());
    if left * 2 < all {
        let named = |out: &HostLeftOut| format!("{} ({})", out.host, out.why);
        let others: Vec<String> = hosts.left_out.iter().map(named).collect();
        let why =
            format!("only {left} of the {all} hosts meant for it take it: {}", others.join(", "));
        let hint = "`segue fleet uncordon NAME` lets a host take instances again, `segue fleet remove NAME` \
                    takes one out of the fleet; `on` in [placement] says which hosts are meant";
        return Err(desk.refused(&why, hint));
    }
    Ok(hosts)
}

/// Refuses to start instances of a stored release that no host can run.
pub(super) fn can_start(desk: &Desk, release: ReleaseNo) -> Result<(), Refusal> {
    let stored = desk.app.releases.get(&release);
    stored.map_or(Ok(()), |stored| can_run(desk, &stored.spec))
}

/// Refuses to replace a rollout if the old release would be left with fewer instances than it needs. If
/// the candidate has none that serve, the old release gets the traffic with whatever it has in any case.
pub(super) fn check_whole(desk: &Desk, batch: &FactBatch) -> Result<(), Refusal> {
    let Some(before) = &desk.app.rollout else { return Ok(()) };
    let Some(from) = before.from.filter(|_| before.share > Share::NONE || before.closed) else {
        return Ok(());
    };
    let ready_from = ready(&batch.app, desk.seen, from);
    let no_loss = !before.closed && ready(desk.app, desk.seen, before.to) == 0;
    if can_take_over(&batch.app, desk.seen, before.to, from).is_ok() || no_loss {
        return Ok(());
    }
    let label = desk.app.label(from);
    let why = format!("only {ready_from} instances of {label} are left to go back to");
    let hint = if before.closed {
        "wait for the way back; or deploy by `recreate`, which needs none of them"
    } else if matches!(before.phase, Phase::Reverting { .. }) {
        "wait for the way back; `segue status` says what it waits for"
    } else {
        "`segue abort` goes back in order; deploy again after it"
    };
    Err(desk.refused(&why, hint))
}

/// Refuses to stop all of an app before anything of it is started, while an instance is on a host that is
/// not heard. The app would be closed until the host returns.
pub(super) fn check_heard(desk: &Desk) -> Result<(), Refusal> {
    let away = |host: &HostId| desk.seen.hosts.get(host).is_some_and(|it| it.reach != Reach::Here);
    let mut instances = desk.app.instances.iter();
    let Some((number, Instance { host, .. })) = instances.find(|(_, i)| away(&i.host)) else {
        return Ok(());
    };
    let id = desk.app.id(*number);
    let why = format!("{id} is on {host}, which is not heard: it may run and cannot be stopped");
    let hint =
        format!("wait until the host is heard; if it never will be, `segue fleet remove {host}`");
    Err(desk.refused(&why, &hint))
}

/// Refuses to move users forward while no proxy is here that could do so.
pub(super) fn check_proxy_here(desk: &Desk) -> Result<(), Refusal> {
    if desk.seen.proxies.here > 0 {
        return Ok(());
    }
    let hint = "`segue fleet` shows why none is heard; after a start of the server, proxies connect within seconds";
    Err(desk.refused("no proxy is here to send users to it", hint))
}

/// Refuses a rollout that has to stop instances which a proxy that is late, lost or not heard just now may use,
/// and one after which too many releases would have to be kept for such proxies. A recreate stops everything.
pub(super) fn check_proxies(desk: &Desk, batch: &FactBatch) -> Result<(), Refusal> {
    let app = &batch.app;
    let Some(rollout) = &app.rollout else { return Ok(()) };
    let users = app.instances.iter().filter_map(|(number, instance)| {
        let id = app.id(*number);
        let user = desk.seen.unheard_user(&id)?;
        Some((id, instance, user))
    });
    let users: Vec<_> = users.collect();
    let Some((_, _, first)) = users.first() else { return Ok(()) };
    let proxies: BTreeSet<&str> = users.iter().map(|(_, _, proxy)| proxy.name.as_str()).collect();
    let proxies = proxies.into_iter().collect::<Vec<_>>().join(", ");
    let hint = format!(
        "wait until it is heard again; if it never will be, `segue fleet remove {}`",
        first.name
    );
    let kind = app.releases.get(&rollout.to).map(|release| &release.spec.strategy.kind);
    let is_stopped = |i: &Instance| match kind {
        Some(StrategyKind::Recreate { .. }) => rollout.kind.renews() || i.release != rollout.to,
        Some(StrategyKind::Rolling { order: Order::InPlace, .. }) => {
            Some(i.release) == rollout.from
        }
        Some(
            StrategyKind::Rolling { .. }
            | StrategyKind::BlueGreen { .. }
            | StrategyKind::Canary { .. },
        )
        | None => false,
    };
    if let Some((id, _, proxy)) = users.iter().find(|(_, i, _)| is_stopped(i)) {
        let why = format!(
            "{} is not heard and may send users to {id}, which would have to stop first",
            proxy.name
        );
        return Err(desk.refused(&why, &hint));
    }
    let stays = |release: &ReleaseNo| *release == rollout.to || rollout.from == Some(*release);
    let kept: BTreeSet<ReleaseNo> = users.iter().map(|(_, i, _)| i.release).collect();
    let kept: Vec<ReleaseNo> = kept.into_iter().filter(|release| !stays(release)).collect();
    if kept.len() <= KEPT_FOR_PROXIES {
        return Ok(());
    }
    let labels: Vec<String> = kept.iter().map(|release| app.label(*release).to_string()).collect();
    let why = format!(
        "{proxies} is not heard and may send users to {}; at most {KEPT_FOR_PROXIES} releases are kept for that",
        labels.join(", ")
    );
    Err(desk.refused(&why, &hint))
}

/// Refuses a rollout that cannot keep the floor (I3). This concerns a rolling rollout in place, judged
/// by the actual number of instances, whatever the app file says.
pub(super) fn check_floor(desk: &Desk, batch: &FactBatch) -> Result<(), Refusal> {
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
    let why =
        format!("a batch of {size} in place of {replicas} would leave no instance to serve with");
    let scale = format!("`segue scale {} {}`", app.name, size.saturating_add(1));
    // A rollback takes the strategy of the stored release. While a scale is set, the number in the app
    // file has no effect.
    let stored = batch.facts.iter().any(
        |fact| matches!(fact, Fact::Started(s) if s.release.is_none() && s.strategy.is_none()),
    );
    let hint = match (stored, app.scale) {
        (true, _) => format!("first {scale}"),
        (false, Some(_)) => format!("first {scale}; or let new ones start with `surge = true`"),
        (false, None) => "`surge = true` starts new instances first; or use more replicas".into(),
    };
    Err(desk.refused(&why, &hint))
}
