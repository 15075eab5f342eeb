//! The proxies of a world: requests, tables, reports. The first proxy is part of the server. Messages to the
//! others go over a network.

use std::sync::Arc;

use control::Event;
use model::{Generation, InstanceId, Snapshot};

use super::{WORKERS, World};
use crate::happening::{At, Happening};

pub(super) fn proxy_comes_back(world: &mut World, number: usize) {
    world.proxies[number].is_dead = false;
    report_traffic(world, number);
}

pub(super) fn tell_to_prepare(world: &mut World, snapshot: &Arc<Snapshot>) {
    if let [proxy] = &mut world.proxies[..] {
        proxy.prepare(snapshot);
        return;
    }
    for number in 0..world.proxies.len() {
        tell(world, number, Happening::Prepare(number, snapshot.clone()));
    }
}

pub(super) fn tell_to_commit(world: &mut World, generation: Generation) {
    world.checker.committed(generation, &world.proxies, world.now);
    if world.proxies.len() == 1 {
        return commit(world, 0, generation);
    }
    for number in 0..world.proxies.len() {
        tell(world, number, Happening::Commit(number, generation));
    }
}

/// Sends a message to one of several proxies.
fn tell(world: &mut World, number: usize, message: Happening) {
    if number > 0 && world.strikes(world.faults.lose) {
        return;
    }
    let takes = if number == 0 { 0 } else { world.rng.between(0, 5) };
    let proxy = &mut world.proxies[number];
    proxy.arrives = proxy.arrives.max(world.now + takes);
    let after = proxy.arrives - world.now;
    world.at(after, message);
}

pub(super) fn prepare(world: &mut World, number: usize, snapshot: &Arc<Snapshot>) {
    let proxy = &mut world.proxies[number];
    if !proxy.is_dead && proxy.prepare(snapshot) {
        report_traffic(world, number);
    }
}

pub(super) fn commit(world: &mut World, proxy: usize, generation: Generation) {
    if world.proxies[proxy].is_dead {
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
    if world.proxies[proxy].is_dead {
        return;
    }
    let report = world.proxies[proxy].report();
    if !world.strikes(world.faults.lose) {
        world.report(Event::Traffic(report));
    }
}
