//! Proxies that are not heard: switches do not wait for them, their users go on being answered, and what they
//! may use is neither stopped nor given away.

use std::collections::BTreeSet;

use model::{AppSpec, InstanceId, Millis, Order, Outcome, ReleaseNo, StrategyKind, Waiting};
use rollout::{Ask, FleetAsk};
use testkit::{Behaviour, Hosts, Pace, Script};

fn two(spec: &mut AppSpec) {
    spec.run.replicas = 2;
    spec.strategy.watch = Millis::from_secs(2);
}

fn recreate(spec: &mut AppSpec) {
    two(spec);
    spec.strategy.kind = StrategyKind::Recreate { page: model::Page::default() };
}

fn in_place(spec: &mut AppSpec) {
    two(spec);
    spec.strategy.kind = StrategyKind::Rolling {
        batch: model::Batch::Count(1),
        order: Order::InPlace,
        pause: Millis(0),
        on_failure: model::OnFailure::Revert,
    };
}

/// A server with one more proxy, and v1 live on both.
fn two_proxies() -> Script {
    let mut script = Script::of(Hosts::new(&[Pace::default()]).addressed());
    script.add_proxy();
    script.deploy_with("v1", Behaviour::Good(200), false, two).wait(10);
    script
}

fn alive(script: &Script) -> BTreeSet<InstanceId> {
    script.world.hosts.alive().cloned().collect()
}

fn view(script: &Script) -> std::sync::Arc<model::AppView> {
    script.world.views[&"web".parse().expect("it is a name")].clone()
}

fn last_receipt(script: &Script) -> model::Receipt {
    view(script).receipts.last().cloned().expect("a rollout has ended")
}

/// The releases that `lb-1` sends its users to.
fn served_by_lb(script: &Script) -> BTreeSet<ReleaseNo> {
    let workers = &script.world.proxies[1].workers;
    let sections = workers.iter().flat_map(|worker| &worker.snapshot.apps);
    let arms = sections.flat_map(|section| &section.arms);
    arms.filter(|arm| arm.share > model::Share::NONE).map(|arm| arm.release).collect()
}

#[test]
fn a_switch_is_measured_over_both_proxies() {
    let mut script = two_proxies();
    script.deploy_with("v2", Behaviour::Good(200), false, two).wait(10).look();
    let receipt = last_receipt(&script);
    assert_eq!((receipt.outcome, receipt.proxies), (Outcome::Completed, Some(2)));
    assert!(receipt.skew_ms.is_some_and(|skew| skew < 20), "{receipt:?}");
    assert_eq!(served_by_lb(&script), [ReleaseNo(2)].into());
}

#[test]
fn users_of_a_proxy_that_is_cut_off_are_answered_through_two_deploys_and_a_rollback() {
    let mut script = two_proxies();
    let first = alive(&script);
    script.cut_proxy(120).wait(12);
    script.deploy_with("v2", Behaviour::Good(200), false, two).wait(10);
    let receipt = last_receipt(&script);
    assert_eq!((receipt.outcome, receipt.proxies), (Outcome::Completed, None));
    let told = "lb-1 is not heard: users who come through it still get v1";
    assert_eq!(receipt.elsewhere().collect::<Vec<_>>(), [told]);
    script.deploy_with("v3", Behaviour::Good(200), false, two).wait(10);
    assert_eq!(last_receipt(&script).outcome, Outcome::Completed);
    let waiting = view(&script).waiting.iter().map(|it| it.waiting.clone()).collect::<Vec<_>>();
    let lb: model::ProxyId = "lb-1".parse().expect("it is a name");
    assert_eq!(waiting, [Waiting::LostProxy { proxy: lb, instances: 2 }]);
    // Control forgets what it has seen, not what may be in use.
    script.crash().wait(20);
    script.ask(Ask::Rollback { to: None }).wait(10).look();
    assert_eq!(view(&script).live.as_ref().map(|arm| arm.release), Some(ReleaseNo(2)));
    assert_eq!(served_by_lb(&script), [ReleaseNo(1)].into(), "nobody could tell it");
    assert!(first.is_subset(&alive(&script)), "its users' instances run");
    script.wait(70).look();
    assert_eq!(served_by_lb(&script), [ReleaseNo(2)].into(), "it follows once it is heard");
    assert!(first.is_disjoint(&alive(&script)), "nobody needs them any more");
    assert_eq!(script.world.violation(), None);
}

