//! The hosts of the fleet as control knows them: the data for placement, and the ports of each host.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Address, AppName, HostAbilities, HostDuty, HostHello, HostId, HostView, Link, MemberName,
    ProxyId, Reach, Timestamp,
};
use rollout::{App, Fact, Fleet, FleetFact, HostSeen, Instance, Minted, Suspicion};

use crate::links::Links;
use crate::ports::Ports;
use crate::record::Record;

/// All hosts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hosts {
    fleet: Fleet,
    /// The last messages of the agents about their hosts.
    said: BTreeMap<HostId, HostHello>,
    /// Hosts that have joined, as last seen.
    seen: BTreeMap<HostId, HostSeen>,
    links: Links,
    /// True if hosts or members may have changed since they were last shown.
    has_changed: bool,
    ports: BTreeMap<HostId, Ports>,
    /// True if hosts may know numbers of instances that the journal does not.
    has_numbers: bool,
}

/// The effect of a change of a host's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkNews {
    /// The agent has connected. It has to be told everything again.
    Up {
        /// True if what was observed of its instances is worth nothing any more.
        is_stale: bool,
    },
    /// The host is not heard any more.
    Silent,
}

impl Hosts {
    /// A number so far ahead of the journal's was given out by nobody.
    const FAR: u64 = 1 << 32;

    /// Returns the hosts of a recovered fleet.
    pub fn new(fleet: Fleet) -> Self {
        Self { fleet, ..Self::default() }
    }

    /// Starts at `now`: hosts whose agents have not connected are silent from now on, and so are these proxies.
    pub fn begin(&mut self, unheard_proxies: &[ProxyId], now: Timestamp) {
        let unheard = self.fleet.hosts.keys().filter(|host| !self.said.contains_key(*host));
        let proxies = unheard_proxies.iter().map(MemberName::from);
        self.links.begin(unheard.map(MemberName::from).chain(proxies), now);
        self.look(now);
    }

    /// Records that the agent of this host is connected when control starts.
    pub fn said(&mut self, host: HostId, hello: HostHello) {
        self.has_numbers = true;
        self.said.insert(host, hello);
    }

    /// Compares the numbers that hosts know with those of an app that is new here.
    pub fn look_at_numbers(&mut self) {
        self.has_numbers = true;
    }

