//! Starts control in a world, with the server or alone. Control reads the log and repeats the desired state.

use control::{Engine, SteadyClock};
use model::{HostId, Millis, ProxyId, Timestamp};

use super::World;
use crate::happening::Happening;
use crate::hosts::{HostNo, Hosts};

pub(super) fn start(world: &mut World) {
    let with_server = std::mem::take(&mut world.is_down);
    world.epoch += u64::from(with_server);
    world.checker.restarting(&mut world.disk);
    let recovered = world.disk.open();
    let term = world.checker.term(recovered.term);
    // A server whose proxy is dead was started without one.
    let own = [ProxyId::local()];
    let own = if world.proxies[0].is_dead { &[][..] } else { &own[..] };
    let engine = match Engine::recover(term, own, &recovered) {
        Ok(engine) => engine,
        Err(error) => return world.checker.unreadable(&error, world.now),
    };
    let foreign = std::mem::take(&mut world.foreign).into_iter();
    let taken = foreign.filter(|_| !with_server).map(|id| (id, "taken".to_owned()));
    let mut engine = engine.with_host(HostId::local(), world.hosts.hello(HostNo(0)));
    // Agents stay connected to a server that keeps running.
    for host in world.connections.all() {
        engine = engine.with_host(world.hosts.name(host), world.hosts.hello(host));
    }
    for proxy in world.proxies.iter().filter(|proxy| proxy.connection.is_up) {
        engine = engine.with_proxy(&proxy.id, proxy.hello());
    }
    let mut engine = engine.with_strangers(taken).limited_to(world.most_apps);
    let wall = Timestamp(world.now + world.wall);
    world.clock = SteadyClock::new(wall, engine.last_fact(), Millis(world.now));
    let now = world.clock.now(Millis(world.now));
    let commands = engine.begin(now);
    world.checker.recovered(&engine, world.now);
    let wake = engine.wake_at();
    world.engine = Some(engine);
    world.carry_out(commands, now);
    world.schedule_wake(wake, now);
    if with_server {
        for proxy in 0..world.proxies.len() {
            world.at(1_000, Happening::Heartbeat(proxy));
        }
        super::connections::connect_all(world);
        super::proxies::connect_all(world);
    }
}

impl World {
    /// Restarts the server with an address that other machines reach. What runs stays where it listens.
    pub fn restart_with_address(&mut self) {
        self.hosts.local_address = Hosts::ADDRESS;
        self.crash(true, 1);
        // It may have been down already, and for longer.
        while self.is_down && self.violation().is_none() {
            self.run_for(100);
        }
    }
}
