//! The hosts of the fleet as control sees them: what placement looks at, and the ports of each.

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
    /// What the agents say of their hosts.
    said: BTreeMap<HostId, Said>,
    /// Hosts that have joined and whose agent is there: new instances may be placed on them.
    seen: BTreeMap<HostId, HostSeen>,
    ports: BTreeMap<HostId, Ports>,
}

/// What an agent says of its host.
#[derive(Clone, Debug)]
struct Said {
    address: IpAddr,
    abilities: HostAbilities,
}

impl Hosts {
    /// The hosts of a recovered fleet.
    pub fn new(fleet: Fleet) -> Self {
        Self { fleet, ..Self::default() }
    }

    /// The agent of this host is there.
    pub fn said(&mut self, host: HostId, address: IpAddr, abilities: HostAbilities) {
        self.said.insert(host, Said { address, abilities });
        self.look();
    }

    /// Hosts whose agent is there and that have not joined yet.
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

    /// The state of the fleet; for checkpoints.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// The hosts that instances may be placed on.
    pub fn seen(&self) -> &BTreeMap<HostId, HostSeen> {
        &self.seen
    }

    /// A host named free ports. Whether there are any more than before.
    pub fn offer(&mut self, host: &HostId, free: &[u16], used: &BTreeSet<u16>) -> bool {
        let more = self.ports.entry(host.clone()).or_default().offer(free, used);
        self.refresh(host);
        more
    }

    /// The addresses of these instances were handed out.
    pub fn used(&mut self, minted: &[Minted]) {
        for minted in minted {
            let Some(ports) = self.ports.get_mut(&minted.host) else { continue };
            minted.addresses().for_each(|address| ports.used(address));
            self.refresh(&minted.host);
        }
    }

    /// An instance is Gone: its ports rest, at least until the app's state of `version` is acknowledged.
    pub fn rest(&mut self, instance: &Instance, app: &AppName, version: u64, now: Timestamp) {
        let ports = self.ports.entry(instance.host.clone()).or_default();
        instance.addresses().for_each(|address| ports.rest(address, app, version, now));
    }

    /// The app's state of that version is acknowledged by every worker.
    pub fn acknowledged(&mut self, app: &AppName, version: u64) {
        self.ports.values_mut().for_each(|ports| ports.acknowledged(app, version));
    }

    /// Which hosts to ask for ports, and which ports each is to leave out.
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

    /// The ports that rest after use.
    pub fn resting_ports(&self) -> impl Iterator<Item = (&HostId, u16)> {
        let all = self.ports.iter();
        all.flat_map(|(host, ports)| ports.resting().map(move |port| (host, port)))
    }

    /// No host has answered, or each had few: all are asked again.
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

/// Ports of all instances of a host, also of those that are on their way into the journal.
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
