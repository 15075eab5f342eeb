//! The proxies on machines of their own: they join the fleet, connect, die, and are cut off while users reach
//! them.

use control::Event;
use model::{Digest, MemberName, ProxyId, ProxyLink, Role};
use rollout::FleetAsk;

use super::{WORKERS, World, traffic};
use crate::happening::Happening;
use crate::proxy::Proxy;

/// Maximum time until control learns of a broken connection, in milliseconds.
const NOTICED: u64 = 3_000;
/// Maximum time until a proxy tries again to connect, in milliseconds.
const RETRIED: u64 = 3_000;
/// Maximum time until a proxy is a member, in milliseconds.
const JOINED: u64 = 1_000;

impl World {
    /// Adds a proxy on a machine of its own. It joins the fleet and connects.
    pub fn add_proxy(&mut self) {
        add(self);
    }

    /// Cuts the connection to a separate proxy for `lasts` milliseconds. Its users reach it all the same.
    pub fn cut_proxy(&mut self, number: usize, lasts: u64) {
        if number > 0 && number < self.proxies.len() {
            self.coverage.fault("cut-proxy", self.views.values().map(|view| &**view));
            cut(self, number, lasts);
        }
    }

    /// Kills a separate proxy, and brings it back after `back_in` milliseconds as another process.
    pub fn kill_proxy(&mut self, number: usize, back_in: u64) {
        kill(self, number, back_in);
    }
}

fn add(world: &mut World) {
    let number = world.proxies.len();
    let name: MemberName = format!("lb-{number}").parse().expect("it is a name");
    let digest = |salt: usize| -> Digest {
        format!("{:064x}", 2 * number + salt).parse().expect("it is a digest")
    };
    let (secret, key) = (digest(0), digest(1));
    world.proxies.push(Proxy::new(name.as_proxy(), WORKERS));
    world.ask_fleet(FleetAsk::Invite {
        role: Role::Proxy,
        name,
        secret,
        address: None,
        labels: Default::default(),
        replace: false,
    });
    world.run_for(JOINED);
    world.ask_fleet(FleetAsk::Join { secret, key });
    world.run_for(JOINED);
    connect(world, number);
    world.at(1_000, Happening::Heartbeat(number));
    world.run_for(JOINED);
}

pub(super) fn cut_all(world: &mut World, lasts: u64) {
    for number in 1..world.proxies.len() {
        cut(world, number, lasts);
    }
}

pub(super) fn heal_all(world: &mut World) {
    for number in 0..world.proxies.len() {
        if let Some(cut) = world.proxies[number].connection.cut {
            world.at(0, Happening::ProxyHeals(number, cut));
        }
    }
}

fn kill(world: &mut World, number: usize, back_in: u64) {
    let alive = world.proxies.get_mut(number).filter(|proxy| number > 0 && !proxy.is_dead);
    let Some(proxy) = alive else { return };
    proxy.is_dead = true;
    proxy.crash();
    world.coverage.fault("dead-proxy", world.views.values().map(|view| &**view));
    cut(world, number, back_in);
    world.at(back_in, Happening::ProxyComesBack(number));
}

pub(super) fn come_back(world: &mut World, number: usize) {
    world.proxies[number].is_dead = false;
    let takes = world.rng.between(0, RETRIED);
    world.at(takes, Happening::ProxyConnects(number));
}

/// Connects all separate proxies after a start of the server.
pub(super) fn connect_all(world: &mut World) {
    for number in 1..world.proxies.len() {
        let takes = world.rng.between(0, RETRIED);
        world.at(takes, Happening::ProxyConnects(number));
    }
}

pub(super) fn connect(world: &mut World, number: usize) {
    let proxy = &mut world.proxies[number];
    if world.is_down || proxy.is_dead || proxy.connection.cut.is_some() {
        return;
    }
    proxy.connection.is_up = true;
    let (id, link): (ProxyId, _) = (proxy.id.clone(), ProxyLink::Up(proxy.hello()));
    world.step(Event::ProxyLink { proxy: id, link });
    traffic::report_traffic(world, number);
}

pub(super) fn fall_silent(world: &mut World, number: usize, cut: u64) {
    let proxy = &mut world.proxies[number];
    if proxy.connection.cut == Some(cut) && std::mem::take(&mut proxy.connection.is_up) {
        let proxy = proxy.id.clone();
        world.step(Event::ProxyLink { proxy, link: ProxyLink::Silent });
    }
}

pub(super) fn heal(world: &mut World, number: usize, cut: u64) {
    if world.proxies[number].connection.cut == Some(cut) {
        world.proxies[number].connection.cut = None;
        let takes = world.rng.between(0, RETRIED);
        world.at(takes, Happening::ProxyConnects(number));
    }
}

fn cut(world: &mut World, number: usize, lasts: u64) {
    world.order += 1;
    let cut = world.order;
    world.proxies[number].connection.cut = Some(cut);
    let noticed = world.rng.between(0, NOTICED);
    world.at(noticed, Happening::ProxyUnheard(number, cut));
    world.at(lasts, Happening::ProxyHeals(number, cut));
}
