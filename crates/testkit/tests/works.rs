//! Works, as stories in virtual time: what runs beside the instances and serves nobody.

use model::{InstanceId, Millis};
use rollout::{App, Ask, WorkStage};
use testkit::{Behaviour, HostNo, Script, task};

const GOOD: Behaviour = Behaviour::Good(300);

/// A world with one release live.
fn with_live() -> Script {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15);
    script
}

fn run(name: &str, takes: Option<u64>, needs_lease: bool) -> Ask {
    Ask::Work(Box::new(task(name, takes, needs_lease)))
}

fn web(script: &Script) -> App {
    let engine = script.world.engine().expect("control lives");
    engine.apps().next().expect("the app is there").clone()
}

fn alive(script: &Script) -> Vec<InstanceId> {
    script.world.hosts.alive().cloned().collect()
}

#[test]
fn a_task_runs_beside_the_instances_and_its_end_is_told() {
    let mut script = with_live();
    script.ask(run("report", Some(5_000), true)).wait(2);
    script.ask(run("report", Some(5_000), true)).wait(5);
    script.ask(run("report", Some(1_000), true)).wait(2);
    insta::assert_snapshot!(script.transcript());
    let app = web(&script);
    assert_eq!((app.works.len(), app.last_token.0), (0, 2));
    assert_eq!(app.remembered_works, [3, 4]);
    assert!(app.remembered.is_empty(), "the output of instances that are gone is not pushed out");
}

#[test]
fn nothing_that_counts_instances_sees_a_work() {
    let mut script = with_live();
    let before = (web(&script), script.world.engine().and_then(|e| e.snapshot().cloned()));
    for _ in 0..5 {
        script.ask(run("queue", None, false));
    }
    script.wait(5);
    let after = web(&script);
    let snapshot = script.world.engine().and_then(|engine| engine.snapshot().cloned());
    assert_eq!((&after.instances, snapshot), (&before.0.instances, before.1));
    assert_eq!(after.works.len(), 5);
    let view = script.world.views.values().next().expect("the app is shown");
    assert_eq!(view.live.as_ref().map(|arm| arm.instances.len()), Some(2));
    // A whole rollout leaves them alone, and keeps the release they run with.
    script.deploy("v2", GOOD).wait(15).deploy("v3", GOOD).wait(60);
    let later = web(&script);
    assert_eq!(later.works, after.works);
}

#[test]
fn control_that_begins_again_finds_its_works_and_starts_none_twice() {
    let mut script = with_live();
    script.ask(run("queue", None, true)).wait(2).crash().wait(10);
    let app = web(&script);
    assert_eq!(app.works.values().map(|work| work.stage).collect::<Vec<_>>(), [WorkStage::Running]);
    assert_eq!(alive(&script).len(), 3);
    script.ask(run("queue", None, true)).wait(1);
    assert_eq!(web(&script).works, app.works, "the lease is still held");
    script.transcript();
}

#[test]
fn a_work_is_lost_with_its_host_and_not_replaced() {
    let mut script = with_live();
    script.ask(run("queue", None, true)).wait(2).kill_host(HostNo(0), 1_000).wait(20);
    let app = web(&script);
    assert!(app.works.is_empty());
    assert_eq!(app.instances.len(), 2, "the instances are");
    script.ask(run("queue", None, true)).wait(2);
    assert_eq!(web(&script).last_token.0, 2);
    script.transcript();
}

#[test]
fn a_work_ends_with_its_app_and_the_app_is_there_until_then() {
    let mut script = with_live();
    script.ask(run("queue", None, false)).wait(2).ask(Ask::Remove { with_state: false }).wait(30);
    assert!(alive(&script).is_empty());
    assert!(web(&script).is_removed());
    script.ask(run("queue", None, false));
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_work_whose_time_is_up_is_told_to_end() {
    let mut script = with_live();
    let mut limited = task("report", None, true);
    limited.time_limit = Some(Millis(3_000));
    script.ask(Ask::Work(Box::new(limited))).wait(2);
    assert_eq!(web(&script).works.len(), 1);
    script.wait(10);
    assert!(web(&script).works.is_empty());
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn an_app_has_a_hundred_works_at_the_most() {
    let mut script = with_live();
    for _ in 0..App::WORKS {
        script.ask(run("queue", None, false));
    }
    script.ask(run("queue", None, false));
    assert_eq!(web(&script).works.len(), App::WORKS);
    assert!(script.transcript().ends_with("try again when one of them has ended"));
}