#[test]
fn a_rollout_that_has_to_stop_what_a_lost_proxy_uses_is_refused_before_it_begins() {
    for strategy in [recreate, in_place] {
        let mut script = two_proxies();
        let before = alive(&script);
        script.cut_proxy(60).wait(12);
        script.deploy_with("v2", Behaviour::Good(200), false, strategy).wait(5);
        let refused = script.transcript();
        let why = "cannot deploy web: lb-1 is not heard and may send users to web-1, which would \
                   have to stop first";
        assert!(refused.contains(why), "{refused}");
        assert_eq!(alive(&script), before);
        script.wait(60);
        script.deploy_with("v3", Behaviour::Good(200), false, strategy).wait(30).look();
        assert_eq!(view(&script).live.as_ref().map(|arm| arm.label.to_string()), Some("v3".into()));
        assert_eq!(served_by_lb(&script).len(), 1);
    }
}

/// What is kept for a lost proxy belongs to no release on offer any more, and would have to end all the same.
#[test]
fn a_recreate_is_refused_while_anything_is_kept_for_a_lost_proxy() {
    let mut script = two_proxies();
    script.cut_proxy(60).wait(12);
    script.deploy_with("v2", Behaviour::Good(200), false, two).wait(10);
    script.deploy_with("v3", Behaviour::Good(200), false, recreate).wait(5);
    let refused = script.transcript();
    assert!(refused.contains("lb-1 is not heard and may send users to web-1"), "{refused}");
    assert_eq!(view(&script).live.as_ref().map(|arm| arm.release), Some(ReleaseNo(2)));
    assert!(!view(&script).maintenance, "the app is open");
}

/// A proxy that has just fallen silent is neither late nor lost yet.
#[test]
fn a_recreate_is_refused_from_the_first_moment_of_a_proxy_s_silence() {
    let mut script = two_proxies();
    script.cut_proxy(60).wait(4);
    script.deploy_with("v2", Behaviour::Good(200), false, recreate).wait(5);
    let refused = script.transcript();
    assert!(refused.contains("lb-1 is not heard and may send users to web-1"), "{refused}");
    assert!(!view(&script).maintenance, "the app is open");
}

/// Its users are in the middle of something when the proxy is heard again.
#[test]
fn requests_of_a_proxy_that_returns_are_let_finish() {
    let mut script = two_proxies();
    let first = alive(&script);
    script.cut_proxy(60).wait(12);
    for label in ["v2", "v3"] {
        script.deploy_with(label, Behaviour::Good(200), false, two).wait(10);
    }
    let app = "web".parse().expect("it is a name");
    let lasts = 60_000 - 32_000 + 8_000;
    (0..20).for_each(|_| script.world.request(&app, lasts));
    let on_first =
        |script: &Script| first.iter().map(|id| script.world.proxies[1].in_flight(id)).sum::<u32>();
    let before = on_first(&script);
    assert!(before > 0, "some came through the lost proxy");
    script.wait(33);
    assert_eq!(served_by_lb(&script), [ReleaseNo(3)].into(), "it is back");
    assert_eq!(on_first(&script), before);
    assert!(first.is_subset(&alive(&script)), "they are let finish");
    script.wait(20).look();
    assert!(first.is_disjoint(&alive(&script)));
    assert_eq!(script.world.violation(), None);
}

