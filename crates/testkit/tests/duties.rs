//! What hosts are used for: a cordoned host gets nothing new, and a drained one is emptied without a loss.

use std::collections::BTreeMap;

use model::{AppSpec, HostDuty, HostId, Millis, StrategyKind};
use rollout::{Ask, FleetAsk};
use testkit::{Behaviour, HostNo, Pace, Script};

fn fleet() -> Script {
    Script::with_fleet(&[Pace::default(); 3])
}

fn host(name: &str) -> HostId {
    name.parse().expect("it is a name")
}

fn set(name: &str, duty: HostDuty) -> FleetAsk {
    FleetAsk::SetDuty { host: host(name), duty }
}

fn three(spec: &mut AppSpec) {
    spec.run.replicas = 3;
    spec.strategy.watch = Millis::from_secs(2);
}

/// The number of processes that are alive, by host.
fn alive(script: &Script) -> BTreeMap<String, usize> {
    let count = |(no, machine): (HostNo, &testkit::Host)| {
        let alive = machine.processes.values().filter(|process| process.exit.is_none());
        (script.world.hosts.name(no).to_string(), alive.count())
    };
    script.world.hosts.machines().map(count).collect()
}

fn counts(local: usize, h1: usize, h2: usize) -> BTreeMap<String, usize> {
    [("local", local), ("h1", h1), ("h2", h2)].map(|(name, n)| (name.to_owned(), n)).into()
}

#[test]
fn a_cordoned_host_keeps_what_it_has_and_gets_nothing_new() {
    let mut script = fleet();
    script.deploy_with("v1", Behaviour::Good(200), false, three).wait(15);
    script.ask_fleet(set("h1", HostDuty::Cordoned)).wait(5);
    assert_eq!(alive(&script), counts(1, 1, 1));
    script.deploy_with("v2", Behaviour::Good(200), false, three).wait(10);
    let on_h1 = alive(&script)["h1"];
    assert_eq!((on_h1, alive(&script).values().sum::<usize>()), (1, 6), "v1 is kept as standby");
    script.crash().wait(5).ask(Ask::Scale { replicas: 6 }).wait(5);
    assert_eq!(alive(&script)["h1"], 1, "it is journaled");
    assert_eq!(alive(&script).values().sum::<usize>(), 12);
}

#[test]
fn a_drained_host_is_emptied_one_instance_after_the_other_without_a_loss() {
    let mut script = fleet();
    script.deploy_with("v1", Behaviour::Good(200), false, three).wait(15);
    script.ask_fleet(set("h1", HostDuty::Draining));
    for _ in 0..100 {
        script.world.run_for(100);
        let view = script.world.views[&"web".parse().expect("it is a name")].clone();
        let live = view.live.clone().expect("it serves");
        let serving = live.instances.iter().filter(|i| i.stage == model::Stage::Serving);
        assert!(serving.filter(|i| i.health == model::Health::Up).count() >= 3, "{live:?}");
    }
    assert_eq!(alive(&script)["h1"], 0);
    assert_eq!(alive(&script).values().sum::<usize>(), 3);
    script.ask_fleet(set("h1", HostDuty::Active)).wait(5);
    script.ask_fleet(set("h1", HostDuty::Active));
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn an_app_that_must_not_run_twice_ends_on_a_drained_host_before_it_starts_elsewhere() {
    let mut script = fleet();
    let alone = |spec: &mut AppSpec| {
        spec.run.replicas = 1;
        spec.strategy.kind = StrategyKind::Recreate { page: model::Page::default() };
    };
    script.deploy_with("v1", Behaviour::Good(200), false, alone).wait(15);
    assert_eq!(alive(&script), counts(0, 1, 0));
    script.ask_fleet(set("h1", HostDuty::Draining));
    for _ in 0..100 {
        script.world.run_for(50);
        assert!(alive(&script).values().sum::<usize>() <= 1);
    }
    assert_eq!(alive(&script), counts(0, 0, 1));
    assert_eq!(script.world.violation(), None);
}

#[test]
fn the_last_host_is_not_drained_and_without_a_host_nothing_is_begun() {
    let mut script = fleet();
    script.deploy_with("v1", Behaviour::Good(200), false, three).wait(15);
    script.ask_fleet(set("h1", HostDuty::Cordoned)).ask_fleet(set("h2", HostDuty::Cordoned));
    script.ask_fleet(set("local", HostDuty::Draining)).ask_fleet(set("h9", HostDuty::Cordoned));
    script.ask_fleet(set("local", HostDuty::Cordoned));
    script.deploy_with("v2", Behaviour::Good(200), false, three).wait(5);
    assert_eq!(alive(&script), counts(1, 1, 1));
    insta::assert_snapshot!(script.transcript());
}
