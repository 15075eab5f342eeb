//! A thousand instances on five hundred machines, through the real control: a deploy takes as long as
//! its slowest machine, a rollback one record and one snapshot, and a machine that dies is made up for.

use std::collections::BTreeMap;

use model::{AppName, Millis, ReleaseNo, StrategyKind, Switch};
use rollout::{Ask, Fact};
use testkit::{Behaviour, HostNo, Hosts, Pace, Script, World, release, spec};

const HOSTS: u64 = 500;
const REPLICAS: u16 = 500;
/// A program is healthy so long after it began to run.
const BOOT: u64 = 400;

fn name() -> AppName {
    "web".parse().expect("it is valid")
}

/// Machines of which each has its own pace, from quick to one that is slower than all.
fn paces() -> Vec<Pace> {
    let pace = |no: u64| Pace {
        work: 20 + no * 7 % 180,
        start: if no == 123 { 15_000 } else { 300 + no * 37 % 4_000 },
        probe: no * 11 % 90,
    };
    (0..HOSTS).map(pace).collect()
}

/// Asks, and waits until the answer is there.
fn ask(world: &mut World, ask: Ask) {
    let ticket = world.ask(&name(), ask, None);
    while !world.answers.contains_key(&ticket) {
        world.run_for(1);
        assert_eq!(world.violation(), None);
    }
    let answer = world.answers.remove(&ticket);
    assert!(matches!(answer, Some(Ok(_))), "{answer:?}");
}

fn deploy(world: &mut World, serial: u64) {
    let mut settings = spec(&name());
    settings.run.replicas = REPLICAS;
    settings.health.start_deadline = Millis::from_secs(60);
    settings.strategy.kind = StrategyKind::BlueGreen { switch: Switch::Auto };
    let release = release(settings, &format!("v{serial}"), serial);
    let content = release.content.expect("it has one");
    world.hosts.behaviours.insert(content, Behaviour::Good(BOOT));
    ask(world, Ask::Deploy { release: Box::new(release), replace: false });
}

fn phase(world: &World) -> &'static str {
    let view = world.views.get(&name()).expect("it is shown");
    view.rollout.as_ref().map_or("idle", |rollout| rollout.phase)
}

/// Runs until the app is in that phase; how long that took, in milliseconds.
fn until(world: &mut World, wanted: &str) -> u64 {
    let start = world.now;
    while phase(world) != wanted {
        world.run_for(5);
        assert_eq!(world.violation(), None);
        assert!(world.now < start + 120_000, "still {}", phase(world));
    }
    world.now - start
}

/// How long each machine needs for its part of the release, one start after the other.
fn own_times(world: &World, release: ReleaseNo) -> Vec<u64> {
    let own = world.hosts.machines().map(|(_, host)| {
        let of_it = host.processes.values().filter(|p| p.launch.release == release).count() as u64;
        let Pace { work, start, probe } = host.pace;
        if of_it == 0 { 0 } else { of_it * work + start + BOOT + probe }
    });
    own.collect()
}

#[test]
fn a_deploy_to_five_hundred_machines_takes_as_long_as_the_slowest_and_a_rollback_one_snapshot() {
    let mut world = World::of(2, Hosts::new(&paces()), None);
    deploy(&mut world, 1);
    until(&mut world, "idle");
    deploy(&mut world, 2);
    let took = until(&mut world, "watching");
    assert_eq!(world.hosts.alive().count(), 2 * usize::from(REPLICAS));
    let own = own_times(&world, ReleaseNo(2));
    let (slowest, sum) = (own.iter().max().copied().unwrap_or(0), own.iter().sum::<u64>());
    assert!(slowest > 15_000, "the slowest has its part: {slowest} ms");
    // Two good probes in a row need the gap to the first one and one more interval; ports are offered
    // a few at a time, so that the last instances are minted some rounds after the first.
    let rise = 120 + 2 * 100;
    let rounds = u64::from(REPLICAS).div_ceil(48) * 60;
    assert!(took >= slowest, "{took} ms, the slowest machine needs {slowest} ms");
    assert!(took <= slowest + rise + rounds, "{took} ms, the slowest machine needs {slowest} ms");
    assert!(sum > 50 * took, "one after the other would have taken {sum} ms");
    until(&mut world, "idle");

    let (records, snapshot) = (world.disk.records().len(), world.proxies[0].saved.generation);
    let alive = world.hosts.alive().count();
    ask(&mut world, Ask::Rollback { to: None });
    world.run_for(10_000);
    assert_eq!(world.violation(), None);
    let after = world.disk.records().split_off(records);
    let switching = |fact: &&Fact| matches!(fact, Fact::Started(_) | Fact::Shifted { .. });
    let first: Vec<&str> = after[0].facts().iter().map(Fact::name).collect();
    assert_eq!(first, ["started", "shifted"]);
    assert_eq!(after[1..].iter().flat_map(control::Record::facts).filter(switching).count(), 0);
    assert_eq!(world.proxies[0].saved.generation, snapshot.next(), "one snapshot");
    assert_eq!(world.hosts.alive().count(), alive, "nothing was started or stopped");
}

#[test]
fn a_machine_that_dies_during_a_deploy_is_made_up_for_when_it_is_back() {
    let paces = [Pace::default(), Pace::default(), Pace { work: 150, start: 800, probe: 30 }];
    let mut script = Script::with_hosts(&paces);
    let six = |spec: &mut model::AppSpec| {
        spec.run.replicas = 6;
        spec.health.start_deadline = Millis::from_secs(30);
    };
    script.deploy_with("v1", Behaviour::Good(300), false, six).wait(15);
    let of_host = |script: &Script, host: usize| {
        let (_, host) = script.world.hosts.machines().nth(host).expect("there are three");
        let alive = host.processes.values().filter(|process| process.exit.is_none());
        alive.fold(BTreeMap::<_, u32>::new(), |mut count, process| {
            *count.entry(process.launch.label.to_string()).or_default() += 1;
            count
        })
    };
    assert!((0..3).all(|host| of_host(&script, host).contains_key("v1")), "all have some of v1");
    script.deploy_with("v2", Behaviour::Good(2_000), false, six).wait(1);
    assert!(of_host(&script, 2).contains_key("v2"), "it has begun to start v2");
    script.kill_host(HostNo(2), 6_000);
    assert!(of_host(&script, 2).is_empty(), "all of it is gone at once");
    script.wait(5).look().wait(20).look();
    insta::assert_snapshot!(script.transcript());
}
