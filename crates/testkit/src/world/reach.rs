//! The proxies of a world ask instances on other machines whether they reach them, as soon as control shows a new
//! one, and again with every heartbeat.

use std::collections::BTreeMap;
use std::net::IpAddr;

use model::{AppView, InstanceId, Stage};

use super::{World, traffic};
use crate::happening::Happening;
use crate::hosts::HostNo;
use crate::proxy::{Proxy, Reach};

/// Maximum time until a proxy has asked an instance, in milliseconds.
const ASKED: u64 = 50;

impl World {
    /// Lets a proxy reach the instances of a host no more, or again.
    pub fn block(&mut self, number: usize, host: HostNo) {
        let address = self.hosts.hello(host).address;
        let (now, Some(proxy)) = (self.now, self.proxies.get_mut(number)) else { return };
        if proxy.reach.blocked.remove(&address).is_none() {
            proxy.reach.blocked.insert(address, now);
        }
    }
}

/// Lets all proxies ask the instances of an app that is shown, if there is one that they have not asked yet.
pub(super) fn shown(world: &mut World, view: &AppView) {
    let targets = of_app(view);
    for number in 0..world.proxies.len() {
        let Proxy { reach: Reach { found, .. }, is_dead, .. } = &world.proxies[number];
        if !is_dead && targets.iter().any(|(id, _)| !found.contains_key(id)) {
            let takes = world.rng.between(5, ASKED);
            world.at(takes, Happening::Asks(number));
        }
    }
}

/// Lets a proxy ask all instances, and report if it has found anything new.
pub(super) fn asks(world: &mut World, number: usize) {
    if ask(world, number) {
        traffic::report_traffic(world, number);
    }
}

/// Lets a proxy ask all instances. Returns whether it has found anything new.
pub(super) fn ask(world: &mut World, number: usize) -> bool {
    let targets: BTreeMap<InstanceId, IpAddr> =
        world.views.values().flat_map(|view| of_app(view)).collect();
    let alive = world.hosts.alive().collect();
    let proxy = &mut world.proxies[number];
    !proxy.is_dead && proxy.reach.ask(&targets, &alive)
}

/// Lets all proxies reach everything.
pub(super) fn unblock_all(world: &mut World) {
    world.proxies.iter_mut().for_each(|proxy| proxy.reach.blocked.clear());
}

fn of_app(view: &AppView) -> Vec<(InstanceId, IpAddr)> {
    let stays = |stage: Stage| matches!(stage, Stage::Joining | Stage::Serving);
    let instances = view.arms().flat_map(|arm| &arm.instances);
    let instances = instances.filter(|instance| stays(instance.stage));
    let in_reach = instances.filter_map(|it| {
        let address = it.address.beyond_its_machine()?;
        Some((it.id.clone(), address.ip()))
    });
    in_reach.collect()
}