#[test]
fn nothing_is_kept_for_a_proxy_that_was_removed() {
    let mut script = two_proxies();
    let first = alive(&script);
    script.cut_proxy(600).wait(12);
    for label in ["v2", "v3"] {
        script.deploy_with(label, Behaviour::Good(200), false, two).wait(10);
    }
    assert!(first.is_subset(&alive(&script)));
    let name = "lb-1".parse().expect("it is a name");
    // Whoever removes it says that its machine is gone.
    let gone = &mut script.world.proxies[1];
    gone.is_dead = true;
    (gone.workers, gone.saved) = (Vec::new(), std::sync::Arc::default());
    script.ask_fleet(FleetAsk::Remove { name }).wait(15).look();
    assert!(first.is_disjoint(&alive(&script)));
    assert_eq!(view(&script).waiting, []);
}

#[test]
fn a_server_that_hears_neither_its_host_nor_its_proxy_suspects_itself() {
    let mut script = Script::of(Hosts::apart(&[Pace::default(); 2]).addressed());
    script.add_proxy();
    script.deploy_with("v1", Behaviour::Good(200), false, two).wait(10);
    let before = alive(&script);
    script.cut_all(100).wait(90);
    let waiting: Vec<Waiting> = view(&script).waiting.iter().map(|it| it.waiting.clone()).collect();
    assert!(waiting.contains(&Waiting::SuspectsItself { silent: 2, of: 2 }), "{waiting:?}");
    assert_eq!(alive(&script), before, "its host is not replaced, however long it lasts");
    script.wait(40).look();
    assert_eq!(view(&script).waiting, []);
    assert_eq!(alive(&script), before);
}

/// The app was closed for a recreate that `lb-1`, cut off a moment before, did not hear of.
fn closed_without_lb(seconds: u64) -> (Script, BTreeSet<InstanceId>) {
    let mut script = two_proxies();
    let first = alive(&script);
    script.cut_proxy(seconds).deploy_with("v2", Behaviour::Good(200), false, recreate).wait(4);
    assert!(view(&script).maintenance, "{}", script.transcript());
    assert_eq!(alive(&script), first, "its users are answered by them");
    (script, first)
}

fn is_open_with(script: &Script, label: &str, instances: &BTreeSet<InstanceId>) -> bool {
    let view = view(script);
    let live = view.live.as_ref().map(|arm| arm.label.to_string());
    let of_server = &script.world.proxies[0].workers[0].snapshot.apps[0];
    let arms = of_server.arms.iter().filter(|arm| arm.share > model::Share::NONE);
    let used: BTreeSet<_> = arms.flat_map(|arm| &arm.instances).map(|it| it.id.clone()).collect();
    !view.maintenance
        && of_server.maintenance.is_none()
        && live.as_deref() == Some(label)
        && used == *instances
        && instances.is_subset(&alive(script))
}

#[test]
fn a_recreate_that_loses_a_proxy_opens_the_old_release_again_after_the_time_of_a_start() {
    let (mut script, first) = closed_without_lb(60);
    let waiting = view(&script).rollout.as_ref().and_then(|rollout| rollout.waiting.clone());
    let waiting = waiting.expect("it says why").sentence(model::Timestamp(0));
    let why = "waiting for lb-1 to be heard again (it may send users to 2 instances";
    assert!(waiting.starts_with(why), "{waiting}");
    script.wait(7).look();
    assert!(is_open_with(&script, "v1", &first), "{}", script.transcript());
    let receipt = last_receipt(&script);
    assert_eq!(receipt.outcome, Outcome::Failed);
    let cause = "lb-1 did not follow in time, and may send users to what had to stop first";
    assert_eq!(receipt.cause.as_deref(), Some(cause));
    // The release is not to blame.
    script.wait(60).deploy_again("v2", 2, false, recreate).wait(30).look();
    assert_eq!(last_receipt(&script).outcome, Outcome::Completed, "{}", script.transcript());
    assert_eq!(served_by_lb(&script), [ReleaseNo(2)].into());
}

#[test]
fn abort_opens_an_app_at_once_that_a_recreate_has_closed_in_vain() {
    let (mut script, first) = closed_without_lb(60);
    script.ask(Ask::Abort).wait(1).look();
    assert!(is_open_with(&script, "v1", &first), "{}", script.transcript());
    assert_eq!(last_receipt(&script).outcome, Outcome::Aborted);
}

