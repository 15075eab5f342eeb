//! Invariants of what proxies may use, checked against what they really hold, whether control hears them or not.

use std::collections::BTreeSet;

use control::{Engine, Record};
use model::{Generation, InstanceId, ProxyId, Snapshot, Target, Timestamp};
use rollout::{App, Fact, Instance, Phase};

use crate::proxy::Proxy;
use crate::violation::Wrong;

/// No instance gets an address at which a proxy believes another one.
pub fn addresses(records: &[Record], proxies: &[Proxy]) -> Option<Wrong> {
    let minted = records.iter().flat_map(|record| {
        let minted = record.facts().iter().flat_map(Fact::minted);
        minted.map(|minted| (record.app(), minted))
    });
    let (mut minted, remote) = (minted, proxies.get(1..).unwrap_or_default());
    minted.find_map(|(name, minted)| {
        let is_other = |used: &&Target| {
            let is_it = Some(&used.id.app) == name && used.id.number == minted.number;
            used.address == minted.address && !is_it
        };
        let (proxy, other) =
            remote.iter().find_map(|proxy| Some((proxy, proxy.uses().find(is_other)?)))?;
        let (address, proxy, other) = (&minted.address, &proxy.id, &other.id);
        let what = format!("{address} is given away, and {proxy} believes {other} there");
        Some(("address", what))
    })
}

/// I5: no proxy uses a snapshot before all of them have prepared their tables, except those that are late or
/// lost. Those in `hurried` take users back, and do not wait for slow proxies.
pub fn committed(
    generation: Generation,
    hurried: &BTreeSet<Generation>,
    engine: &Engine,
    proxies: &[Proxy],
) -> Option<Wrong> {
    // One that is about to join is not known yet.
    let is_absent = |proxy: &Proxy| {
        let known = engine.proxies().remote.iter().find(|it| it.name == proxy.id);
        let is_waited_for = match proxy.id == ProxyId::local() {
            true => !proxy.is_dead,
            false => known.is_some_and(|it| it.absence.is_none()),
        };
        !is_waited_for
    };
    let waits = |proxy: &&Proxy| proxy.made < generation && !is_absent(proxy);
    let proxy = proxies.iter().find(waits).filter(|_| !hurried.contains(&generation))?;
    Some(("I5", format!("{generation} is used, and {} has only {}", proxy.id, proxy.made)))
}

/// I2: an instance is told to stop only when it is idle on all proxies or its deadline has passed, and never
/// while a proxy on another machine may send it requests, whether that proxy is heard or not.
pub fn stopping(
    (id, app, instance): (&InstanceId, &App, &Instance),
    proxies: &[Proxy],
    now: Timestamp,
) -> Option<Wrong> {
    let holds = |snapshot: &Snapshot| {
        let arms = snapshot.apps.iter().flat_map(|section| &section.arms);
        arms.flat_map(|arm| &arm.instances).any(|target| target.id == *id)
    };
    let mut remote = proxies.iter().skip(1).filter(|_| !is_given_up(app, instance, instance.since));
    if let Some(proxy) = remote.find(|proxy| proxy.uses().any(|used| used.id == *id)) {
        return Some(("I2", format!("{id} was told to stop, and {} uses it", proxy.id)));
    }
    let mut workers = proxies.iter().flat_map(|proxy| &proxy.workers);
    let absent = !workers.any(|worker| holds(&worker.snapshot));
    let in_flight: u32 = proxies.iter().map(|proxy| proxy.in_flight(id)).sum();
    let is_early = !(absent && in_flight == 0) && now < overdue(app, instance);
    let what = || format!("{id} was told to stop: absent {absent}, {in_flight} in flight");
    is_early.then(|| ("I2", what()))
}

/// No instance is in the table of a proxy on another machine that cannot reach it.
pub fn sent(snapshot: &Snapshot, proxy: &Proxy) -> Option<Wrong> {
    let arms = snapshot.apps.iter().flat_map(|section| &section.arms);
    let mut targets = arms.flat_map(|arm| &arm.instances);
    let wrong = targets.find(|target| target.address.beyond_its_machine().is_none())?;
    let (id, address, proxy) = (&wrong.id, &wrong.address, &proxy.id);
    Some(("elsewhere", format!("{proxy} gets {id} at {address}")))
}

/// Control believes of no instance that a proxy on another machine uses it, if that cannot reach it.
pub fn believed(engine: &Engine) -> Option<Wrong> {
    let instances = engine.apps().flat_map(|app| {
        let at_home = |i: &Instance| i.address.beyond_its_machine().is_none();
        let there = app.instances.iter().filter(move |(_, i)| at_home(i));
        there.map(|(number, _)| app.id(*number))
    });
    let (mut instances, remote) = (instances, &engine.proxies().remote);
    instances.find_map(|id| {
        let user = remote.iter().find(|proxy| proxy.tables.may_use(&id))?;
        Some(("elsewhere", format!("{id} is kept for {}, which never had it", user.name)))
    })
}

/// Recreate: nothing is stopped while a proxy on another machine uses it, so that the app can be opened again with
/// what it had.
pub fn let_go(app: &App, fact: &Fact, proxies: &[Proxy]) -> Option<Wrong> {
    let Fact::Draining { instances, at, .. } = fact else { return None };
    app.rollout.as_ref().filter(|rollout| rollout.closed)?;
    let mut remote = proxies.iter().skip(1);
    let is_kept = |number: &u64| {
        let instance = app.instances.get(number);
        instance.is_some_and(|instance| !is_given_up(app, instance, *at))
    };
    let kept: Vec<&u64> = instances.iter().filter(|number| is_kept(number)).collect();
    let is_drained = |used: &Target| used.id.app == app.name && kept.contains(&&used.id.number);
    let used = remote.find_map(|proxy| Some((proxy, proxy.uses().find(|it| is_drained(it))?)));
    let (proxy, used) = used?;
    let (id, proxy) = (&used.id, &proxy.id);
    Some(("recreate", format!("{id} is let go by a rollout, and {proxy} uses it")))
}

/// Returns whether the instance may be let go by then although a proxy uses it: it is of a candidate that is taken
/// back, and the app has been closed for the time of a start. Control does that only if nothing of it is healthy.
fn is_given_up(app: &App, instance: &Instance, at: Timestamp) -> bool {
    let Some(rollout) = app.rollout.as_ref().filter(|rollout| rollout.closed) else { return false };
    let patience = app.releases.get(&rollout.to).map(|r| r.spec.health.start_deadline);
    matches!(rollout.phase, Phase::Reverting { .. })
        && rollout.to == instance.release
        && at >= rollout.since.after(patience.unwrap_or_default())
}

/// Returns the time at which a draining instance may be stopped regardless of requests in flight.
pub fn overdue(app: &App, instance: &Instance) -> Timestamp {
    let drain = app.releases.get(&instance.release).map(|r| r.spec.drain.deadline);
    instance.since.after(drain.unwrap_or_default())
}

/// Returns a proxy that does not use the newest snapshot. The last one may be on its way.
pub fn behind(engine: &Engine, proxies: &[Proxy]) -> Option<Wrong> {
    let newest = engine.snapshot()?.generation;
    let is_behind = |proxy: &&Proxy| {
        let uses = proxy.acknowledged();
        uses.term != newest.term || uses.counter + 1 < newest.counter
    };
    let behind = proxies.iter().filter(|proxy| !proxy.is_dead).find(is_behind)?;
    Some(("end", format!("{} uses {}, not {newest}", behind.id, behind.acknowledged())))
}
