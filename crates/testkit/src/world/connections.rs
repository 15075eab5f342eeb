//! The connections between control and the agents of machines that are hosts of their own. They can be cut and
//! healed. A machine that dies is not heard either.

use std::collections::{BTreeMap, BTreeSet};

use control::Event;
use model::{HostId, Link};

use super::World;
use crate::happening::Happening;
use crate::hosts::HostNo;

/// Maximum time until control learns of a broken connection, in milliseconds.
const NOTICED: u64 = 3_000;
/// Maximum time until an agent tries again to connect, in milliseconds.
const RETRIED: u64 = 3_000;

/// The connections to the agents of other machines.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections {
    /// Hosts that control takes for connected.
    connected: BTreeSet<HostNo>,
    /// Hosts from which nothing arrives, with the number of the cut.
    cut: BTreeMap<HostNo, u64>,
    cuts: u64,
}

impl Connections {
    /// Returns the hosts that control takes for connected.
    pub fn all(&self) -> BTreeSet<HostNo> {
        self.connected.clone()
    }

    /// Ends all connections together with the server.
    pub fn break_all(&mut self) {
        self.connected.clear();
    }
}

pub(super) fn cut_link(world: &mut World, host: HostNo, lasts: u64) {
    if world.hosts.is_remote(host) {
        world.coverage.fault("cut-link", world.views.values().map(|view| &**view));
        cut(world, host, lasts);
    }
}

pub(super) fn cut_all(world: &mut World, lasts: u64) {
    world.coverage.fault("cut-all", world.views.values().map(|view| &**view));
    for host in world.hosts.remote() {
        cut(world, host, lasts);
    }
}

pub(super) fn heal_all(world: &mut World) {
    for (host, number) in world.connections.cut.clone() {
        world.at(0, Happening::Heal(host, number));
    }
}

pub(super) fn kill_host(world: &mut World, host: HostNo, back_in: u64) {
    if world.hosts.die(host) {
        world.coverage.fault("dead-host", world.views.values().map(|view| &**view));
        if world.hosts.is_remote(host) {
            cut(world, host, back_in);
        }
        world.at(back_in, Happening::ComeBack(host));
    }
}

/// Returns whether messages to and from this host arrive.
pub(super) fn arrives(world: &World, host: &HostId) -> bool {
    let Some(host) = world.hosts.number(host).filter(|host| world.hosts.is_remote(*host)) else {
        return true;
    };
    world.connections.connected.contains(&host) && !world.connections.cut.contains_key(&host)
}

/// Returns the hosts that control was told to be connected.
pub(super) fn heard(world: &World) -> BTreeSet<HostId> {
    let remote = world.connections.connected.iter().map(|host| world.hosts.name(*host));
    remote.chain([HostId::local()]).collect()
}

/// Connects the agents of all machines after a start of the server: at once when the world begins, otherwise
/// one after the other.
pub(super) fn connect_all(world: &mut World) {
    for host in world.hosts.remote() {
        let takes = if world.now == 0 { 0 } else { world.rng.between(0, RETRIED) };
        world.at(takes, Happening::Connect(host));
    }
}

pub(super) fn connect(world: &mut World, host: HostNo) {
    let is_dead = !world.hosts.is_alive(host);
    if world.is_down || is_dead || world.connections.cut.contains_key(&host) {
        return;
    }
    world.connections.connected.insert(host);
    let (name, hello) = (world.hosts.name(host), world.hosts.hello(host));
    world.step(Event::Link { host: name, link: Link::Up(hello) });
}

pub(super) fn fall_silent(world: &mut World, host: HostNo, number: u64) {
    let is_cut = world.connections.cut.get(&host) == Some(&number);
    if is_cut && world.connections.connected.remove(&host) {
        let host = world.hosts.name(host);
        world.step(Event::Link { host, link: Link::Silent });
    }
}

pub(super) fn heal(world: &mut World, host: HostNo, number: u64) {
    if world.connections.cut.get(&host) == Some(&number) {
        world.connections.cut.remove(&host);
        let takes = world.rng.between(0, RETRIED);
        world.at(takes, Happening::Connect(host));
    }
}

/// Brings a dead machine back, which reports what it finds. A remote one connects anew first.
pub(super) fn come_back(world: &mut World, host: HostNo) {
    let errands = world.hosts.come_back(host);
    world.follow(errands);
    if world.hosts.is_remote(host) {
        let takes = world.rng.between(0, RETRIED);
        world.at(takes, Happening::Connect(host));
    }
}

fn cut(world: &mut World, host: HostNo, lasts: u64) {
    world.connections.cuts += 1;
    let number = world.connections.cuts;
    world.connections.cut.insert(host, number);
    let noticed = world.rng.between(0, NOTICED);
    world.at(noticed, Happening::Unheard(host, number));
    world.at(lasts, Happening::Heal(host, number));
}
