//! Rollouts as stories: what is announced, in virtual time, to be read from top to bottom.

use model::{
    Batch, Capacity, Gate, Maintenance, Millis, OnFailure, Order, Page, Standby, Step,
    StrategyKind, Switch,
};
use rollout::Ask;
use testkit::{Behaviour, Script};

const GOOD: Behaviour = Behaviour::Good(300);

fn rollback() -> Ask {
    Ask::Rollback { to: None }
}

#[test]
fn a_second_release_takes_over_and_the_first_is_kept_warm() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15).look();
    script.deploy("v2", GOOD).wait(15).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_rollback_is_one_switch_and_a_second_one_is_refused() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15).deploy("v2", GOOD).wait(15);
    script.ask(rollback()).wait(1).look().ask(rollback());
    script.ask(Ask::Rollback { to: Some(model::ReleaseNo(2)) }).wait(1).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_release_that_exits_at_start_is_refused_with_its_last_words() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15);
    script.deploy("v2", Behaviour::Exits(50)).wait(5).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_release_that_is_never_healthy_is_refused_at_its_deadline() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15);
    script.deploy("v2", Behaviour::NeverHealthy).wait(5).look().wait(10).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_release_that_dies_right_after_the_switch_is_taken_back() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15);
    script.deploy("v2", Behaviour::DiesLater(3_000)).wait(10).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_manual_switch_waits_for_promote() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15).ask(Ask::Promote(rollout::Promote::Step));
    let manual = |spec: &mut model::AppSpec| {
        spec.strategy.kind = StrategyKind::BlueGreen { switch: Switch::Manual };
    };
    script
        .deploy_with("v2", GOOD, false, manual)
        .ask(Ask::Promote(rollout::Promote::Step))
        .wait(60)
        .look();
    script.ask(Ask::Promote(rollout::Promote::Step)).wait(15).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn another_deploy_is_refused_until_it_says_replace() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15).deploy("v2", Behaviour::Good(8_000)).wait(2);
    script.deploy("v3", GOOD).deploy_with("v3", GOOD, true, |_| {}).wait(20).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn an_abort_touches_nothing_that_is_live() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15).deploy("v2", GOOD).wait(15).ask(Ask::Abort);
    script.deploy("v3", Behaviour::Good(8_000)).wait(1).ask(Ask::Abort).wait(5).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_standby_is_kept_for_a_time_or_not_at_all() {
    let mut script = Script::new();
    let keep_for =
        |standby: Standby| move |spec: &mut model::AppSpec| spec.strategy.standby = standby;
    script.deploy("v1", GOOD).wait(15);
    script.deploy_with("v2", GOOD, false, keep_for(Standby::For(Millis::from_secs(30)))).wait(15);
    script.look().wait(35).look().ask(rollback());
    script.deploy_with("v3", GOOD, false, keep_for(Standby::None)).wait(15).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_rollback_to_a_dead_standby_is_refused_and_can_be_started_anew() {
    let mut script = Script::new();
    script.deploy("v1", Behaviour::DiesLater(20_000)).wait(12).deploy("v2", GOOD).wait(30);
    script
        .look()
        .ask(rollback())
        .ask(Ask::Rollback { to: Some(model::ReleaseNo(1)) })
        .wait(5)
        .look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn an_instance_that_dies_is_replaced() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15).kill_live().wait(5).kill_live().wait(5).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_crash_of_the_server_in_the_middle_changes_nothing_but_the_time() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15).deploy("v2", Behaviour::Good(4_000)).wait(2);
    script.crash().wait(5).crash().wait(20).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn after_a_reboot_live_and_standby_are_back() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15).deploy("v2", GOOD).wait(15).reboot().wait(20).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_removed_app_leaves_nothing_and_may_come_back() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15).deploy("v2", GOOD).wait(15);
    script.ask(Ask::Remove { with_state: false }).wait(10).look();
    assert_eq!(script.world.hosts.alive().count(), 0);
    script.deploy("v1", GOOD).wait(15).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_label_is_immutable() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15).deploy("v1", GOOD);
    insta::assert_snapshot!(script.transcript());
}

fn rolling(order: Order, batch: Batch) -> impl FnOnce(&mut model::AppSpec) {
    move |spec| {
        spec.run.replicas = 4;
        let (pause, on_failure) = (Millis(0), OnFailure::Revert);
        spec.strategy.kind = StrategyKind::Rolling { batch, order, pause, on_failure };
        spec.strategy.standby = Standby::None;
    }
}

