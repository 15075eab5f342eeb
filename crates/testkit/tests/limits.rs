//! Releases with limits on a host that cannot enforce them: refused before anything is begun, whatever
//! the command that would start an instance.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;

use model::{
    Address, AppSpec, Exit, Generation, Health, HostAbilities, HostId, LimitObstacles, Millis,
    Obstacle, ReleaseNo, Resource, ResourceLimits, Stage, Timestamp,
};
use rollout::{
    Accepted, App, Ask, Fact, HostSeen, InstanceSeen, Minted, Observed, Process, Refusal, apply,
    ask, decide,
};
use testkit::{ONE_PROXY, local_host, release, spec};

const NOW: Timestamp = Timestamp(1_000_000_000);

/// A limit of this many bytes, and no other.
fn memory(bytes: u64) -> ResourceLimits {
    ResourceLimits { memory: Some(bytes), ..ResourceLimits::default() }
}

/// One app on one host.
struct World {
    app: App,
    seen: BTreeMap<u64, InstanceSeen>,
    hosts: BTreeMap<HostId, HostSeen>,
}

impl World {
    fn new() -> Self {
        let app = App::new("web".parse().expect("it is valid"));
        Self { app, seen: BTreeMap::new(), hosts: local_host(HostAbilities::default()) }
    }

    fn observed<'a>(&'a self, minutes: &'a VecDeque<rollout::Minute>) -> Observed<'a> {
        Observed {
            instances: &self.seen,
            acknowledged: self.app.version,
            generation: Generation { term: 1, counter: self.app.version },
            acknowledged_at: NOW,
            spread: None,
            hosts: &self.hosts,
            suspicion: None,
            stood: Millis(0),
            recovered: Timestamp(0),
            counted: None,
            keep_releases: App::KEPT,
            minutes,
            proxies: &ONE_PROXY,
        }
    }

    fn ask(&self, asked: &Ask) -> Result<Accepted, Refusal> {
        ask(&self.app, asked, None, &self.observed(&VecDeque::new()), NOW)
    }

    fn deploy(label: &str, serial: u64, limits: ResourceLimits) -> Ask {
        let mut settings: AppSpec = spec(&"web".parse().expect("it is valid"));
        settings.run.limits = limits;
        settings.strategy.watch = Millis(0);
        Ask::Deploy { release: Box::new(release(settings, label, serial)), replace: false }
    }

    /// Deploys it, and all its instances are healthy at once.
    fn bring_in(&mut self, deploy: &Ask) {
        let accepted = self.ask(deploy).expect("it is accepted");
        self.take(&accepted.facts);
        let to = self.app.rollout.as_ref().expect("one is under way").to;
        let minted = (1..=u64::from(self.app.replicas(to))).map(|n| {
            let number = self.app.last_instance + n;
            let port = u16::try_from(10_000 + number).expect("there are enough");
            let address = Address::Tcp((Ipv4Addr::LOCALHOST, port).into());
            Minted { number, host: HostId::local(), address, health_address: None }
        });
        let instances: Vec<Minted> = minted.collect();
        for Minted { number, .. } in &instances {
            let process = Process::Running { pid: 1 };
            let well =
                InstanceSeen { process, health: Health::Up, streak: 2, ..InstanceSeen::default() };
            self.seen.insert(*number, well);
        }
        self.take(&[Fact::Minted { release: to, instances, at: NOW }]);
        self.settle();
    }

    /// Until the rollout is over. What drains has ended.
    fn settle(&mut self) {
        while self.app.rollout.is_some() {
            let minutes = VecDeque::new();
            let facts =
                decide(&self.app, &self.observed(&minutes), NOW).expect("it is sound").facts;
            let leaving = self.app.instances.iter().filter(|(_, it)| it.stage == Stage::Draining);
            let left: Vec<u64> = leaving.map(|(number, _)| *number).collect();
            assert!(!(facts.is_empty() && left.is_empty()));
            for number in left {
                let (exit, tail) = (Exit::Code(0), Vec::new());
                let process = Process::Exited { exit, address_in_use: false, tail };
                self.seen.insert(number, InstanceSeen { process, ..InstanceSeen::default() });
            }
            self.take(&facts);
        }
    }

    fn take(&mut self, facts: &[Fact]) {
        facts.iter().for_each(|fact| apply(&mut self.app, fact).expect("it follows"));
    }

    fn cannot_limit_memory(&mut self) {
        let obstacle = Obstacle { why: "no controller".into(), hint: "mount it".into() };
        let limits = LimitObstacles::new([(Resource::Memory, obstacle)]);
        self.hosts = local_host(HostAbilities { limits, ..HostAbilities::default() });
    }
}

#[test]
fn a_deploy_is_refused_for_the_limit_that_cannot_be_enforced_and_for_no_other() {
    let mut world = World::new();
    let limited = World::deploy("v1", 1, memory(1 << 30));
    assert!(world.ask(&limited).is_ok());
    world.cannot_limit_memory();
    let Refusal { message, hint, .. } = world.ask(&limited).expect_err("it cannot be limited");
    assert_eq!(message, "cannot deploy web: no controller");
    assert_eq!(hint.as_deref(), Some("mount it"));
    assert!(world.ask(&World::deploy("v1", 1, ResourceLimits::default())).is_ok());
    let others = ResourceLimits { memory: None, pids: Some(9), cpu: Some(1_000) };
    assert!(world.ask(&World::deploy("v1", 1, others)).is_ok());
}

#[test]
fn on_a_host_that_has_lost_it_nothing_is_started_that_would_go_without_its_limit() {
    let mut world = World::new();
    world.bring_in(&World::deploy("v1", 1, memory(1 << 30)));
    world.bring_in(&World::deploy("v2", 2, memory(1 << 29)));
    world.bring_in(&World::deploy("v3", 3, ResourceLimits::default()));
    let to = |release| Ask::Rollback { to: Some(ReleaseNo(release)) };
    assert!(world.ask(&to(1)).is_ok());
    world.cannot_limit_memory();
    let refused = |asked: &Ask, world: &World| world.ask(asked).expect_err("it starts one").message;
    assert_eq!(refused(&to(1), &world), "cannot roll back web: no controller");
    // The warm one runs already, with its limit.
    world.ask(&to(2)).map(|accepted| world.take(&accepted.facts)).expect("it starts nothing");
    world.settle();
    assert_eq!(world.app.live, Some(ReleaseNo(2)));
    assert_eq!(refused(&Ask::Restart, &world), "cannot restart web: no controller");
    assert_eq!(refused(&Ask::Scale { replicas: 5 }, &world), "cannot scale web: no controller");
    assert_eq!(refused(&Ask::Sync, &world), "cannot sync web: no controller");
    assert!(world.ask(&Ask::Scale { replicas: 1 }).is_ok(), "it only ends some");
}
