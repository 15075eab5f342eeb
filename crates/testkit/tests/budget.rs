//! The failure budget: how many hosts a rollout may do without.

use std::collections::BTreeSet;

use model::{
    AppSpec, AppView, Batch, BudgetSpent, Capacity, FailureBudget, Gate, HostDuty, HostFault,
    HostId, Millis, OnFailure, Order, Outcome, Receipt, Share, Standby, Step, StrategyKind,
    Waiting,
};
use rollout::{Ask, FleetAsk};
use testkit::{Behaviour, HostNo, Pace, Script};

const H1: HostNo = HostNo(1);
const H2: HostNo = HostNo(2);

/// A fleet of the server's own host and three more.
fn fleet() -> Script {
    Script::with_fleet(&[Pace::default(); 4])
}

fn settings(spec: &mut AppSpec, kind: StrategyKind, budget: FailureBudget) {
    spec.run.replicas = 4;
    spec.strategy.kind = kind;
    spec.strategy.watch = Millis::from_secs(20);
    spec.strategy.failure_budget = budget;
}

fn blue_green() -> StrategyKind {
    StrategyKind::BlueGreen { switch: model::Switch::Auto }
}

fn rolling(order: Order) -> StrategyKind {
    let (batch, pause, on_failure) = (Batch::Count(1), Millis::from_secs(2), OnFailure::Revert);
    StrategyKind::Rolling { batch, order, pause, on_failure }
}

fn canary() -> StrategyKind {
    let share = |n| Share::from_ten_thousandths(n).expect("it is a share");
    let steps = [2_500, 5_000].map(|n| Step { share: share(n), gate: Gate::After(Millis(5_000)) });
    StrategyKind::Canary { steps: steps.to_vec(), cohort: None, capacity: Capacity::Share }
}

fn view(script: &Script) -> std::sync::Arc<AppView> {
    script.world.views[&"web".parse().expect("it is a name")].clone()
}

fn last_receipt(script: &Script) -> Receipt {
    view(script).receipts.last().cloned().expect("a rollout has ended")
}

fn host(name: &str) -> HostId {
    name.parse().expect("it is a name")
}

fn aside(receipt: &Receipt) -> Vec<(&str, HostFault)> {
    receipt.aside.iter().map(|aside| (aside.host.as_str(), aside.why.clone())).collect()
}

/// The hosts with an instance of the live release that serves.
fn serving(script: &Script) -> (String, BTreeSet<HostId>) {
    let live = view(script).live.clone().expect("a release is live");
    let up = live.instances.iter().filter(|i| i.health == model::Health::Up);
    (live.label.to_string(), up.map(|i| i.host.clone()).collect())
}

/// A deploy of v2 by this strategy, `seconds` after which a host is switched off.
fn switched_off(kind: StrategyKind, budget: FailureBudget, seconds: u64) -> Script {
    let mut script = fleet();
    let before = |spec: &mut AppSpec| settings(spec, blue_green(), FailureBudget::default());
    script.deploy_with("v1", Behaviour::Good(200), false, before).wait(30);
    let deploy = |spec: &mut AppSpec| settings(spec, kind, budget);
    script.deploy_with("v2", Behaviour::Good(1_000), false, deploy).wait(seconds);
    script.kill_host(H1, 200_000).wait(70);
    script
}

#[test]
fn a_host_that_is_switched_off_in_any_strategy_is_in_the_budget_or_the_rollout_is_taken_back() {
    let kinds = [blue_green(), rolling(Order::InPlace), rolling(Order::Surge), canary()];
    for (kind, seconds) in kinds.iter().flat_map(|kind| [0, 1, 3, 8].map(|s| (kind, s))) {
        let name = format!("{kind:?} after {seconds} s");
        let mut script = switched_off(kind.clone(), FailureBudget::Count(0), seconds);
        let receipt = last_receipt(&script);
        assert_eq!(receipt.budget, Some(BudgetSpent { spent: 1, of: 0 }), "{name}");
        assert_eq!(aside(&receipt), [("h1", HostFault::Lost)], "{name}");
        let cause = receipt.cause.unwrap_or_default();
        assert_eq!(
            cause, "1 host failed, and `failure_budget` allows 0: h1 (it was lost)",
            "{name}"
        );
        assert!(matches!(receipt.outcome, Outcome::Failed | Outcome::Reverted), "{name}");
        assert_eq!(serving(&script).0, "v1", "{name}");
        let v2 = view(&script).releases.last().cloned().expect("it is stored");
        assert_eq!((v2.label.as_str(), v2.bad), ("v2", None), "{name}: it is not to blame");
        assert_eq!(script.wait(100).world.violation(), None, "{name}");

        let mut script = switched_off(kind.clone(), FailureBudget::Count(1), seconds);
        let receipt = last_receipt(&script);
        assert_eq!((receipt.outcome, receipt.cause), (Outcome::Completed, None), "{name}");
        assert_eq!(receipt.budget, Some(BudgetSpent { spent: 1, of: 1 }), "{name}");
        script.wait(200);
        let (live, hosts) = serving(&script);
        assert_eq!((live.as_str(), script.world.violation()), ("v2", None), "{name}");
        assert!(hosts.len() >= 3, "{name}: {hosts:?}");
        let running: Vec<_> = script.world.hosts.alive().collect();
        let instances = view(&script).instances().count();
        assert_eq!(running.len(), instances, "{name}: nothing old is left on the host");
    }
}

