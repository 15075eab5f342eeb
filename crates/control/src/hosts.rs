//! The hosts of the fleet as control knows them: the data for placement, and the ports of each host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use model::{Address, AppName, HostAbilities, HostId, Timestamp};
use rollout::{App, Fact, Fleet, FleetFact, HostSeen, Instance, Minted};

use crate::ports::Ports;
use crate::record::Record;

/// All hosts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hosts {
    fleet: Fleet,
    /// The agents' reports about their hosts.
    said: BTreeMap<HostId, Said>,
    /// Hosts that have joined and whose agent is present. New instances may be placed on them.
    seen: BTreeMap<HostId, HostSeen>,
    ports: BTreeMap<HostId, Ports>,
}

/// An agent's report about its host.
#[derive(Clone, Debug)]
struct Said {
    address: IpAddr,
    abilities: HostAbilities,
}

impl Hosts {
    /// Returns the hosts of a recovered fleet.
    pub fn new(fleet: Fleet) -> Self {
        Self { fleet, ..Self::default() }
    }

    /// Records that the agent of this host is present.
    pub fn said(&mut self, host: HostId, address: IpAddr, abilities: HostAbilities) {
        self.said.insert(host, Said { address, abilities });
        self.look();
    }

    /// Returns facts for hosts whose agent is present and that have not joined yet.
    pub fn newcomers(&self, now: Timestamp) -> Vec<FleetFact> {
        let new = self.said.iter().filter(|(host, _)| !self.fleet.hosts.contains_key(host));
        let joins = |(host, said): (&HostId, &Said)| FleetFact::HostJoined {
            host: host.clone(),
            address: said.address,
            at: now,
        };
        new.map(joins).collect()
    }

    /// Folds a fact of the fleet.
    pub fn apply(&mut self, fact: &FleetFact) {
        self.fleet.apply(fact);
        self.look();
    }

    /// Returns the state of the fleet; for checkpoints.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Returns the hosts that instances may be placed on.
    pub fn seen(&self) -> &BTreeMap<HostId, HostSeen> {
        &self.seen
    }

    /// Takes the free ports that a host named. Returns whether there are more than before.
    pub fn offer(&mut self, host: &HostId, free: &[u16], used: &BTreeSet<u16>) -> bool {
        let more = self.ports.entry(host.clone()).or_default().offer(free, used);
        self.refresh(host);
        more
    }

    /// Records that the addresses of these instances were assigned.
    pub fn used(&mut self, minted: &[Minted]) {
        for minted in minted {
            let Some(ports) = self.ports.get_mut(&minted.host) else { continue };
            minted.addresses().for_each(|address| ports.used(address));
            self.refresh(&minted.host);
        }
    }

    /// Lets the ports of a Gone instance rest, at least until the app's state of `version` is
    /// acknowledged.
    pub fn rest(&mut self, instance: &Instance, app: &AppName, version: u64, now: Timestamp) {
        let ports = self.ports.entry(instance.host.clone()).or_default();
        instance.addresses().for_each(|address| ports.rest(address, app, version, now));
    }

    /// Records that every worker acknowledged the app's state of that version.
    pub fn acknowledged(&mut self, app: &AppName, version: u64) {
        self.ports.values_mut().for_each(|ports| ports.acknowledged(app, version));
    }

    /// Returns the hosts to ask for ports, and the ports that each has to leave out.
    pub fn questions(
        &mut self,
        now: Timestamp,
        used: impl Fn(&HostId) -> BTreeSet<u16>,
    ) -> Vec<(HostId, Vec<u16>)> {
        let mut questions = Vec::new();
        for host in self.seen.keys() {
            let ports = self.ports.entry(host.clone()).or_default();
            let except = ports.want_more(now, || used(host));
            questions.extend(except.map(|except| (host.clone(), except)));
        }
        questions
    }

    /// Returns the ports that rest after use.
    pub fn resting_ports(&self) -> impl Iterator<Item = (&HostId, u16)> {
        let all = self.ports.iter();
        all.flat_map(|(host, ports)| ports.resting().map(move |port| (host, port)))
    }

    /// Lets all hosts be asked again, after they did not answer or had few ports.
    pub fn forget_questions(&mut self) {
        self.ports.values_mut().for_each(Ports::forget_question);
    }

    /// Brings `seen` up to date with the fleet and the agents.
    fn look(&mut self) {
        for (id, host) in &self.fleet.hosts {
            let Some(said) = self.said.get(id) else { continue };
            let seen = self.seen.entry(id.clone()).or_insert_with(|| HostSeen {
                address: host.address,
                free_ports: Vec::new(),
                abilities: said.abilities.clone(),
            });
            seen.address = host.address;
            seen.abilities.clone_from(&said.abilities);
        }
    }

    fn refresh(&mut self, host: &HostId) {
        if let (Some(seen), Some(ports)) = (self.seen.get_mut(host), self.ports.get(host)) {
            seen.free_ports = ports.free().collect();
        }
    }
}

/// Returns the ports of all instances of a host, including those whose facts are being journaled.
pub(crate) fn in_use<'a>(
    host: &HostId,
    apps: impl Iterator<Item = &'a App>,
    coming: impl Iterator<Item = &'a Record>,
) -> BTreeSet<u16> {
    let instances = apps.flat_map(|app| app.instances.values()).filter(|i| i.host == *host);
    let minted = coming.flat_map(Record::facts).flat_map(Fact::minted);
    let minted = minted.filter(|minted| minted.host == *host).flat_map(Minted::addresses);
    instances.flat_map(Instance::addresses).chain(minted).filter_map(Address::port).collect()
}
