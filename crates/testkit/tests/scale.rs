//! The core at a thousand instances: a decision and a plan stay linear, a rollback stays one snapshot,
//! and a long journal is replayed quickly.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use model::{Address, Generation, Health, HostAbilities, HostId, Millis, Timestamp};
use rollout::{
    Accepted, App, Ask, Fact, HostSeen, InstanceSeen, Minted, Minute, Observed, Process, apply,
    ask, decide, plan,
};
use testkit::{ONE_PROXY, local_host, release, spec};

const NOW: Timestamp = Timestamp(1_000_000_000);

static NO_MINUTES: VecDeque<Minute> = VecDeque::new();
static HOSTS: LazyLock<BTreeMap<HostId, HostSeen>> =
    LazyLock::new(|| local_host(HostAbilities::default()));

fn observed(instances: &BTreeMap<u64, InstanceSeen>, acknowledged: u64) -> Observed<'_> {
    Observed {
        instances,
        acknowledged,
        generation: Generation { term: 1, counter: acknowledged },
        acknowledged_at: NOW,
        spread: None,
        hosts: &HOSTS,
        suspicion: None,
        stood: Millis(0),
        recovered: Timestamp(0),
        counted: None,
        keep_releases: App::KEPT,
        minutes: &NO_MINUTES,
        proxies: &ONE_PROXY,
    }
}

/// An app with two releases of so many healthy instances each: live and a warm standby.
fn fleet(replicas: u16) -> (App, BTreeMap<u64, InstanceSeen>) {
    let name: model::AppName = "web".parse().expect("it is valid");
    let mut app = App::new(name.clone());
    let mut seen: BTreeMap<u64, InstanceSeen> = BTreeMap::new();
    for (serial, label) in [(1, "v1"), (2, "v2")] {
        let mut settings = spec(&name);
        settings.run.replicas = replicas;
        settings.strategy.watch = model::Millis(0);
        let release = Box::new(release(settings, label, serial));
        let deploy = Ask::Deploy { release, replace: false };
        let Accepted { facts, .. } =
            ask(&app, &deploy, None, &observed(&seen, app.version), NOW).expect("it is accepted");
        facts.iter().for_each(|fact| apply(&mut app, fact).expect("it follows"));
        let to = app.rollout.as_ref().expect("one is under way").to;
        let minted = (1..=u64::from(replicas)).map(|n| {
            let number = app.last_instance + n;
            let port = u16::try_from(10_000 + number).expect("there are enough");
            Minted {
                number,
                host: HostId::local(),
                address: Address::Tcp((Ipv4Addr::LOCALHOST, port).into()),
                health_address: None,
            }
        });
        let instances: Vec<Minted> = minted.collect();
        for Minted { number, .. } in &instances {
            let well = InstanceSeen {
                process: Process::Running { pid: 1 },
                health: Health::Up,
                streak: 2,
                ..InstanceSeen::default()
            };
            seen.insert(*number, well);
        }
        apply(&mut app, &Fact::Minted { release: to, instances, at: NOW }).expect("it follows");
        while app.rollout.is_some() {
            let decision = decide(&app, &observed(&seen, app.version), NOW).expect("it is sound");
            assert!(!decision.facts.is_empty(), "{:?}", decision.reasons);
            decision.facts.iter().for_each(|fact| apply(&mut app, fact).expect("it follows"));
        }
    }
    (app, seen)
}

/// The best of several runs: what the code needs, not what else the machine does.
fn fastest(mut run: impl FnMut()) -> Duration {
    let times = (0..300).map(|_| {
        let started = Instant::now();
        run();
        started.elapsed()
    });
    times.min().unwrap_or_default()
}

/// Compares with a copy of the same app in the same run, since machines differ and an app's instances
/// have to be visited at least once.
#[test]
fn a_decision_and_a_plan_for_a_thousand_instances_cost_a_few_copies_of_the_app_and_stay_linear() {
    let time = |replicas| {
        let (app, seen) = fleet(replicas);
        let step = fastest(|| {
            let seen = observed(&seen, app.version);
            assert!(decide(&app, &seen, NOW).expect("it is sound").facts.is_empty());
            assert!(plan(&app).section.is_some());
        });
        let copy = fastest(|| assert!(app.clone().rollout.is_none()));
        (step, copy)
    };
    let ((tenth, _), (whole, copy)) = (time(50), time(500));
    assert!(whole < copy * 60, "a thousand instances take {whole:?}, and {copy:?} to copy");
    assert!(whole < tenth * 40, "{tenth:?} for a hundred, {whole:?} for a thousand");
}

#[test]
fn a_rollback_of_a_thousand_instances_is_one_record_and_starts_nothing() {
    let (app, seen) = fleet(500);
    let seen = observed(&seen, app.version);
    let rollback = Ask::Rollback { to: None };
    let Accepted { facts, .. } = ask(&app, &rollback, None, &seen, NOW).expect("it is accepted");
    let names: Vec<&str> = facts.iter().map(Fact::name).collect();
    assert_eq!(names, ["started", "shifted"]);
}

#[test]
fn a_hundred_thousand_facts_are_replayed_in_under_a_second() {
    let (mut app, _) = fleet(500);
    let started = Instant::now();
    for fact in 0..50_000_u64 {
        let at = Timestamp(NOW.0 + fact);
        let number = app.last_instance + 1;
        let release = app.live.expect("one is live");
        let address = Address::Tcp((Ipv4Addr::LOCALHOST, 9_999).into());
        let instances =
            vec![Minted { number, host: HostId::local(), address, health_address: None }];
        let facts = [
            Fact::Minted { release, instances, at },
            Fact::Gone {
                instance: number,
                exit: None,
                address_in_use: true,
                tail: vec![],
                in_use: false,
                at,
            },
        ];
        facts.iter().for_each(|fact| apply(&mut app, fact).expect("it follows"));
    }
    assert!(started.elapsed() < Duration::from_secs(1), "it took {:?}", started.elapsed());
}