/// One of the old instances has died meanwhile: the others are opened, and a new one joins them.
#[test]
fn abort_opens_a_closed_app_with_what_is_left_of_it() {
    let (mut script, first) = closed_without_lb(60);
    script.kill_live().wait(1).ask(Ask::Abort);
    script.world.run_for(100);
    let left: BTreeSet<_> = first.intersection(&alive(&script)).cloned().collect();
    assert_eq!(left.len(), 1);
    assert!(is_open_with(&script, "v1", &left), "{}", script.transcript());
    script.wait(20).look();
    assert!(is_open_with(&script, "v1", &alive(&script)));
    assert_eq!(alive(&script).len(), 2);
}

#[test]
fn a_recreate_goes_on_when_the_proxy_is_heard_in_time_also_after_a_crash_of_the_server() {
    for crashes in [false, true] {
        let (mut script, first) = closed_without_lb(6);
        if crashes {
            script.crash();
        }
        script.wait(40).look();
        assert_eq!(last_receipt(&script).outcome, Outcome::Completed, "{}", script.transcript());
        assert!(first.is_disjoint(&alive(&script)));
        assert!(is_open_with(&script, "v2", &alive(&script)));
    }
}

/// All proxies have taken the closed table, and the old instances drain. What control then forgets is in the journal.
#[test]
fn a_proxy_that_is_lost_after_the_app_was_closed_everywhere_holds_nothing_up() {
    for crashes in [false, true] {
        let mut script = two_proxies();
        script.requests(4, 3);
        script.deploy_with("v2", Behaviour::Good(200), false, recreate);
        script.world.run_for(500);
        assert!(view(&script).maintenance);
        script.cut_proxy(60);
        if crashes {
            script.crash();
        }
        script.wait(40).look();
        assert_eq!(last_receipt(&script).outcome, Outcome::Completed, "{}", script.transcript());
        assert!(is_open_with(&script, "v2", &alive(&script)));
    }
}

#[test]
fn a_restart_of_what_must_not_run_twice_opens_the_app_again_if_a_proxy_is_lost() {
    for aborts in [false, true] {
        let mut script = Script::of(Hosts::new(&[Pace::default()]).addressed());
        script.add_proxy();
        script.deploy_with("v1", Behaviour::Good(200), false, recreate).wait(20);
        let first = alive(&script);
        script.cut_proxy(60).ask(Ask::Restart).wait(4);
        assert!(view(&script).maintenance, "{}", script.transcript());
        assert_eq!(alive(&script), first);
        if aborts {
            script.ask(Ask::Abort).wait(1);
        } else {
            script.wait(8);
        }
        assert!(is_open_with(&script, "v1", &first), "{}", script.transcript());
        script.wait(60).ask(Ask::Restart).wait(30).look();
        assert!(first.is_disjoint(&alive(&script)), "{}", script.transcript());
        assert!(is_open_with(&script, "v1", &alive(&script)));
    }
}

/// The release that comes back must not run beside the candidate, which a lost proxy uses.
#[test]
fn a_way_back_that_cannot_stop_the_candidate_opens_it_again() {
    let mut script = two_proxies();
    let slow = |spec: &mut AppSpec| {
        recreate(spec);
        spec.strategy.watch = Millis::from_secs(60);
    };
    script.deploy_with("v2", Behaviour::Good(200), false, slow).wait(20);
    let second = alive(&script);
    script.cut_proxy(60).ask(Ask::Abort).wait(4);
    assert!(view(&script).maintenance, "{}", script.transcript());
    script.wait(8).look();
    assert!(is_open_with(&script, "v2", &second), "{}", script.transcript());
    assert_eq!(last_receipt(&script).outcome, Outcome::Failed);
    let v1 = view(&script).releases.iter().find(|it| it.no == ReleaseNo(1)).cloned();
    assert_eq!(v1.and_then(|v1| v1.bad), None, "it is not to blame");
}