    /// Returns facts for apps with numbers that a host knows and the journal does not: an earlier control gave
    /// them out, whose journal had more.
    pub fn skipped_numbers<'a>(
        &mut self,
        apps: impl Iterator<Item = &'a App>,
        now: Timestamp,
    ) -> Vec<Record> {
        if !self.has_numbers {
            return Vec::new();
        }
        let skipped = |app: &App| {
            let known = self.said.values().filter_map(|said| said.numbers.get(&app.name));
            // A host that says more than this lies, and would leave no numbers to anybody.
            let believed = known.filter(|number| **number < app.last_instance + Self::FAR);
            let to = believed.max().copied().filter(|to| *to > app.last_instance)?;
            let facts = vec![Fact::NumbersSkipped { to, at: now }];
            Some(Record::App { app: app.name.clone(), facts })
        };
        let records: Vec<Record> = apps.filter_map(skipped).collect();
        self.has_numbers = !records.is_empty();
        records
    }

    /// Takes a change of the connection to a host's agent. Returns `None` if nothing follows. The server's
    /// own host is always here.
    pub fn link(&mut self, host: &HostId, link: Link, now: Timestamp) -> Option<LinkNews> {
        if *host == HostId::local() {
            return None;
        }
        let news = match link {
            Link::Up(hello) => {
                let was_lost = self.links.reach(&host.into(), now).lost_since().is_some();
                self.has_numbers = true;
                let before = self.said.insert(host.clone(), hello.clone());
                let has_rebooted = before.is_some_and(|before| before.boot != hello.boot);
                self.links.up(&host.into(), now);
                LinkNews::Up { is_stale: was_lost || has_rebooted }
            }
            Link::Silent if self.said.contains_key(host) => {
                self.links.silent(&host.into(), now);
                LinkNews::Silent
            }
            Link::Silent => return None,
        };
        self.look(now);
        Some(news)
    }

    /// Takes whether a proxy on another machine is heard. Returns whether the suspicion has changed.
    pub fn proxy_link(&mut self, proxy: &ProxyId, is_heard: bool, now: Timestamp) -> bool {
        let before = self.links.suspicion();
        match is_heard {
            true => self.links.up(&proxy.into(), now),
            false => self.links.silent(&proxy.into(), now),
        }
        self.look(now);
        self.links.suspicion() != before
    }

    /// Lets time pass. Returns whether a host is doubted or lost since the last look, or the suspicion has
    /// changed.
    pub fn pass(&mut self, now: Timestamp) -> bool {
        self.links.is_due(now) && {
            self.look(now);
            true
        }
    }

    /// Returns whether proxies should prefer the instances of other hosts to those of this one. While the server
    /// suspects its own network, it says nothing about others.
    pub fn is_doubted(&self, host: &HostId, now: Timestamp) -> bool {
        let seen = self.seen.get(host).filter(|_| self.links.suspicion().is_none());
        seen.is_some_and(|seen| seen.reach.is_doubted(now))
    }

    /// Returns the time of the next call of [`Hosts::pass`] that changes anything.
    pub fn wake_at(&self) -> Option<Timestamp> {
        self.links.wake_at()
    }

    /// Returns the suspicion of the server against its own network.
    pub fn suspicion(&self) -> Option<Suspicion> {
        self.links.suspicion()
    }

    /// Returns facts for hosts whose agents have connected and that have not joined yet, and for the server's own
    /// if a person has named another address for it.
    pub fn newcomers(&self, now: Timestamp) -> Vec<FleetFact> {
        let is_known = |(host, said): &(&HostId, &HostHello)| {
            let known = self.fleet.hosts.get(host);
            known.is_some_and(|it| **host != HostId::local() || it.address == said.address)
        };
        let new = self.said.iter().filter(|it| !is_known(it));
        let joins = |(host, said): (&HostId, &HostHello)| FleetFact::HostJoined {
            host: host.clone(),
            address: said.address,
            at: now,
        };
        new.map(joins).collect()
    }

    /// Folds a fact of the fleet.
    pub fn apply(&mut self, fact: &FleetFact, now: Timestamp) {
        self.fleet.apply(fact);
        let is_removed = |host: &&HostId| !self.fleet.hosts.contains_key(*host);
        let removed: Vec<HostId> = self.seen.keys().filter(is_removed).cloned().collect();
        for host in &removed {
            self.seen.remove(host);
            self.said.remove(host);
            self.ports.remove(host);
            self.links.forget(&host.into());
        }
        if let FleetFact::MemberRemoved { name, .. } = fact {
            self.links.forget(name);
        }
        self.look(now);
    }

    /// Returns the state of the fleet; for checkpoints.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Returns the hosts that have joined.
    pub fn seen(&self) -> &BTreeMap<HostId, HostSeen> {
        &self.seen
    }

    /// Returns the hosts for observers.
    pub fn views(&self) -> Vec<HostView> {
        let view = |(name, seen): (&HostId, &HostSeen)| HostView {
            name: name.clone(),
            address: seen.address,
            reach: seen.reach,
            duty: seen.duty,
        };
        self.seen.iter().map(view).collect()
    }

    /// Lets the fleet be shown again: something has changed that is not known here.
    pub fn show_again(&mut self) {
        self.has_changed = true;
    }

    /// Returns whether hosts or members may have changed since the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.has_changed)
    }

    /// Returns the hosts whose agents are heard.
    pub fn here(&self) -> impl Iterator<Item = &HostId> {
        self.seen.iter().filter(|(_, seen)| seen.reach == Reach::Here).map(|(host, _)| host)
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
        for (host, _) in self.seen.iter().filter(|(_, seen)| seen.reach == Reach::Here) {
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

    /// Lets a host be asked again whose connection broke.
    pub fn forget_question(&mut self, host: &HostId) {
        self.ports.get_mut(host).into_iter().for_each(Ports::forget_question);
    }

    /// Lets all hosts be asked again, after they did not answer or had few ports.
    pub fn forget_questions(&mut self) {
        self.ports.values_mut().for_each(Ports::forget_question);
    }

    /// Brings `seen` up to date with the fleet, the agents and the clock.
    fn look(&mut self, now: Timestamp) {
        self.has_changed = true;
        let local = HostId::local();
        let remote = self.fleet.hosts.keys().filter(|host| **host != local).count();
        self.links.suspect(remote + self.fleet.proxies().count(), now);
        for (id, host) in &self.fleet.hosts {
            let said = self.said.get(id);
            let abilities = said.map(|said| said.abilities.clone()).unwrap_or_default();
            let (reach, back_since) =
                (self.links.reach(&id.into(), now), self.links.back_since(&id.into()));
            let seen = self.seen.entry(id.clone()).or_insert_with(|| HostSeen {
                address: host.address,
                free_ports: Vec::new(),
                abilities: HostAbilities::default(),
                reach,
                labels: BTreeMap::new(),
                duty: HostDuty::Active,
                back_since,
            });
            (seen.address, seen.abilities, seen.duty) = (host.address, abilities, host.duty);
            let member = self.fleet.members.iter().find(|(name, _)| name.as_host() == *id);
            seen.labels = member.map(|(_, member)| member.labels.clone()).unwrap_or_default();
            (seen.reach, seen.back_since) = (reach, back_since);
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
    let used = apps.flat_map(|app| {
        let instances = app.instances.values().filter(|i| i.host == *host);
        let abandoned = app.abandoned.values().filter(|it| it.host == *host);
        let abandoned = abandoned.flat_map(|it| &it.addresses);
        instances.flat_map(Instance::addresses).chain(abandoned)
    });
    let minted = coming.flat_map(Record::facts).flat_map(Fact::minted);
    let minted = minted.filter(|minted| minted.host == *host).flat_map(Minted::addresses);
    used.chain(minted).filter_map(Address::port).collect()
}
