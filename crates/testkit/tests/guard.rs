//! The guard: releases that answer mostly with errors, under every strategy, as stories in virtual time.

use model::{
    AppSpec, Batch, Capacity, Gate, Millis, OnFailure, Order, Page, ReleaseNo, Share, Step,
};
use model::{StrategyKind, Switch};
use rollout::Ask;
use testkit::{Behaviour, ErrorKind, Script};

const GOOD: Behaviour = Behaviour::Good(300);
const V2: ReleaseNo = ReleaseNo(2);

/// Sends this many requests, ten a second.
fn users(script: &mut Script, requests: u64) {
    let app = "web".parse().expect("it is valid");
    for _ in 0..requests {
        script.world.request(&app, 20);
        script.world.run_for(100);
    }
}

fn canary(share: u16) -> StrategyKind {
    let share = Share::from_ten_thousandths(share).expect("it is one");
    let steps = vec![Step { share, gate: Gate::After(Millis::from_secs(60)) }];
    StrategyKind::Canary { steps, cohort: None, capacity: Capacity::Share }
}

fn by(kind: StrategyKind) -> impl FnOnce(&mut AppSpec) {
    move |spec| spec.strategy.kind = kind
}

fn outcome(script: &Script) -> (String, Option<String>) {
    let view = script.world.views.values().next().expect("there is one app");
    let receipt = view.receipts.last().expect("a rollout has ended");
    (receipt.outcome.to_string(), receipt.cause.clone())
}

#[test]
fn a_release_that_answers_with_errors_is_taken_back_whatever_the_strategy() {
    let rolling = |order| {
        let (batch, pause) = (Batch::Count(1), Millis(0));
        StrategyKind::Rolling { batch, order, pause, on_failure: OnFailure::Revert }
    };
    let kinds = [
        StrategyKind::BlueGreen { switch: Switch::Auto },
        rolling(Order::Surge),
        rolling(Order::InPlace),
        canary(5_000),
        StrategyKind::Recreate { page: Page::default() },
    ];
    for kind in kinds {
        let name = kind.name();
        let mut script = Script::new();
        script.deploy("v1", GOOD).wait(15);
        users(&mut script, 30);
        script.world.proxies[0].errors.once_in.insert(V2, 1);
        script.deploy_with("v2", GOOD, false, by(kind)).wait(4);
        users(&mut script, 120);
        script.wait(20);
        let (outcome, cause) = outcome(&script);
        assert_eq!(outcome, "reverted", "{name}: {}", script.transcript());
        let cause = cause.expect("it has one");
        assert!(cause.ends_with(" answers were errors"), "{name}: {cause}");
    }
}

#[test]
fn a_release_that_gives_no_whole_answer_is_taken_back_like_one_that_answers_with_errors() {
    for kind in [ErrorKind::Unanswered, ErrorKind::BrokenOff] {
        let mut script = Script::new();
        script.deploy("v1", GOOD).wait(15);
        users(&mut script, 30);
        let proxy = &mut script.world.proxies[0];
        proxy.errors.once_in.insert(V2, 1);
        proxy.errors.kind = kind;
        script.deploy("v2", GOOD).wait(4);
        users(&mut script, 120);
        script.wait(20);
        let (outcome, cause) = outcome(&script);
        assert_eq!(outcome, "reverted", "{kind:?}: {}", script.transcript());
        assert!(cause.is_some_and(|cause| cause.ends_with(" answers were errors")), "{kind:?}");
    }
}

#[test]
fn one_client_alone_takes_nothing_back() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15).deploy("v2", GOOD).wait(3);
    users(&mut script, 12);
    script.world.proxies[0].errors.client = Some(3);
    users(&mut script, 40);
    script.wait(15);
    assert_eq!(outcome(&script), ("completed".into(), None), "{}", script.transcript());
}

#[test]
fn errors_that_live_has_too_take_nothing_back() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15);
    // Every third of live's: what they both use is ill.
    script.world.proxies[0].errors.once_in.extend([(ReleaseNo(1), 3), (V2, 1)]);
    users(&mut script, 60);
    script.deploy("v2", GOOD).wait(3);
    users(&mut script, 60);
    script.wait(15);
    assert_eq!(outcome(&script), ("completed".into(), None), "{}", script.transcript());
}

#[test]
fn fewer_than_twenty_answers_and_half_of_them_are_no_verdict() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15);
    script.world.proxies[0].errors.once_in.insert(V2, 1);
    script.deploy("v2", GOOD).wait(3);
    users(&mut script, 19);
    script.wait(15);
    assert_eq!(outcome(&script), ("completed".into(), None), "{}", script.transcript());
}

#[test]
fn a_release_that_turns_bad_after_many_good_answers_is_taken_back() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15).deploy_with("v2", GOOD, false, by(canary(5_000))).wait(3);
    users(&mut script, 400);
    script.world.proxies[0].errors.once_in.insert(V2, 1);
    users(&mut script, 500);
    assert_eq!(outcome(&script).0, "reverted", "{}", script.transcript());
}

#[test]
fn what_a_release_answered_before_it_was_mended_is_not_held_against_it() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15);
    script.world.proxies[0].errors.once_in.insert(V2, 1);
    script.deploy("v2", GOOD).wait(3);
    users(&mut script, 40);
    script.wait(3);
    assert_eq!(outcome(&script).0, "reverted");
    script.world.proxies[0].errors.once_in.clear();
    script.deploy_again("v2", 2, false, |_| {}).wait(1);
    users(&mut script, 40);
    script.wait(15);
    assert_eq!(outcome(&script), ("completed".into(), None), "{}", script.transcript());
}

#[test]
fn a_first_release_that_answers_with_errors_has_failed_and_stays_live() {
    let mut script = Script::new();
    script.world.proxies[0].errors.once_in.insert(ReleaseNo(1), 1);
    script.deploy("v1", GOOD).wait(2);
    users(&mut script, 40);
    script.wait(5).look();
    script.ask(Ask::Abort);
    insta::assert_snapshot!(script.transcript());
}