/// The server had a loopback address when v1 was deployed. No other machine was ever told of such instances.
#[test]
fn what_a_lost_proxy_cannot_reach_is_not_kept_for_it() {
    let mut script = Script::new();
    script.deploy_with("v1", Behaviour::Good(200), false, two).wait(10);
    let first = alive(&script);
    script.world.restart_with_address();
    script.add_proxy().wait(5);
    assert_eq!(script.world.proxies[1].uses().count(), 0, "lb-1 cannot reach them");
    script.cut_proxy(120).wait(12);
    // Also after a restart, when control knows no more than that they run.
    script.crash().wait(15);
    script.deploy_with("v2", Behaviour::Good(200), false, recreate).wait(30).look();
    assert!(first.is_disjoint(&alive(&script)), "{}", script.transcript());
    assert!(is_open_with(&script, "v2", &alive(&script)));
    let receipt = last_receipt(&script);
    let told = "lb-1 is not heard: users who come through it still get what they got before";
    assert_eq!(receipt.elsewhere().collect::<Vec<_>>(), [told]);
    script.wait(100).look();
    assert_eq!(served_by_lb(&script), [ReleaseNo(2)].into());
    assert_eq!(script.world.proxies[1].workers[0].snapshot.apps[0].arms[0].instances.len(), 2);
}

/// Control forgets in a crash what the proxy had in flight on instances that have left its table.
#[test]
fn requests_of_a_silent_proxy_are_let_finish_in_a_recreate_after_a_crash_of_the_server() {
    let mut script = two_proxies();
    let first = alive(&script);
    script.requests(20, 7).deploy_with("v2", Behaviour::Good(200), false, recreate);
    script.world.run_for(500);
    let on_lb =
        |script: &Script| first.iter().map(|id| script.world.proxies[1].in_flight(id)).sum::<u32>();
    assert!(on_lb(&script) > 0 && script.world.proxies[1].uses().count() == 0);
    script.cut_proxy(60).crash().wait(6);
    assert!(on_lb(&script) > 0);
    assert!(first.is_subset(&alive(&script)), "{}", script.transcript());
    script.wait(40).look();
    assert_eq!(last_receipt(&script).outcome, Outcome::Completed, "{}", script.transcript());
    assert!(first.is_disjoint(&alive(&script)));
}

fn watched(spec: &mut AppSpec) {
    recreate(spec);
    spec.strategy.watch = Millis::from_secs(300);
}

/// A recreate to v2 is watched, and `lb-1`, which sends its users there, is lost for `seconds`.
fn watched_without_lb(seconds: u64) -> (Script, BTreeSet<InstanceId>) {
    let mut script = two_proxies();
    script.deploy_with("v2", Behaviour::Good(200), false, watched).wait(20);
    let second = alive(&script);
    assert!(is_open_with(&script, "v2", &second), "{}", script.transcript());
    script.cut_proxy(seconds).wait(12);
    (script, second)
}

fn rollout_waits_for(script: &Script) -> Option<Waiting> {
    let rollout = view(script).rollout.clone()?;
    rollout.waiting.map(|reason| reason.waiting)
}

/// The app would be closed for the time of a start, and the candidate opened again.
#[test]
fn a_recreate_that_fails_goes_back_only_when_the_lost_proxy_is_heard() {
    let (mut script, second) = watched_without_lb(90);
    script.world.proxies[0].errors.once_in.insert(ReleaseNo(2), 1);
    let app = "web".parse().expect("it is a name");
    for _ in 0..600 {
        script.world.request(&app, 20);
        script.world.run_for(100);
        assert!(!view(&script).maintenance, "{}", script.transcript());
    }
    assert!(is_open_with(&script, "v2", &second), "{}", script.transcript());
    let lb: model::ProxyId = "lb-1".parse().expect("it is a name");
    let waiting = Waiting::LostProxy { proxy: lb, instances: 2 };
    assert_eq!(rollout_waits_for(&script), Some(waiting));
    script.wait(50).look();
    let receipt = last_receipt(&script);
    assert_eq!(receipt.outcome, Outcome::Reverted, "{}", script.transcript());
    assert!(is_open_with(&script, "v1", &alive(&script)), "{}", script.transcript());
    assert!(second.is_disjoint(&alive(&script)));
    assert_eq!(served_by_lb(&script), [ReleaseNo(1)].into());
}

