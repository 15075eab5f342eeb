//! What is live and not well: restarts, deploys of what is live, and first releases that die, as stories
//! in virtual time.

use model::{AppSpec, Digest, Millis, Page, StrategyKind};
use rollout::{Ask, Promote};
use testkit::{Behaviour, Script};

const GOOD: Behaviour = Behaviour::Good(300);

fn one(spec: &mut AppSpec) {
    spec.run.replicas = 1;
}

fn alone(spec: &mut AppSpec) {
    spec.run.replicas = 1;
    spec.strategy.kind = StrategyKind::Recreate { page: Page::default() };
}

/// From now on instances of the deploy with that number, from 1 on, behave so when they start.
fn turns(script: &mut Script, number: u64, behaviour: Behaviour) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    script.world.hosts.behaviours.insert(Digest::from_bytes(bytes), behaviour);
}

#[test]
fn a_deploy_of_what_is_live_and_down_starts_it_at_once_and_says_how_it_went() {
    let mut script = Script::new();
    script.deploy_with("v1", GOOD, false, one).wait(15);
    turns(&mut script, 1, Behaviour::Exits(50));
    script.kill_live().wait(25).look();
    script.deploy_again("v1", 1, false, one).wait(2);
    turns(&mut script, 1, GOOD);
    script.deploy_again("v1", 1, false, one).wait(3).look();
    script.deploy_again("v1", 1, false, one);
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_rollback_to_what_is_live_and_down_starts_it_too() {
    let mut script = Script::new();
    script.deploy_with("v1", GOOD, false, one).wait(15);
    turns(&mut script, 1, Behaviour::NeverHealthy);
    script.kill_live().wait(1).ask(Ask::Rollback { to: Some(model::ReleaseNo(1)) }).wait(12).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_restart_replaces_one_instance_after_the_other_and_never_serves_with_less() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15).deploy("v2", GOOD).wait(15);
    script.ask(Ask::Restart).ask(Ask::Restart).wait(10).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_restart_whose_instance_does_not_come_up_ends_and_the_others_serve_on() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15);
    turns(&mut script, 1, Behaviour::DiesLater(250));
    script.ask(Ask::Restart).wait(10).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_restart_of_what_must_not_run_twice_stops_first_with_requests_held() {
    let mut script = Script::new();
    script.deploy_with("v1", GOOD, false, alone).wait(15);
    script.ask(Ask::Restart);
    script.world.run_for(20);
    let closed = |script: &Script| script.world.views.values().all(|view| view.maintenance);
    assert!(closed(&script), "requests are held");
    script.wait(5).look();
    assert!(!closed(&script), "it is open again");
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_restart_survives_a_crash_and_makes_way_for_a_rollback_and_for_a_deploy() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15).deploy("v2", Behaviour::Good(3_000)).wait(20);
    script.ask(Ask::Restart).wait(1).crash().wait(15).look();
    script.ask(Ask::Restart).wait(1).ask(Ask::Rollback { to: None }).wait(15).look();
    turns(&mut script, 1, Behaviour::Good(5_000));
    script.ask(Ask::Restart).wait(1).deploy("v3", GOOD);
    script.ask(Ask::Abort).wait(2).deploy("v3", GOOD).wait(15).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_first_release_that_dies_once_is_replaced_and_stays() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(2).kill_live().wait(15).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_first_release_that_dies_three_times_has_failed_and_is_started_again_and_again() {
    let mut script = Script::new();
    script.deploy_with("v1", Behaviour::DiesLater(1_500), false, one).wait(30).look();
    turns(&mut script, 1, GOOD);
    script.wait(60).look();
    // It is what there is to go back to for the next one.
    script.deploy_with("v2", GOOD, false, one).wait(15).ask(Ask::Rollback { to: None }).wait(5);
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_first_release_that_is_never_whole_again_has_failed_when_its_watch_and_a_start_are_over() {
    let mut script = Script::new();
    script.deploy_with("v1", GOOD, false, one).wait(2);
    turns(&mut script, 1, Behaviour::NeverHealthy);
    script.kill_live().wait(25).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_first_release_in_its_watch_stays_live_while_another_takes_its_place() {
    let mut script = Script::new();
    let rolling = |spec: &mut AppSpec| {
        let (batch, pause) = (model::Batch::Count(1), Millis(0));
        let (order, on_failure) = (model::Order::Surge, model::OnFailure::Revert);
        spec.strategy.kind = StrategyKind::Rolling { batch, order, pause, on_failure };
    };
    script
        .deploy_with("v1", GOOD, false, rolling)
        .wait(3)
        .ask(Ask::Abort)
        .ask(Ask::Promote(Promote::Step));
    script.deploy_with("v2", GOOD, true, |_| {}).wait(1).look().wait(15).look();
    insta::assert_snapshot!(script.transcript());
}

fn strategies() -> [StrategyKind; 4] {
    let share = model::Share::from_ten_thousandths(5_000).expect("a half is a share");
    let gate = model::Gate::After(Millis(1_000));
    [
        StrategyKind::BlueGreen { switch: model::Switch::Auto },
        StrategyKind::Rolling {
            batch: model::Batch::Count(1),
            order: model::Order::Surge,
            pause: Millis(0),
            on_failure: model::OnFailure::Hold,
        },
        StrategyKind::Canary {
            steps: vec![model::Step { share, gate }],
            cohort: None,
            capacity: model::Capacity::Share,
        },
        StrategyKind::Recreate { page: Page::default() },
    ]
}

/// v1 is live and v2 has taken all of the traffic a moment ago.
fn v2_is_watched(by: &StrategyKind) -> Script {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15);
    script.deploy_with("v2", GOOD, false, |spec| spec.strategy.kind = by.clone());
    for _ in 0..60 {
        let view = script.world.views.values().next().expect("there is one app");
        if view.rollout.as_ref().is_some_and(|rollout| rollout.phase == "watching") {
            return script;
        }
        script.world.run_for(500);
    }
    panic!("{}: {}", by.name(), script.transcript());
}

/// What is left of the old release is killed.
fn kill_old(script: &mut Script) {
    let view = script.world.views.values().next().cloned().expect("there is one app");
    let live = view.live.as_ref().map(|live| &live.label);
    let arms = [&view.standby, &view.candidate].into_iter().flatten();
    let old = arms.filter(|arm| Some(&arm.label) != live);
    old.flat_map(|arm| &arm.instances).for_each(|instance| script.world.kill(&instance.id));
}

#[test]
fn a_release_that_is_never_whole_with_none_better_to_go_back_to_has_failed_and_stays() {
    for by in strategies() {
        let mut script = v2_is_watched(&by);
        turns(&mut script, 1, Behaviour::NeverHealthy);
        turns(&mut script, 2, Behaviour::NeverHealthy);
        kill_old(&mut script);
        script.silence_live(300).wait(40).look();
        let view = script.world.views.values().next().cloned().expect("there is one app");
        let receipt = view.receipts.last().expect("the rollout has ended");
        let name = by.name();
        assert_eq!(receipt.outcome, model::Outcome::Failed, "{name}: {}", script.transcript());
        assert_eq!(receipt.live.as_ref().map(model::Label::as_str), Some("v2"), "{name}");
        let cause = "after the switch only 0 of 2 instances were healthy";
        assert!(receipt.cause.as_ref().is_some_and(|it| it.starts_with(cause)), "{receipt:?}");
        // It is started again and again, and serves when it can.
        turns(&mut script, 2, GOOD);
        script.wait(400);
        let view = script.world.views.values().next().cloned().expect("there is one app");
        let up = |it: &model::InstanceView| it.health == model::Health::Up;
        let live = view.live.as_ref().expect("v2 is live");
        assert_eq!(
            (live.label.as_str(), live.instances.iter().filter(|i| up(i)).count()),
            ("v2", 2)
        );
        if matches!(by, StrategyKind::Recreate { .. }) {
            insta::assert_snapshot!(script.transcript());
        }
    }
}

/// Nobody has seen v2 die, so it is not at fault; still v1 is the better one when v2 has had its time.
#[test]
fn a_release_that_does_not_come_up_after_a_reboot_in_its_watch_makes_way_for_one_that_does() {
    let [blue_green, _, canary, _] = strategies();
    for by in [blue_green, canary] {
        let mut script = v2_is_watched(&by);
        turns(&mut script, 2, Behaviour::NeverHealthy);
        script.reboot().wait(60);
        let view = script.world.views.values().next().cloned().expect("there is one app");
        let receipt = view.receipts.last().expect("the rollout has ended");
        assert_eq!(receipt.outcome, model::Outcome::Reverted, "{}", script.transcript());
        assert_eq!(receipt.live.as_ref().map(model::Label::as_str), Some("v1"));
    }
}

#[test]
fn a_release_that_dies_again_and_again_is_not_taken_back_to_one_that_does_so_too() {
    let [blue_green, _, canary, _] = strategies();
    for by in [blue_green, canary] {
        let mut script = v2_is_watched(&by);
        turns(&mut script, 1, Behaviour::Exits(50));
        turns(&mut script, 2, Behaviour::Exits(50));
        kill_old(&mut script);
        script.wait(1).kill_live().kill_live().wait(60);
        let view = script.world.views.values().next().cloned().expect("there is one app");
        let receipt = view.receipts.last().expect("the rollout has ended");
        assert_eq!(receipt.outcome, model::Outcome::Failed, "{}", script.transcript());
        assert_eq!(receipt.live.as_ref().map(model::Label::as_str), Some("v2"));
    }
}
