//! Instances that are not well, or not themselves, as stories in virtual time.

use model::{AppSpec, Batch, Millis, OnFailure, Order, StrategyKind};
use rollout::Ask;
use testkit::{Behaviour, Script};

const GOOD: Behaviour = Behaviour::Good(300);

fn rollback() -> Ask {
    Ask::Rollback { to: None }
}

#[test]
fn a_standby_whose_ports_somebody_else_has_is_no_way_back() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15).deploy("v2", GOOD).wait(15).look();
    script.take_standby(5).wait(2).look().ask(rollback()).wait(8).look().ask(rollback());
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_new_release_that_is_busy_with_requests_is_not_taken_back_and_its_watch_waits() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15).deploy("v2", GOOD).wait(2);
    script.requests(20, 6).silence_live(6).wait(5).look().wait(15).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_new_release_that_gives_no_answer_with_nothing_to_do_is_taken_back() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15).deploy("v2", GOOD).wait(2);
    script.silence_live(30).wait(5).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn one_that_is_busy_and_makes_no_progress_is_down_in_the_end() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15);
    script.requests(20, 60).silence_live(60).wait(20).look().wait(20).look();
    insta::assert_snapshot!(script.transcript());
}

/// One is replaced after the other, although those that still hang count for nothing.
#[test]
fn all_instances_that_hang_at_the_same_time_are_replaced() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15).hang_live().wait(60).look();
    insta::assert_snapshot!(script.transcript());
}

/// The instance that is to leave waits for healthy others, and one that hangs is not one: it is replaced
/// meanwhile.
#[test]
fn a_restart_during_which_a_new_instance_hangs_comes_to_its_end() {
    let mut script = Script::new();
    script.deploy("v1", Behaviour::Good(3_000)).wait(25).ask(Ask::Restart).wait(5);
    script.hang_live().wait(60).look();
    insta::assert_snapshot!(script.transcript());
}

/// Three instances, one by one in place, with pauses in which a person can say something.
fn one_by_one(spec: &mut AppSpec) {
    let (batch, order, pause) = (Batch::Count(1), Order::InPlace, Millis(2_000));
    let on_failure = OnFailure::Revert;
    spec.run.replicas = 3;
    spec.strategy.kind = StrategyKind::Rolling { batch, order, pause, on_failure };
}

/// Two releases, of which the second has just got all of the traffic and is still watched.
fn second_release_is_watched() -> Script {
    let mut script = Script::new();
    script.deploy_with("v1", GOOD, false, one_by_one).wait(15);
    script.deploy_with("v2", GOOD, false, one_by_one).wait(10).look();
    script
}

/// What the old release needs is gone, so none of its new instances comes up.
#[test]
fn a_rollback_to_a_release_that_no_longer_runs_ends_and_leaves_the_one_that_serves() {
    let mut script = second_release_is_watched();
    script.behave(1, Behaviour::Exits(10)).ask(rollback()).wait(5).look().wait(60).look();
    script.ask(rollback());
    insta::assert_snapshot!(script.transcript());
}

/// The candidate has a part of the traffic and the old release not one instance: the candidate gets all of
/// it.
#[test]
fn a_release_on_its_way_in_stays_if_the_one_before_cannot_even_start_any_more() {
    let mut script = Script::new();
    script.deploy_with("v1", GOOD, false, one_by_one).wait(15);
    script.deploy_with("v2", GOOD, false, one_by_one).wait(6).look();
    script.behave(1, Behaviour::Exits(10)).ask(rollback()).kill_live().wait(60).look();
    insta::assert_snapshot!(script.transcript());
}

/// Nothing serves, and the release that mends it need not wait for what cannot run.
#[test]
fn a_deploy_takes_the_place_of_a_way_back_when_neither_release_runs() {
    let mut script = second_release_is_watched();
    script.behave(1, Behaviour::Exits(10)).behave(2, Behaviour::Exits(10));
    script.ask(rollback()).kill_candidate().wait(10).look();
    script.deploy_with("v3", GOOD, true, one_by_one).wait(30).look();
    insta::assert_snapshot!(script.transcript());
}