#[test]
fn a_host_that_cannot_start_the_release_is_put_aside_and_gets_its_part_later() {
    let mut script = fleet();
    let rolling = |spec: &mut AppSpec| {
        settings(spec, rolling(Order::InPlace), FailureBudget::Count(1));
    };
    script.deploy_with("v1", Behaviour::Good(200), false, rolling).wait(30);
    script.world.hosts.set_read_only(H2, true);
    script.deploy_with("v2", Behaviour::Good(200), false, rolling).wait(10).look();
    let waits = |script: &Script| {
        let waiting = view(script).waiting.clone();
        waiting.into_iter().any(|reason| matches!(reason.waiting, Waiting::HostAside(_)))
    };
    assert!(waits(&script), "status says why h2 has none");
    script.crash().wait(5).look();
    assert!(waits(&script), "the journal knows it");
    script.wait(60).look();
    let receipt = last_receipt(&script);
    assert_eq!((receipt.outcome, receipt.aside.len()), (Outcome::Completed, 1));
    let hosts = ["h1", "h3", "local"].map(host);
    assert_eq!(serving(&script), ("v2".into(), hosts.into()));
    script.world.hosts.set_read_only(H2, false);
    script.deploy_with("v3", Behaviour::Good(200), false, rolling).wait(90);
    assert_eq!(serving(&script).1.len(), 4);
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn a_spent_budget_takes_the_rollout_back_with_the_list_of_hosts() {
    let mut script = fleet();
    let deploy = |spec: &mut AppSpec| settings(spec, blue_green(), FailureBudget::Count(1));
    script.deploy_with("v1", Behaviour::Good(200), false, deploy).wait(30);
    for host in [H1, H2] {
        script.world.hosts.set_read_only(host, true);
    }
    script.deploy_with("v2", Behaviour::Good(200), false, deploy).wait(30).look();
    let receipt = last_receipt(&script);
    assert_eq!((receipt.outcome, serving(&script).0.as_str()), (Outcome::Failed, "v1"));
    let cause = receipt.cause.unwrap_or_default();
    assert!(cause.starts_with("2 hosts failed, and `failure_budget` allows 1: h1 ("), "{cause}");
    assert!(cause.contains("; h2 (instance web-"), "{cause}");
    insta::assert_snapshot!(script.transcript());
}

/// Each host counts once, so a release that starts nowhere fails on one host more than may fail.
#[test]
fn a_release_that_starts_nowhere_is_taken_back_whatever_the_budget() {
    for budget in [FailureBudget::Count(0), FailureBudget::Count(2), FailureBudget::Percent(100)] {
        let mut script = fleet();
        let deploy = |spec: &mut AppSpec| settings(spec, blue_green(), budget);
        script.deploy_with("v1", Behaviour::Good(200), false, deploy).wait(30);
        script.deploy_with("v2", Behaviour::Exits(300), false, deploy).wait(60);
        let receipt = last_receipt(&script);
        assert_eq!((receipt.outcome, receipt.to.as_str()), (Outcome::Failed, "v2"), "{budget:?}");
        assert_eq!(serving(&script).1.len(), 4, "{budget:?}");
        assert_eq!(script.world.violation(), None, "{budget:?}");
    }
}

#[test]
fn hosts_that_were_lost_before_cost_nothing_and_half_of_the_hosts_have_to_be_left() {
    let mut script = fleet();
    let deploy = |spec: &mut AppSpec| settings(spec, blue_green(), FailureBudget::Percent(30));
    script.deploy_with("v1", Behaviour::Good(200), false, deploy).wait(30);
    script.cut(H1, 120).wait(15);
    let cordon = FleetAsk::SetDuty { host: host("h2"), duty: HostDuty::Cordoned };
    script.ask_fleet(cordon);
    script.deploy_with("v2", Behaviour::Good(200), false, deploy).wait(40).look();
    let receipt = last_receipt(&script);
    assert_eq!(receipt.outcome, Outcome::Completed);
    assert_eq!(receipt.budget, Some(BudgetSpent { spent: 0, of: 0 }), "30 % of 2 hosts are none");
    let cordon = FleetAsk::SetDuty { host: host("h3"), duty: HostDuty::Cordoned };
    script.ask_fleet(cordon);
    script.deploy_with("v3", Behaviour::Good(200), false, deploy).wait(1).look();
    assert_eq!(serving(&script).0, "v2");
    insta::assert_snapshot!(script.transcript());
}

#[test]
fn no_batch_begins_while_a_host_of_the_batch_before_is_silent() {
    for order in [Order::InPlace, Order::Surge] {
        let mut script = fleet();
        let deploy = |spec: &mut AppSpec| {
            settings(spec, rolling(order), FailureBudget::Count(1));
            spec.strategy.standby = Standby::None;
        };
        script.deploy_with("v1", Behaviour::Good(200), false, deploy).wait(30);
        script.deploy_with("v2", Behaviour::Good(200), false, deploy);
        let candidate = |script: &Script| {
            let candidate = view(script).candidate.clone();
            candidate.into_iter().flat_map(|arm| arm.instances).collect::<Vec<_>>()
        };
        while view(&script).rollout.as_ref().is_none_or(|r| r.phase != "holding") {
            script.world.run_for(10);
        }
        let first = candidate(&script)[0].host.clone();
        let number = script.world.hosts.number(&first).filter(|no| *no != HostNo(0));
        let number = number.expect("it is a host with a link");
        script.cut(number, 6);
        let is_silent = |script: &Script| {
            let engine = script.world.engine();
            engine.is_some_and(|engine| engine.hosts()[&first].reach != model::Reach::Here)
        };
        while !is_silent(&script) {
            script.world.run_for(10);
        }
        let begun = candidate(&script).len();
        while is_silent(&script) {
            assert_eq!(candidate(&script).len(), begun, "{order:?}");
            script.world.run_for(10);
        }
        script.wait(100);
        let receipt = last_receipt(&script);
        assert_eq!((receipt.outcome, receipt.aside), (Outcome::Completed, vec![]), "{order:?}");
        assert_eq!(script.world.violation(), None, "{order:?}");
    }
}

#[test]
fn a_way_back_has_no_budget() {
    let mut script = fleet();
    let deploy = |spec: &mut AppSpec| settings(spec, blue_green(), FailureBudget::default());
    script.deploy_with("v1", Behaviour::Good(200), false, deploy).wait(40);
    script.deploy_with("v2", Behaviour::Good(200), false, deploy).wait(40);
    script.deploy_with("v3", Behaviour::Good(200), false, deploy).wait(40);
    let first = view(&script).releases[0].no;
    script.ask(Ask::Rollback { to: Some(first) }).wait(0);
    script.kill_host(H1, 100_000).wait(60);
    let receipt = last_receipt(&script);
    assert_eq!((receipt.outcome, receipt.budget), (Outcome::Completed, None));
    assert_eq!(serving(&script).0, "v1");
    script.wait(120);
    script.deploy_with("v4", Behaviour::Good(3_000), false, deploy).wait(1);
    script.ask(Ask::Abort).kill_host(H2, 100_000).wait(60);
    let receipt = last_receipt(&script);
    assert_eq!((receipt.outcome, receipt.aside), (Outcome::Aborted, vec![]));
    assert_eq!(script.world.violation(), None);
}

/// What ends there of the release's first try is not its candidate.
#[test]
fn a_release_that_comes_again_owes_nothing_for_a_host_that_was_lost_before() {
    let budget = FailureBudget::Count(0);
    let mut script = fleet();
    let deploy = |spec: &mut AppSpec| settings(spec, blue_green(), budget);
    script.deploy_with("v1", Behaviour::Good(200), false, deploy).wait(30);
    script.deploy_with("v2", Behaviour::Good(200), false, deploy).wait(2);
    script.kill_host(H1, 300_000).wait(30);
    assert_eq!(last_receipt(&script).outcome, Outcome::Reverted);
    script.deploy_again("v2", 2, false, deploy).wait(60);
    assert_eq!(script.world.violation(), None);
    let receipt = last_receipt(&script);
    assert_eq!((receipt.outcome, receipt.cause), (Outcome::Completed, None));
    assert_eq!(receipt.budget, Some(BudgetSpent { spent: 0, of: 0 }));
    assert_eq!(script.world.violation(), None);
}

/// The old instance on the host may run on, which is what the budget allows. It ends when the host is heard.
#[test]
fn a_recreate_goes_on_without_a_lost_host_within_its_budget() {
    let recreate = || StrategyKind::Recreate { page: model::Page::default() };
    for seconds in [0, 1, 3, 8] {
        let mut script = fleet();
        let before = |spec: &mut AppSpec| settings(spec, blue_green(), FailureBudget::default());
        script.deploy_with("v1", Behaviour::Good(200), false, before).wait(30);
        script.cut(H1, 120);
        let deploy = |spec: &mut AppSpec| settings(spec, recreate(), FailureBudget::Count(1));
        script.deploy_with("v2", Behaviour::Good(1_000), false, deploy).wait(seconds);
        script.wait(60).look();
        let receipt = last_receipt(&script);
        assert_eq!(receipt.outcome, Outcome::Completed, "{}", script.transcript());
        assert_eq!(aside(&receipt), [("h1", HostFault::Lost)], "after {seconds} s");
        assert_eq!(receipt.owed, [host("h1")], "after {seconds} s");
        assert!(!view(&script).maintenance);
        assert_eq!(serving(&script).1.len(), 3, "the others carry it");
        script.wait(120).look();
        let (live, hosts) = serving(&script);
        assert_eq!((live.as_str(), hosts.len()), ("v2", 3), "{}", script.transcript());
        assert_eq!(script.world.hosts.alive().count(), 4, "nothing old is left on the host");
    }
}
