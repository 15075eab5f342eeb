//! Instances that are not well, or not themselves, as stories in virtual time.

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
