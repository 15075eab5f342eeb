//! Instances that proxies do not reach: they get no users, and what does not reach them is named.

use std::collections::BTreeSet;

use model::{
    AppSpec, FailureBudget, HostFault, MemberName, Millis, Outcome, ProxyDuty, ReleaseNo, Standby,
    StrategyKind, Switch,
};
use rollout::{Ask, FleetAsk, Promote};
use testkit::{Behaviour, HostNo, Hosts, Pace, Script};

const GOOD: Behaviour = Behaviour::Good(200);

fn settings(spec: &mut AppSpec, replicas: u16, budget: u16) {
    spec.run.replicas = replicas;
    spec.strategy.standby = Standby::Keep;
    spec.strategy.watch = Millis::from_secs(2);
    spec.strategy.failure_budget = FailureBudget::Count(budget);
}

fn three(spec: &mut AppSpec) {
    settings(spec, 3, 0);
}

/// A server and two hosts, with one more proxy, and v1 live on all of them.
fn fleet() -> Script {
    let mut script = Script::of(Hosts::apart(&[Pace::default(); 3]).addressed());
    script.add_proxy().deploy_with("v1", GOOD, false, three).wait(15);
    script
}

fn view(script: &Script) -> std::sync::Arc<model::AppView> {
    script.world.views[&"web".parse().expect("it is a name")].clone()
}

fn last_receipt(script: &Script) -> model::Receipt {
    view(script).receipts.last().cloned().expect("a rollout has ended")
}

fn live(script: &Script) -> Option<String> {
    view(script).live.as_ref().map(|arm| arm.label.to_string())
}

/// The hosts of the live release's instances.
fn hosts(script: &Script) -> BTreeSet<String> {
    let arm = view(script).live.clone().expect("it is live");
    arm.instances.iter().map(|it| it.host.to_string()).collect()
}

#[test]
fn a_release_that_one_proxy_reaches_in_part_is_refused_without_blame() {
    let mut script = fleet();
    script.world.block(1, HostNo(2));
    script.deploy_with("v2", GOOD, false, three).wait(5);
    let waiting = view(&script).rollout.as_ref().and_then(|rollout| rollout.waiting.clone());
    let waiting = waiting.expect("it says why").waiting.to_string();
    let note = "it is healthy on its host, and lb-1 cannot reach 10.0.0.2:";
    assert!(waiting.contains(note), "{waiting}");
    script.wait(20).look();
    let receipt = last_receipt(&script);
    assert_eq!((receipt.outcome, live(&script)), (Outcome::Failed, Some("v1".into())));
    let cause = receipt.cause.expect("it says why");
    assert!(cause.contains(note) && cause.contains("could get no users"), "{cause}");
    assert_eq!(view(&script).releases.last().and_then(|release| release.bad.clone()), None);
}

#[test]
fn a_host_that_one_proxy_does_not_reach_is_put_aside_if_the_budget_allows_it() {
    let mut script = fleet();
    script.world.block(1, HostNo(2));
    script.deploy_with("v2", GOOD, false, |spec| settings(spec, 3, 1)).wait(60).look();
    let receipt = last_receipt(&script);
    assert_eq!(receipt.outcome, Outcome::Completed, "{}", script.transcript());
    assert_eq!(receipt.budget.map(|budget| (budget.spent, budget.of)), Some((1, 1)));
    let [aside] = &receipt.aside[..] else { panic!("{receipt:?}") };
    assert_eq!(aside.host.as_str(), "h2");
    assert!(matches!(&aside.why, HostFault::NotReached(why) if why.contains("lb-1 cannot reach")));
    assert_eq!(hosts(&script), ["local", "h1"].map(String::from).into());
}

#[test]
fn a_proxy_that_reaches_nothing_refuses_the_rollout_by_its_own_name_until_it_is_drained() {
    let mut script = fleet();
    (0..3).for_each(|host| script.world.block(1, HostNo(host)));
    script.deploy_with("v2", GOOD, false, |spec| settings(spec, 3, 1)).wait(40);
    let receipt = last_receipt(&script);
    assert_eq!((receipt.outcome, receipt.aside.len()), (Outcome::Failed, 0));
    let cause = receipt.cause.expect("it says why");
    assert!(cause.starts_with("lb-1 reaches none of the new instances; web-"), "{cause}");
    assert!(cause.ends_with("`segue fleet drain lb-1` lets rollouts go on without it"), "{cause}");
    let proxy: MemberName = "lb-1".parse().expect("it is a name");
    let duty = ProxyDuty::Draining { within: Millis::from_secs(10) };
    script.ask_fleet(FleetAsk::SetProxyDuty { proxy, duty });
    script.deploy_with("v3", GOOD, false, three).wait(20).look();
    assert_eq!(
        (last_receipt(&script).outcome, live(&script)),
        (Outcome::Completed, Some("v3".into()))
    );
}

#[test]
fn a_proxy_that_is_lost_or_late_is_not_asked() {
    let mut script = fleet();
    (0..3).for_each(|host| script.world.block(1, HostNo(host)));
    script.cut_proxy(200).wait(1).deploy_with("v2", GOOD, false, three).wait(30).look();
    assert_eq!(last_receipt(&script).outcome, Outcome::Completed, "{}", script.transcript());
}

/// The candidate was complete when a proxy joined that does not reach it.
#[test]
fn a_proxy_that_joins_later_has_to_reach_what_is_to_carry_traffic() {
    let mut script = Script::of(Hosts::apart(&[Pace::default(); 3]).addressed());
    script.deploy_with("v1", GOOD, false, three).wait(15);
    let manual = |spec: &mut AppSpec| {
        three(spec);
        spec.strategy.kind = StrategyKind::BlueGreen { switch: Switch::Manual };
    };
    script.deploy_with("v2", GOOD, false, manual).wait(5);
    assert_eq!(view(&script).rollout.as_ref().map(|rollout| rollout.phase), Some("ready"));
    script.add_proxy();
    script.world.block(1, HostNo(1));
    script.wait(5).ask(Ask::Promote(Promote::Step));
    let refused = script.transcript();
    assert!(refused.contains("cannot promote web: web-"), "{refused}");
    assert!(refused.contains("lb-1 cannot reach 10.0.0.1:"), "{refused}");
    script.world.block(1, HostNo(1));
    script.wait(5).ask(Ask::Promote(Promote::Step)).wait(10).look();
    assert_eq!(
        (last_receipt(&script).outcome, live(&script)),
        (Outcome::Completed, Some("v2".into()))
    );
}

/// What serves is not taken from users because one proxy does not reach it, and neither is what takes its place.
#[test]
fn what_is_live_goes_on_and_is_replaced_although_one_proxy_does_not_reach_it() {
    let mut script = fleet();
    let before = hosts(&script);
    (0..3).for_each(|host| script.world.block(1, HostNo(host)));
    script.wait(20);
    assert_eq!(hosts(&script), before);
    script.kill_live().wait(40).look();
    let arm = view(&script).live.clone().expect("it is live");
    let serving = arm.instances.iter().filter(|it| it.stage == model::Stage::Serving).count();
    assert_eq!((serving, arm.release), (3, ReleaseNo(1)), "{}", script.transcript());
}
