//! A server without a proxy of its own, and with none that is heard: nobody is moved forward, and a way back waits
//! for the first proxy that returns.

use model::{AppSpec, Millis, Outcome, ProxyId, ReleaseNo, StrategyKind, Switch, Waiting};
use rollout::{Ask, Promote};
use testkit::{Behaviour, Hosts, Pace, Script, World};

const GOOD: Behaviour = Behaviour::Good(200);

fn manual(spec: &mut AppSpec) {
    spec.strategy.watch = Millis::from_secs(2);
    spec.strategy.kind = StrategyKind::BlueGreen { switch: Switch::Manual };
}

fn auto(spec: &mut AppSpec) {
    spec.strategy.watch = Millis::from_secs(2);
}

/// A server without a proxy, and `lb-1`.
fn one_proxy() -> Script {
    let hosts = Hosts::new(&[Pace::default()]).addressed();
    let mut script = Script::in_world(World::without_own_proxy(1, hosts, None));
    script.add_proxy();
    script
}

fn view(script: &Script) -> std::sync::Arc<model::AppView> {
    script.world.views[&"web".parse().expect("it is a name")].clone()
}

fn live(script: &Script) -> Option<ReleaseNo> {
    view(script).live.as_ref().map(|arm| arm.release)
}

fn served_by_lb(script: &Script) -> Option<ReleaseNo> {
    let section = script.world.proxies[1].workers[0].snapshot.apps.first()?;
    section.arms.iter().max_by_key(|arm| arm.share).map(|arm| arm.release)
}

#[test]
fn proxies_alone_carry_an_app_through_deploy_and_rollback() {
    let mut script = one_proxy();
    script.deploy_with("v1", GOOD, false, auto).wait(10);
    script.deploy_with("v2", GOOD, false, auto).wait(10);
    assert_eq!((live(&script), served_by_lb(&script)), (Some(ReleaseNo(2)), Some(ReleaseNo(2))));
    script.ask(Ask::Rollback { to: None }).wait(2).look();
    assert_eq!((live(&script), served_by_lb(&script)), (Some(ReleaseNo(1)), Some(ReleaseNo(1))));
    assert_eq!(script.world.proxies[0].uses().count(), 0, "the server's own is no part of it");
    let proxies = &script.world.engine().expect("it runs").proxies().remote;
    assert_eq!(proxies.iter().map(|it| it.name.clone()).collect::<Vec<ProxyId>>().len(), 1);
}

#[test]
fn without_a_proxy_a_deploy_is_refused_and_a_rollback_waits_for_the_first_that_returns() {
    let mut script = one_proxy();
    script.deploy_with("v1", GOOD, false, auto).wait(10);
    script.deploy_with("v2", GOOD, false, auto).wait(10);
    script.cut_proxy(60).wait(12);
    script.deploy_with("v3", GOOD, false, auto);
    let refused = script.transcript();
    assert!(refused.contains("cannot deploy web: no proxy is here"), "{refused}");
    script.ask(Ask::Rollback { to: None }).wait(5).look();
    let said = script.transcript();
    let note = "switching back to v1; no proxy has it yet, the first that is heard again gets it";
    assert!(said.contains(note), "{said}");
    assert_eq!((live(&script), served_by_lb(&script)), (Some(ReleaseNo(1)), Some(ReleaseNo(2))));
    let waiting = view(&script).rollout.as_ref().and_then(|rollout| rollout.waiting.clone());
    assert_eq!(waiting.map(|reason| reason.waiting), Some(Waiting::NoProxy));
    // Also when control has forgotten what it has seen.
    script.crash().wait(60).look();
    assert_eq!(served_by_lb(&script), Some(ReleaseNo(1)), "{}", script.transcript());
    assert!(view(&script).rollout.is_none());
}

#[test]
fn a_rollout_that_loses_the_last_proxy_stands_until_it_returns() {
    let mut script = one_proxy();
    script.deploy_with("v1", GOOD, false, auto).wait(10);
    script.deploy_with("v2", GOOD, false, manual).wait(5);
    script.cut_proxy(40).wait(12).ask(Ask::Promote(Promote::Step));
    let refused = script.transcript();
    assert!(refused.contains("cannot promote web: no proxy is here"), "{refused}");
    script.wait(40).ask(Ask::Promote(Promote::Step)).wait(5).look();
    let receipt = view(&script).receipts.last().cloned().expect("a rollout has ended");
    assert_eq!((receipt.outcome, served_by_lb(&script)), (Outcome::Completed, Some(ReleaseNo(2))));
    // One that starts when the proxy is lost begins to serve nobody.
    script.deploy_with("v3", Behaviour::Good(4_000), false, auto).wait(1).cut_proxy(40).wait(20);
    let waiting = view(&script).rollout.as_ref().and_then(|rollout| rollout.waiting.clone());
    assert_eq!(waiting.map(|reason| reason.waiting), Some(Waiting::NoProxy));
    script.wait(40).look();
    assert_eq!(served_by_lb(&script), Some(ReleaseNo(3)), "{}", script.transcript());
}
