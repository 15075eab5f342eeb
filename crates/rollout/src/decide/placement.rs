//! Chooses the host of a new instance and its address there.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::SocketAddr;

use model::{Address, HostId, Listen, ProbePort, Reach, Release, Stage};

use crate::planted::Bug;
use crate::{App, HostSeen, Instance, Minted, Observed};

/// Places new instances of one app, one release after the other, until addresses run out.
pub(crate) struct Placement<'a> {
    app: &'a App,
    hosts: BTreeMap<&'a HostId, Room<'a>>,
    /// The last number given to an instance.
    number: u64,
}

/// A host and its remaining ports.
struct Room<'a> {
    host: &'a HostSeen,
    ports: Vec<u16>,
}

impl<'a> Placement<'a> {
    /// Begins with the ports that are free now, without those that this decision has already given to
    /// instances of the app.
    pub fn new(app: &'a App, seen: &Observed<'a>) -> Self {
        let held: BTreeSet<&Address> =
            app.instances.values().flat_map(Instance::addresses).collect();
        let room = |(id, host): (&'a HostId, &'a HostSeen)| {
            let is_free =
                |port: &&u16| !held.contains(&Address::Tcp(SocketAddr::new(host.address, **port)));
            // Ports are taken from the end, so the best one comes last.
            let ports = host.free_ports.iter().filter(is_free).rev().copied().collect();
            (id, Room { host, ports })
        };
        Self { app, hosts: taking(seen).map(room).collect(), number: app.last_instance }
    }

    /// Places `count` instances of a release, or fewer if addresses run out. Each instance goes to the
    /// host with the fewest instances of this release, then the fewest instances of the app, then the
    /// first name. No host thus has two instances while another has none. Hosts that the release does not
    /// want, and those that cannot run it, are left out. If no host can run it, all that it wants remain,
    /// and the host itself reports why.
    pub fn place(&mut self, release: &Release, count: usize) -> Vec<Minted> {
        let mut load = self.load(release);
        load.retain(|host, _| {
            let room = self.hosts.get(*host);
            room.is_some_and(|room| room.host.is_meant(&release.spec))
                && !self.is_aside(host, release)
        });
        let can_run = |host: &&HostId| {
            let room = self.hosts.get(*host);
            room.is_some_and(|room| room.host.obstacle(&release.spec).is_none())
        };
        if load.keys().any(can_run) {
            load.retain(|host, _| can_run(host));
        }
        let mut placed = Vec::new();
        while placed.len() < count {
            let next = (load.iter())
                .filter(|(host, _)| self.hosts.get(*host).is_some_and(|room| room.fits(release)))
                .min_by_key(|(host, load)| (self.is_avoided(host), **load, **host))
                .map(|(host, _)| *host);
            let Some(host) = next else { break };
            let Some(minted) = self.mint(host, release) else { break };
            load.entry(host).and_modify(|(of_release, of_app)| {
                *of_release += 1;
                *of_app += 1;
            });
            placed.push(minted);
        }
        placed
    }

    /// Counts, for each host, the instances of the release and those of the app. Draining instances do
    /// not count.
    fn load(&self, release: &Release) -> BTreeMap<&'a HostId, (usize, usize)> {
        let mut load: BTreeMap<&'a HostId, (usize, usize)> =
            self.hosts.keys().map(|host| (*host, (0, 0))).collect();
        for instance in self.app.instances.values().filter(|i| i.stage < Stage::Draining) {
            let Some((of_release, of_app)) = load.get_mut(&instance.host) else { continue };
            *of_release += usize::from(instance.release == release.no && !instance.doomed);
            *of_app += 1;
        }
        load
    }

    /// Returns whether the last rollout could not start its release on the host.
    fn is_avoided(&self, host: &HostId) -> bool {
        self.app.avoided.iter().any(|avoided| avoided.host == *host)
    }

    /// Returns whether the rollout that brings the release in goes on without the host.
    fn is_aside(&self, host: &HostId, release: &Release) -> bool {
        let rollout = self.app.rollout.as_ref().filter(|rollout| rollout.to == release.no);
        rollout.is_some_and(|rollout| rollout.budget.is_aside(host))
            && !Bug::PlacesOnHostsAside.is_planted()
    }

    fn mint(&mut self, host: &'a HostId, release: &Release) -> Option<Minted> {
        let id = self.app.id(self.number + 1);
        let room = self.hosts.get_mut(host)?;
        let mut port = || {
            let port = room.ports.pop()?;
            Some(Address::Tcp(SocketAddr::new(room.host.address, port)))
        };
        let address = match release.spec.run.listen {
            Listen::Unix => room.host.abilities.sockets.address(&id),
            Listen::Port => port()?,
        };
        let health_address = match release.spec.health.port {
            ProbePort::Own => Some(port()?),
            ProbePort::Same => None,
        };
        self.number = id.number;
        Some(Minted { number: id.number, host: host.clone(), address, health_address })
    }
}

/// Returns the host for a work: of the hosts that can run the release, the one with the fewest works of
/// the app. If no host can run the release, all that take instances are considered.
pub(crate) fn host_for_work<'a>(
    app: &App,
    seen: &Observed<'a>,
    release: &Release,
) -> Option<&'a HostId> {
    let works = |host: &HostId| app.works.values().filter(|work| work.host == *host).count();
    let meant = || taking(seen).filter(|(_, host)| host.is_meant(&release.spec));
    let able = meant().filter(|(_, host)| host.obstacle(&release.spec).is_none());
    let best = able.map(|(id, _)| id).min_by_key(|id| works(id));
    best.or_else(|| meant().map(|(id, _)| id).min_by_key(|id| works(id)))
}

/// Returns the hosts that take new instances.
fn taking<'a>(seen: &Observed<'a>) -> impl Iterator<Item = (&'a HostId, &'a HostSeen)> + use<'a> {
    let takes = |host: &HostSeen| {
        let is_heard = host.reach == Reach::Here || Bug::PlacesOnLostHosts.is_planted();
        is_heard && (host.duty.is_active() || Bug::PlacesOnCordonedHosts.is_planted())
    };
    seen.hosts.iter().filter(move |(_, host)| takes(host))
}

impl Room<'_> {
    /// Returns whether there are addresses for one more instance of this release.
    fn fits(&self, release: &Release) -> bool {
        let own = usize::from(release.spec.run.listen == Listen::Port);
        let probed = usize::from(release.spec.health.port == ProbePort::Own);
        self.ports.len() >= own + probed
    }
}