#[test]
fn a_recreate_that_fails_is_not_settled_while_its_way_back_waits_for_a_proxy() {
    let mut script = two_proxies();
    let short = |spec: &mut AppSpec| {
        recreate(spec);
        spec.strategy.watch = Millis::from_secs(40);
    };
    script.deploy_with("v2", Behaviour::Good(200), false, short).wait(8).cut_proxy(120).wait(12);
    script.world.proxies[0].errors.once_in.insert(ReleaseNo(2), 1);
    let app = "web".parse().expect("it is a name");
    for _ in 0..100 {
        script.world.request(&app, 20);
        script.world.run_for(100);
    }
    script.wait(60);
    assert!(matches!(rollout_waits_for(&script), Some(Waiting::LostProxy { .. })));
    script.wait(70).look();
    assert_eq!(last_receipt(&script).outcome, Outcome::Reverted, "{}", script.transcript());
    assert!(is_open_with(&script, "v1", &alive(&script)));
}

#[test]
fn abort_and_rollback_of_a_recreate_close_nothing_for_a_lost_proxy() {
    for ask in [Ask::Abort, Ask::Rollback { to: None }] {
        let (mut script, second) = watched_without_lb(60);
        script.ask(ask.clone()).wait(1);
        let refused = script.transcript();
        let why = "lb-1 is not heard and may send users to web-3, which would have to stop first";
        assert!(refused.contains(why) && refused.contains("segue fleet remove lb-1"), "{refused}");
        assert!(is_open_with(&script, "v2", &second), "{refused}");
        script.wait(60).ask(ask).wait(20).look();
        assert!(is_open_with(&script, "v1", &alive(&script)), "{}", script.transcript());
        assert!(second.is_disjoint(&alive(&script)));
    }
}

/// Nobody gets a good answer from the candidate, through whichever proxy.
#[test]
fn a_candidate_that_hangs_is_stopped_on_the_way_back_also_if_a_lost_proxy_may_use_it() {
    for crashes in [false, true] {
        let (mut script, second) = watched_without_lb(200);
        script.hang_live().wait(5).ask(Ask::Abort).wait(2);
        assert!(view(&script).maintenance, "{}", script.transcript());
        assert_eq!(alive(&script), second, "it may recover within the time of a start");
        if crashes {
            // Once before it is given up, and once while it drains.
            script.crash().wait(15).crash();
        }
        script.wait(50).look();
        assert!(is_open_with(&script, "v1", &alive(&script)), "{}", script.transcript());
        assert!(second.is_disjoint(&alive(&script)));
        assert_eq!(last_receipt(&script).outcome, Outcome::Reverted);
        // What lb-1 believes there gets no other's address, also in a later deploy.
        script.deploy_with("v3", Behaviour::Good(200), false, two).wait(20);
        script.wait(120).look();
        assert_eq!(served_by_lb(&script), [ReleaseNo(3)].into(), "{}", script.transcript());
        assert_eq!(script.world.violation(), None);
    }
}

/// The proxy fell silent after the way back had closed the app.
#[test]
fn a_way_back_whose_candidate_hangs_meanwhile_goes_on_without_the_proxy() {
    let mut script = two_proxies();
    script.deploy_with("v2", Behaviour::Good(200), false, watched).wait(20);
    let second = alive(&script);
    script.cut_proxy(120).ask(Ask::Abort).wait(2);
    script.hang_live().wait(50).look();
    assert!(second.is_disjoint(&alive(&script)), "{}", script.transcript());
    assert!(is_open_with(&script, "v1", &alive(&script)), "{}", script.transcript());
}
