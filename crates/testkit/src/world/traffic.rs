//! The proxies of a world: requests, tables, reports. The first proxy is part of the server. Messages to the
//! others go over a network.

use std::sync::Arc;

use control::Event;
use model::{Generation, InstanceId, ProxyCommand, Snapshot, ToProxy};

use super::{WORKERS, World, watch};
use crate::happening::{At, Happening};

/// Sends a command to a proxy. Those on other machines may be cut off.
pub(super) fn tell(world: &mut World, to: ToProxy) {
    let Some(number) = world.proxies.iter().position(|proxy| proxy.id == to.proxy) else { return };
    // What control believes: a proxy may be about to join.
    let is_alone = world.engine.as_ref().is_none_or(|it| it.proxies().remote.is_empty());
    match to.command {
        ProxyCommand::Prepare(snapshot) if is_alone => {
            world.proxies[0].prepare(&snapshot);
        }
        ProxyCommand::Prepare(snapshot) => {
            watch::sent(world, number, &snapshot);
            send(world, number, Happening::Prepare(number, snapshot))
        }
        ProxyCommand::Commit(generation) => {
            watch::committed(world, generation);
            match is_alone {
                true => commit(world, 0, generation),
                false => send(world, number, Happening::Commit(number, generation)),
            }
        }
        ProxyCommand::Health(table) if arrives(world, number) => {
            world.proxies[number].take_health(&table);
        }
        ProxyCommand::Health(_) => {}
    }
}

/// Sends a message to one of several proxies.
fn send(world: &mut World, number: usize, message: Happening) {
    if !arrives(world, number) || (number > 0 && world.strikes(world.faults.lose)) {
        return;
    }
    let takes = if number == 0 { 0 } else { world.rng.between(0, 5) };
    let proxy = &mut world.proxies[number];
    proxy.connection.arrives = proxy.connection.arrives.max(world.now + takes);
    let after = proxy.connection.arrives - world.now;
    world.at(after, message);
}

/// Returns whether messages to and from this proxy arrive. The first one is part of the server.
fn arrives(world: &World, number: usize) -> bool {
    let proxy = &world.proxies[number];
    number == 0 || (proxy.connection.is_up && proxy.connection.cut.is_none() && !proxy.is_dead)
}

pub(super) fn prepare(world: &mut World, number: usize, snapshot: &Arc<Snapshot>) {
    if arrives(world, number) && world.proxies[number].prepare(snapshot) {
        report_traffic(world, number);
    }
}

pub(super) fn commit(world: &mut World, proxy: usize, generation: Generation) {
    if !arrives(world, proxy) {
        return;
    }
    let Some(snapshot) = world.proxies[proxy].commit(generation) else { return };
    let epoch = world.proxies[proxy].epoch;
    for worker in 0..WORKERS {
        let slow = world.strikes(world.faults.slow_swap);
        let takes = if slow { world.rng.between(500, 4_000) } else { world.rng.between(0, 3) };
        let at = At { proxy, epoch, worker };
        world.at(takes, Happening::Swap(at, snapshot.clone()));
    }
}

pub(super) fn swap(world: &mut World, at: At, snapshot: Arc<Snapshot>) {
    let proxy = &mut world.proxies[at.proxy];
    if proxy.epoch != at.epoch {
        return;
    }
    let before = proxy.acknowledged();
    proxy.swap(at.worker, snapshot);
    if proxy.acknowledged() > before {
        report_traffic(world, at.proxy);
    }
}

pub(super) fn done(world: &mut World, at: At, id: &InstanceId) {
    let proxy = &mut world.proxies[at.proxy];
    if proxy.epoch != at.epoch {
        return;
    }
    proxy.done(at.worker, id);
    if proxy.in_flight(id) == 0 {
        report_traffic(world, at.proxy);
    }
}

/// Scrapes a proxy, if it is alive, and again two seconds later.
pub(super) fn scrape(world: &mut World, number: usize) {
    world.at(2_000, Happening::Scrape(number));
    let is_down = number == 0 && world.is_down;
    let Some(proxy) = world.proxies.get_mut(number).filter(|proxy| !proxy.is_dead && !is_down)
    else {
        return;
    };
    let scraped = proxy.scrape();
    let wrong = world.checker.counts.check_scrape((number, proxy.epoch), &scraped);
    world.checker.found(wrong, world.now);
}

pub(super) fn report_traffic(world: &mut World, proxy: usize) {
    if !arrives(world, proxy) {
        return;
    }
    let report = world.proxies[proxy].report();
    if !world.strikes(world.faults.lose) {
        world.report(Event::Traffic(report));
    }
}
