//! Hosts that are not heard: rollouts end without them, rollbacks need none of them, and a server that hears
//! nobody does nothing.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    AppSpec, FailureBudget, FromHost, Health, HostId, HostReport, InstanceId, Millis, OnFailure,
    Order, Outcome, Readiness, Standby, StrategyKind, Switch,
};
use rollout::{Ask, FleetAsk, Promote};
use testkit::{Behaviour, HostNo, Pace, Script};

const H1: HostNo = HostNo(1);

/// A fleet of the server's own host and two more.
fn fleet() -> Script {
    Script::with_fleet(&[Pace::default(); 3])
}

/// Four hosts besides the server's own.
fn large_fleet() -> Script {
    Script::with_fleet(&[Pace::default(); 5])
}

fn three(spec: &mut AppSpec) {
    spec.run.replicas = 3;
    spec.strategy.failure_budget = FailureBudget::Count(1);
    spec.strategy.watch = Millis::from_secs(2);
}

fn host(name: &str) -> HostId {
    name.parse().expect("it is a name")
}

/// The processes that are alive, by host.
fn alive(script: &Script) -> BTreeMap<HostId, BTreeSet<InstanceId>> {
    let machines = script.world.hosts.machines();
    let of = |(no, machine): (HostNo, &testkit::Host)| {
        let alive = machine.processes.iter().filter(|(_, process)| process.exit.is_none());
        (script.world.hosts.name(no), alive.map(|(id, _)| id.clone()).collect())
    };
    machines.map(of).collect()
}

fn all_alive(script: &Script) -> BTreeSet<InstanceId> {
    script.world.hosts.alive().cloned().collect()
}

fn view(script: &Script) -> std::sync::Arc<model::AppView> {
    script.world.views[&"web".parse().expect("it is a name")].clone()
}

fn last_receipt(script: &Script) -> model::Receipt {
    view(script).receipts.last().cloned().expect("a rollout has ended")
}

