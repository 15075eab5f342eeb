//! Releases that are deployed once more, as stories in virtual time.

use model::{
    AppSpec, Batch, Capacity, Gate, Millis, OnFailure, Order, Share, Step, StrategyKind, Switch,
};
use rollout::Ask;
use testkit::{Behaviour, Script};

const GOOD: Behaviour = Behaviour::Good(300);

/// A tenth of the users, until somebody promotes.
fn canary(spec: &mut AppSpec) {
    let share = Share::from_ten_thousandths(1_000).expect("a tenth is a share");
    let steps = vec![Step { share, gate: Gate::Manual }];
    spec.strategy.kind = StrategyKind::Canary { steps, cohort: None, capacity: Capacity::Share };
}

fn by_hand(spec: &mut AppSpec) {
    spec.strategy.kind = StrategyKind::BlueGreen { switch: Switch::Manual };
}

fn as_ever(_: &mut AppSpec) {}

#[test]
fn a_stored_release_comes_in_by_the_strategy_that_is_asked_for() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15);
    // Stopped as a canary, then by one switch.
    script.deploy_with("v2", GOOD, false, canary).wait(5).ask(Ask::Abort).wait(5);
    script.deploy_again("v2", 2, false, as_ever).wait(15).look();
    // Rolled back from, then carefully: nobody but a tenth gets it.
    script.ask(Ask::Rollback { to: None }).wait(15);
    script.deploy_again("v2", 2, false, canary).wait(15).look();
    // The strategy is in the journal: control that starts anew goes on by it.
    script.crash().wait(10).look();
    script.ask(Ask::Promote(rollout::Promote::Step)).wait(15).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn another_strategy_for_a_rollout_under_way_is_refused_or_begins_anew() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15);
    script.deploy_with("v2", GOOD, false, canary).wait(5);
    script.deploy_again("v2", 2, false, canary);
    script.deploy_again("v2", 2, false, as_ever).look();
    script.deploy_again("v2", 2, true, by_hand).wait(5).look();
    // With all of the traffic moved, the strategy has done its part.
    script.ask(Ask::Promote(rollout::Promote::Step)).wait(1);
    script.deploy_again("v2", 2, false, canary).wait(20).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn the_standby_and_the_watch_are_those_of_the_last_start() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15);
    script.deploy("v2", GOOD).wait(3).ask(Ask::Rollback { to: None }).wait(15);
    let briefly = |spec: &mut AppSpec| {
        spec.strategy.standby = model::Standby::None;
        spec.strategy.watch = Millis(1_000);
    };
    script.deploy_again("v2", 2, false, briefly).wait(8).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_floor_that_the_stored_strategy_could_not_keep_is_that_of_the_one_asked_for() {
    let rolling = |order| {
        move |spec: &mut AppSpec| {
            spec.run.replicas = 1;
            let (batch, pause, on_failure) = (Batch::Count(1), Millis(0), OnFailure::Revert);
            spec.strategy.kind = StrategyKind::Rolling { batch, order, pause, on_failure };
        }
    };
    let mut script = Script::new();
    script.deploy_with("v1", GOOD, false, rolling(Order::Surge)).wait(15);
    script.deploy_with("v2", GOOD, false, rolling(Order::Surge)).wait(20);
    script.ask(Ask::Rollback { to: Some(model::ReleaseNo(1)) }).wait(20);
    script.deploy_again("v2", 2, false, rolling(Order::InPlace));
    script.deploy_again("v2", 2, false, rolling(Order::Surge)).wait(20).look();
    insta::assert_snapshot!(script.transcript());
}

/// Deploys that fail at their start.
fn failures(script: &mut Script, labels: std::ops::RangeInclusive<u32>) {
    for number in labels {
        script.deploy(&format!("bad{number}"), Behaviour::Exits(50)).wait(2);
    }
}

fn stored(script: &Script) -> Vec<String> {
    let view = script.world.views.values().next().expect("there is one app");
    view.releases.iter().map(|release| release.label.to_string()).collect()
}

#[test]
fn what_served_outlives_what_never_did() {
    let without_standby = |spec: &mut AppSpec| spec.strategy.standby = model::Standby::None;
    let mut script = Script::new();
    for label in ["v1", "v2", "v3"] {
        script.deploy_with(label, GOOD, false, without_standby).wait(20);
    }
    failures(&mut script, 1..=25);
    let (app, kept) = ("web".parse().expect("it is valid"), stored(&script));
    assert_eq!(kept[..3], ["v1", "v2", "v3"], "{kept:?}");
    assert_eq!(kept.len(), 3 + usize::from(rollout::App::KEPT), "{kept:?}");
    assert_eq!(kept.last().map(String::as_str), Some("bad25"));
    let view = script.world.views[&app].clone();
    let last = view.releases.last().expect("there are some");
    let words = vec!["panicked: no such table".to_owned()];
    assert_eq!(last.service, model::Service::Never { last_words: words });
    assert!(view.receipts.iter().any(|r| r.to.as_str() == "v3"), "live's own receipt is there");
    // The failed ones keep no files, and are not gone back to; the good ones are.
    script.look().ask(Ask::Rollback { to: Some(last.no) });
    script.ask(Ask::Rollback { to: Some(model::ReleaseNo(1)) }).wait(20).look();
    let files: Vec<_> = script.world.hosts.kept(&app).iter().map(|no| no.0).collect();
    assert_eq!(files, [1, 2, 3]);
    let tail: Vec<String> = script.transcript().lines().rev().take(20).map(Into::into).collect();
    insta::assert_snapshot!(tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
}

#[test]
fn what_was_rolled_back_to_is_not_the_oldest() {
    let without_standby = |spec: &mut AppSpec| spec.strategy.standby = model::Standby::None;
    let mut script = Script::new();
    for number in 1..=11 {
        script.deploy_with(&format!("v{number}"), GOOD, false, without_standby).wait(20);
    }
    script.ask(Ask::Rollback { to: Some(model::ReleaseNo(1)) }).wait(20);
    for number in 12..=14 {
        script.deploy_with(&format!("v{number}"), GOOD, false, without_standby).wait(20);
    }
    let kept = stored(&script);
    assert!(kept.contains(&"v1".to_owned()), "it served lately: {kept:?}");
    assert!(!kept.contains(&"v2".to_owned()), "it has not served for the longest time: {kept:?}");
}

#[test]
fn a_failed_release_that_is_mended_outside_may_be_deployed_again() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15).deploy("v2", Behaviour::Exits(50)).wait(5);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&2_u64.to_be_bytes());
    script.world.hosts.behaviours.insert(model::Digest::from_bytes(bytes), GOOD);
    script.deploy_again("v2", 2, false, as_ever).wait(15).ask(Ask::Rollback { to: None }).wait(15);
    let view = script.world.views.values().next().expect("there is one app");
    let v2 = view.releases.iter().find(|r| r.label.as_str() == "v2").expect("it is stored");
    assert!(matches!(v2.service, model::Service::Served { .. }), "{:?}", v2.service);
}