fn canary(steps: &[(u16, Gate)]) -> impl FnOnce(&mut model::AppSpec) {
    let share = |n| model::Share::from_ten_thousandths(n).expect("it is a share");
    let steps = steps.iter().map(|(n, gate)| Step { share: share(*n), gate: *gate }).collect();
    move |spec| {
        spec.run.replicas = 4;
        let capacity = Capacity::Share;
        spec.strategy.kind = StrategyKind::Canary { steps, cohort: None, capacity };
    }
}

fn four(spec: &mut model::AppSpec) {
    spec.run.replicas = 4;
}

#[test]
fn rolling_in_place_takes_out_stops_starts_and_puts_back_batch_after_batch() {
    let mut script = Script::new();
    script.deploy_with("v1", GOOD, false, four).wait(15);
    script.deploy_with("v2", GOOD, false, rolling(Order::InPlace, Batch::Percent(50)));
    script.wait(2).look().wait(30).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn rolling_with_surge_starts_before_it_stops() {
    let mut script = Script::new();
    script.deploy_with("v1", GOOD, false, four).wait(15);
    script.deploy_with("v2", GOOD, false, rolling(Order::Surge, Batch::Count(2))).wait(30).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn rolling_that_fails_halfway_goes_back_with_fresh_instances() {
    let mut script = Script::new();
    script.deploy_with("v1", GOOD, false, four).wait(15);
    let dies = Behaviour::DiesLater(2_500);
    script.deploy_with("v2", dies, false, rolling(Order::InPlace, Batch::Count(1)));
    script.wait(40).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn rolling_that_is_to_hold_waits_for_a_person() {
    let mut script = Script::new();
    script.deploy_with("v1", GOOD, false, four).wait(15);
    let hold = |spec: &mut model::AppSpec| {
        rolling(Order::Surge, Batch::Count(2))(spec);
        if let StrategyKind::Rolling { on_failure, .. } = &mut spec.strategy.kind {
            *on_failure = OnFailure::Hold;
        }
    };
    script.deploy_with("v2", Behaviour::Exits(100), false, hold).wait(2).look();
    script.ask(Ask::Abort).wait(20).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn one_replica_in_place_is_refused_with_the_way_out() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15);
    let one = |spec: &mut model::AppSpec| {
        rolling(Order::InPlace, Batch::Count(1))(spec);
        spec.run.replicas = 1;
    };
    script.deploy_with("v2", GOOD, false, one);
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_scale_that_leaves_one_replica_in_place_is_refused_by_deploy_and_by_rollback() {
    let mut script = Script::new();
    let one_by_one = || rolling(Order::InPlace, Batch::Count(1));
    script.deploy_with("v1", GOOD, false, one_by_one()).wait(15);
    script.deploy_with("v2", GOOD, false, one_by_one()).ask(Ask::Scale { replicas: 1 }).wait(60);
    script.ask(Ask::Scale { replicas: 1 }).wait(15);
    script.deploy_with("v3", GOOD, false, one_by_one());
    script.ask(Ask::Rollback { to: Some(model::ReleaseNo(1)) });
    script.ask(Ask::Scale { replicas: 2 }).wait(5);
    script.ask(Ask::Rollback { to: Some(model::ReleaseNo(1)) }).wait(60).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn an_instance_that_recovers_is_not_let_go_while_the_new_release_is_down() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15);
    let held = |spec: &mut model::AppSpec| {
        let (pause, on_failure) = (Millis::from_secs(120), OnFailure::Hold);
        let (batch, order) = (Batch::Count(1), Order::Surge);
        spec.strategy.kind = StrategyKind::Rolling { batch, order, pause, on_failure };
    };
    script.deploy_with("v2", GOOD, false, held).wait(5);
    // All get sick; the last instance of v1 is well again just before its successor is.
    script.world.hosts.behaviours.values_mut().for_each(|b| *b = Behaviour::Good(5_000));
    let until = script.world.now + 13_500;
    for (id, process) in script.world.hosts.processes_mut() {
        process.sick_until = if id.number == 2 { until } else { u64::MAX };
    }
    script.wait(30).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn after_a_crash_nothing_is_let_go_before_it_was_probed() {
    let mut script = Script::new();
    script.deploy_with("v1", GOOD, false, four).wait(15);
    // The last one is sick: it is the one to go first, and not the one with the lowest number.
    for (id, process) in script.world.hosts.processes_mut() {
        process.sick_until = if id.number == 4 { u64::MAX } else { 0 };
    }
    script.wait(4).deploy_with("v2", GOOD, false, rolling(Order::InPlace, Batch::Count(1)));
    // The deploy is in the journal; what follows from it is not yet.
    script.world.crash(false, 2_000);
    script.wait(20).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_canary_climbs_its_steps_and_live_stays_whole_until_the_end() {
    let mut script = Script::new();
    script.deploy_with("v1", GOOD, false, four).wait(15);
    let steps = [(500, Gate::After(Millis::from_secs(5))), (5_000, Gate::Manual)];
    script.deploy_with("v2", GOOD, false, canary(&steps)).wait(3).look().wait(10).look();
    script.ask(Ask::Promote(rollout::Promote::Step)).wait(15).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_canary_is_held_and_aborted_with_one_snapshot() {
    let mut script = Script::new();
    script.deploy_with("v1", GOOD, false, four).wait(15);
    let steps = [(5_000, Gate::After(Millis::from_secs(5)))];
    script.deploy_with("v2", GOOD, false, canary(&steps)).wait(2).ask(Ask::Pause).wait(20).look();
    script.ask(Ask::Resume).ask(Ask::Pause).ask(Ask::Abort).wait(15).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_canary_that_answers_with_errors_is_taken_back() {
    let mut script = Script::new();
    script.deploy_with("v1", GOOD, false, four).wait(15);
    script.world.proxies[0].errors.once_in.insert(model::ReleaseNo(2), 1);
    let steps = [(5_000, Gate::After(Millis::from_secs(30)))];
    script.deploy_with("v2", GOOD, false, canary(&steps)).wait(2);
    let app = "web".parse().unwrap();
    for _ in 0..60 {
        script.world.request(&app, 20);
    }
    script.wait(15).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn recreate_closes_the_app_and_opens_it_again() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15);
    script.deploy_with("v2", GOOD, false, recreate).wait(15).look();
    script.deploy_with("v3", Behaviour::Exits(100), false, recreate).wait(15).look();
    insta::assert_snapshot!(script.transcript());
}

fn recreate(spec: &mut model::AppSpec) {
    spec.strategy.kind = StrategyKind::Recreate { page: Page::default() };
}

/// Whether users see the page of a closed app.
fn is_closed(script: &Script) -> bool {
    script.world.proxies[0]
        .workers
        .iter()
        .all(|worker| worker.snapshot.apps[0].maintenance.is_some())
}

#[test]
fn a_recreate_that_is_rolled_back_after_its_switch_closes_the_app_until_the_old_release_is_whole() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15);
    script.deploy_with("v2", GOOD, false, recreate).wait(5).look();
    assert!(!is_closed(&script), "v2 serves");
    script.ask(rollback());
    for _ in 0..30 {
        script.world.run_for(100);
        let view = script.world.views.values().next().expect("it is shown");
        let is_back = view.live.as_ref().is_some_and(|live| live.label.to_string() == "v1");
        assert_ne!(is_closed(&script), is_back, "closed until v1 has the traffic, open from then");
    }
    script.look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_recreate_that_keeps_dying_after_its_switch_closes_the_app_and_survives_a_crash_meanwhile() {
    let mut script = Script::new();
    script.deploy_with("v1", GOOD, false, recreate).wait(15);
    script.deploy_with("v2", Behaviour::DiesLater(1_500), false, recreate).wait_for("6 is idle");
    assert!(is_closed(script.look()));
    script.crash().wait(5);
    assert!(!is_closed(&script), "v1 is whole again");
    script.wait(5).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_closed_app_whose_old_release_is_not_whole_again_opens_with_what_there_is() {
    let mut script = Script::new();
    script.deploy_with("v1", GOOD, false, recreate).wait(15);
    script.deploy_with("v2", GOOD, false, recreate).wait(3).ask(Ask::Abort);
    // The next instance of v1 gets sick at its start and stays so.
    let sick: model::InstanceId = "web-5".parse().expect("it is an id");
    for _ in 0..3_000 {
        script.world.run_for(1);
        for (_, process) in script.world.hosts.processes_mut().filter(|(id, _)| **id == sick) {
            process.sick_until = u64::MAX;
        }
    }
    assert!(is_closed(&script));
    script.look().wait(20).look();
    assert!(!is_closed(&script));
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_recreate_takes_the_place_of_one_whose_way_back_is_blocked() {
    let mut script = Script::new();
    script.deploy_with("v1", GOOD, false, recreate).wait(15);
    script.deploy_with("v2", Behaviour::Exits(100), false, recreate);
    // v2 has changed what v1 needs: v1 does not come up any more.
    script.world.hosts.behaviours.values_mut().for_each(|b| *b = Behaviour::Exits(100));
    script.wait(10).look();
    assert!(is_closed(&script));
    script.deploy_with("v3", GOOD, true, |_| {});
    script.deploy_with("v3", GOOD, true, recreate).wait(15).look();
    assert!(!is_closed(&script));
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_recreate_waits_for_everything_else_to_be_gone() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15).deploy("v2", GOOD).wait(15);
    // A request keeps the standby's last instance from stopping for seconds.
    script.ask(rollback()).wait(1);
    let app = "web".parse().unwrap();
    (0..4).for_each(|_| script.world.request(&app, 6_000));
    script.ask(Ask::Rollback { to: Some(model::ReleaseNo(2)) }).wait(1);
    script.deploy_with("v3", GOOD, false, recreate).wait(20).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_recreate_to_a_sick_standby_replaces_nothing_while_the_other_release_runs() {
    let mut script = Script::new();
    script.deploy_with("v1", GOOD, false, recreate).wait(15).deploy("v2", GOOD).wait(15);
    for (id, process) in script.world.hosts.processes_mut() {
        process.sick_until = if id.number == 2 { u64::MAX } else { 0 };
    }
    script.wait(8);
    let app = "web".parse().unwrap();
    (0..6).for_each(|_| script.world.request(&app, 20_000));
    script.ask(Ask::Rollback { to: Some(model::ReleaseNo(1)) }).wait(30).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_recreate_to_a_standby_that_recovers_starts_nothing_before_the_other_release_is_gone() {
    let mut script = Script::new();
    script.deploy_with("v1", GOOD, false, recreate).wait(15).deploy("v2", GOOD).wait(15);
    let until = script.world.now + 9_000;
    for (id, process) in script.world.hosts.processes_mut() {
        process.sick_until = if id.number == 2 { until } else { 0 };
    }
    script.wait(8);
    let app = "web".parse().unwrap();
    (0..6).for_each(|_| script.world.request(&app, 20_000));
    script.ask(Ask::Rollback { to: Some(model::ReleaseNo(1)) }).wait(4).look().kill_live();
    script.wait(30).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn what_could_not_start_is_not_started_again_while_its_end_cannot_be_journaled() {
    let mut script = Script::new();
    // Control asks for ports while they are free, and another program takes one meanwhile.
    script.deploy("v1", GOOD);
    script.world.hosts.foreign.insert(20_000);
    script.world.run_for(10);
    script.world.disk.full = true;
    script.wait(1);
    script.world.hosts.foreign.clear();
    script.wait(6);
    assert_eq!(script.world.hosts.alive().count(), 1, "web-1 was not told to start again");
    script.world.disk.full = false;
    script.wait(20).look();
    assert_eq!(script.world.hosts.alive().count(), 2);
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn sync_makes_the_standby_a_second_set_of_what_is_live() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15).deploy("v2", GOOD).wait(15);
    script.ask(Ask::Sync).wait(5).look().ask(Ask::Sync).ask(rollback()).wait(1).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_surge_starts_the_next_batch_while_the_pause_lasts() {
    let mut script = Script::new();
    script.deploy_with("v1", GOOD, false, four).wait(15);
    let paused = |spec: &mut model::AppSpec| {
        rolling(Order::Surge, Batch::Count(2))(spec);
        if let StrategyKind::Rolling { pause, .. } = &mut spec.strategy.kind {
            *pause = Millis::from_secs(3);
        }
    };
    script.deploy_with("v2", GOOD, false, paused).wait(15).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn scale_and_maintenance_hold_across_a_crash() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15).deploy("v2", GOOD).wait(15);
    script.ask(Ask::Scale { replicas: 3 }).wait(5);
    let (page, hold, allow) = (Page::default(), Millis(0), Vec::new());
    script.ask(Ask::Maintenance { on: Some(Maintenance { page, hold, allow }) });
    script.crash().wait(10).look();
    assert!(script.world.proxies[0].workers[0].snapshot.apps[0].maintenance.is_some());
    script.ask(Ask::Maintenance { on: None }).ask(Ask::Scale { replicas: 1 }).wait(10).look();
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn right_after_a_crash_the_way_back_waits_for_the_first_probes() {
    let mut script = Script::new();
    script.deploy("v1", GOOD).wait(15).deploy("v2", GOOD).wait(15);
    script.crash().wait(2).ask(Ask::Rollback { to: None }).wait(15).look();
    insta::assert_snapshot!(script.transcript());
}
