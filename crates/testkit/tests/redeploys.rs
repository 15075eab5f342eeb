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