#[test]
fn a_rollout_ends_without_a_lost_host_and_names_what_is_owed_there() {
    let mut script = fleet();
    let alone = |spec: &mut AppSpec| {
        three(spec);
        spec.strategy.standby = Standby::None;
    };
    script.deploy_with("v1", Behaviour::Good(200), false, alone).wait(15);
    assert!(alive(&script).values().all(|there| there.len() == 1), "one on each host");
    script.cut(H1, 55).wait(14);
    script.deploy_with("v2", Behaviour::Good(200), false, alone).wait(25).look();
    let receipt = last_receipt(&script);
    assert_eq!((receipt.outcome, receipt.owed), (Outcome::Completed, vec![host("h1")]));
    assert_eq!(view(&script).owed, [host("h1")]);
    assert_eq!(
        alive(&script)[&host("h1")].len(),
        1,
        "the old instance runs on, nobody can stop it"
    );
    script.wait(25).look();
    assert_eq!(alive(&script)[&host("h1")].len(), 0, "the host is heard again");
    assert_eq!(view(&script).owed, []);
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_host_that_is_lost_in_a_rollout_is_no_fault_of_the_release() {
    for seconds in [0, 1, 3, 6] {
        let mut script = fleet();
        script.deploy_with("v1", Behaviour::Good(200), false, three).wait(15);
        script.deploy_with("v2", Behaviour::Good(2_500), false, three).wait(seconds);
        script.kill_host(H1, 120_000).wait(60);
        let receipt = last_receipt(&script);
        assert_eq!((receipt.outcome, receipt.cause), (Outcome::Completed, None), "{seconds} s");
        assert_eq!(receipt.to.as_str(), "v2");
        script.wait(100);
        let up = view(&script).live.clone().expect("v2 is live");
        let up = up.instances.iter().filter(|i| i.health == Health::Up).count();
        assert_eq!((up, script.world.violation()), (3, None), "{seconds} s");
    }
}

#[test]
fn a_rollback_needs_no_lost_host() {
    let mut script = fleet();
    script.deploy_with("v1", Behaviour::Good(200), false, three).wait(15);
    script.deploy_with("v2", Behaviour::Good(200), false, three).wait(15);
    script.cut(H1, 40).wait(14).look();
    let Readiness::Ready { without, .. } = view(&script).rollback.clone() else {
        panic!("{:?}", view(&script).rollback)
    };
    assert_eq!(without, [host("h1")]);
    let before = all_alive(&script);
    script.ask(Ask::Rollback { to: None }).wait(5).look();
    assert_eq!(all_alive(&script), before, "nothing was started");
    script.wait(40).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn instances_of_a_lost_host_are_started_elsewhere_and_the_newest_drain_when_it_returns() {
    let mut script = fleet();
    script.deploy_with("v1", Behaviour::Good(200), false, three).wait(15);
    let before = all_alive(&script);
    script.cut(H1, 90).wait(70);
    assert_eq!(all_alive(&script), before, "a lost host has a minute to return");
    script.wait(15);
    let replaced = all_alive(&script);
    assert_eq!(replaced.len(), 4);
    assert!(replaced.is_superset(&before), "the instance on the lost host may serve");
    script.wait(30);
    assert_eq!(all_alive(&script), before, "what took its place has gone");
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn an_app_that_must_not_run_twice_is_not_started_elsewhere() {
    let mut script = fleet();
    let alone = |spec: &mut AppSpec| {
        spec.run.replicas = 1;
        spec.strategy.kind = StrategyKind::Recreate { page: model::Page::default() };
    };
    // The first instance goes to the first host by name.
    script.deploy_with("v1", Behaviour::Good(200), false, alone).wait(15);
    let before = alive(&script);
    let there = before.iter().find(|(_, ids)| !ids.is_empty()).expect("one runs").0.clone();
    assert_eq!(there, host("h1"));
    script.cut(H1, 300).wait(200);
    assert_eq!(alive(&script), before);
    script.wait(120);
    assert_eq!((alive(&script), script.world.violation()), (before, None));
}

#[test]
fn a_server_that_hears_nobody_does_nothing() {
    let rolling = |spec: &mut AppSpec| {
        three(spec);
        let (order, on_failure) = (Order::Surge, OnFailure::Revert);
        let batch = model::Batch::Count(1);
        let pause = Millis::from_secs(4);
        spec.strategy.kind = StrategyKind::Rolling { batch, order, pause, on_failure };
    };
    let mut script = fleet();
    script.deploy_with("v1", Behaviour::Good(200), false, three).wait(15);
    script.deploy_with("v2", Behaviour::Good(200), false, rolling).wait(2);
    script.cut_all(200).wait(4).look();
    let (before, facts) = (all_alive(&script), view(&script).version);
    script.wait(180);
    assert_eq!(all_alive(&script), before, "nothing was started or stopped");
    assert_eq!(view(&script).version, facts, "nothing was decided");
    script.wait(60).look();
    assert_eq!(last_receipt(&script).outcome, Outcome::Completed, "it went on by itself");
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_rollback_is_carried_out_while_the_server_suspects_itself() {
    let mut script = large_fleet();
    let manual = |spec: &mut AppSpec| {
        three(spec);
        spec.strategy.kind = StrategyKind::BlueGreen { switch: Switch::Manual };
    };
    script.deploy_with("v1", Behaviour::Good(200), false, three).wait(15);
    script.deploy_with("v2", Behaviour::Good(200), false, three).wait(15);
    script.deploy_with("v3", Behaviour::Good(200), false, manual).wait(5);
    script.cut_all(60).wait(5).ask(Ask::Promote(Promote::Step));
    script.ask(Ask::Rollback { to: None }).wait(1).look();
    script.wait(100);
    assert_eq!(view(&script).live.as_ref().expect("it serves").label.as_str(), "v2");
    script.cut_all(60).wait(5).ask(Ask::Rollback { to: None }).wait(1).look();
    assert_eq!(view(&script).live.as_ref().expect("it serves").label.as_str(), "v1");
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_person_can_say_that_the_hosts_are_lost() {
    let cases = [(Ask::Resume, Outcome::Completed, "v2"), (Ask::Abort, Outcome::Aborted, "v1")];
    for (ask, outcome, live) in cases {
        let mut script = fleet();
        script.deploy_with("v1", Behaviour::Good(200), false, three).wait(15);
        script.deploy_with("v2", Behaviour::Good(3_000), false, three).wait(1);
        script.cut_all(500).wait(30).ask(ask).wait(40).look();
        assert_eq!(last_receipt(&script).outcome, outcome);
        assert_eq!(view(&script).live.as_ref().expect("it serves").label.as_str(), live);
        assert_eq!(script.world.violation(), None);
    }
}

#[test]
fn what_happened_while_a_host_was_not_heard_is_known_as_soon_as_it_is() {
    let mut script = fleet();
    script.deploy_with("v1", Behaviour::Good(200), false, three).wait(15);
    let victim = alive(&script)[&host("h1")].first().cloned().expect("one runs there");
    script.cut(H1, 5).wait(1);
    script.world.kill(&victim);
    script.wait(3);
    let knows = |script: &Script| {
        let live = view(script).live.clone().expect("it serves");
        live.instances.iter().all(|instance| instance.id != victim)
    };
    assert!(!knows(&script), "its host is not heard");
    // Three seconds at most until the agent has connected again.
    script.wait(5);
    assert!(knows(&script));
    assert_eq!(script.world.violation(), None);
}

#[test]
fn the_health_of_a_host_that_was_lost_is_not_believed_when_it_returns() {
    let mut script = fleet();
    script.deploy_with("v1", Behaviour::Good(200), false, three).wait(15);
    let victim = alive(&script)[&host("h1")].first().cloned().expect("one runs there");
    script.cut(H1, 20).wait(15);
    let hung = script.world.hosts.processes_mut().filter(|(id, _)| **id == victim);
    hung.for_each(|(_, process)| process.hang());
    script.wait(10);
    let live = view(&script).live.clone().expect("it serves");
    let health = live.instances.iter().find(|i| i.id == victim).map(|i| i.health);
    assert_ne!(health, Some(Health::Up));
    assert_eq!(script.world.violation(), None);
}

#[test]
fn a_report_about_an_instance_of_another_host_changes_nothing() {
    let mut script = fleet();
    script.deploy_with("v1", Behaviour::Good(200), false, three).wait(15);
    let victim = alive(&script)[&host("h2")].first().cloned().expect("one runs there");
    let before = view(&script);
    let tail = Vec::new();
    let exit = model::Exit::Code(1);
    let report = HostReport::Exited { id: victim, exit, address_in_use: false, tail };
    script.world.deliver(0, control::Event::Host(FromHost { host: host("h1"), report }));
    script.wait(2);
    assert_eq!(view(&script), before);
}

#[test]
fn a_host_that_was_removed_is_waited_for_no_longer() {
    let mut script = fleet();
    let alone = |spec: &mut AppSpec| {
        spec.run.replicas = 1;
        spec.strategy.failure_budget = FailureBudget::Count(1);
        spec.strategy.kind = StrategyKind::Recreate { page: model::Page::default() };
    };
    script.deploy_with("v1", Behaviour::Good(200), false, alone).wait(15);
    // A restart has no failure budget.
    script.ask(Ask::Restart).cut(H1, 10_000).wait(60).look();
    assert_eq!(view(&script).rollout.as_ref().map(|r| r.phase), Some("starting"));
    // Whoever was invited can be removed.
    let name: model::MemberName = "h1".parse().expect("it is a name");
    let secret = model::Digest::from_bytes([7; 32]);
    let (role, address, labels) = (model::Role::Host, None, BTreeMap::new());
    let invite =
        FleetAsk::Invite { role, name: name.clone(), secret, address, labels, replace: true };
    script.ask_fleet(invite).ask_fleet(FleetAsk::Remove { name }).wait(20).look();
    let receipt = last_receipt(&script);
    assert_eq!((receipt.outcome, receipt.owed), (Outcome::Completed, Vec::new()));
    let live = view(&script).live.clone().expect("it is live");
    assert!(live.instances.iter().all(|it| it.host != host("h1") && it.health == Health::Up));
    insta::assert_snapshot!(script.transcript());
}

/// What the server's own proxy holds of the health of v1's instances, by host.
fn health(script: &Script) -> BTreeMap<HostId, Health> {
    let proxy = script.world.proxies.first().expect("the server has one");
    let of = |(host, instances): (HostId, BTreeSet<InstanceId>)| {
        let one = instances.first().expect("one on each host").clone();
        (host, proxy.health.get(&one))
    };
    alive(script).into_iter().map(of).collect()
}

/// A host that is switched off cannot say so. Its instances may be well all the same: they are the last to be
/// picked, and none of them is taken for broken.
#[test]
fn proxies_prefer_other_hosts_to_one_that_has_been_silent_for_a_while() {
    let mut script = fleet();
    script.deploy_with("v1", Behaviour::Good(200), false, three).wait(15);
    let all_up = health(&script);
    assert!(all_up.len() == 3 && all_up.values().all(|health| *health == Health::Up), "{all_up:?}");
    script.cut(H1, 20).wait(6);
    let expected = |id: &HostId| if *id == host("h1") { Health::Unknown } else { Health::Up };
    let silent: BTreeMap<_, _> = all_up.keys().map(|id| (id.clone(), expected(id))).collect();
    assert_eq!(health(&script), silent);
    script.wait(30);
    assert_eq!(health(&script), all_up);
    // A server that hears nobody knows nothing about any of them.
    script.cut_all(20).wait(15);
    assert_eq!(health(&script), all_up);
}
