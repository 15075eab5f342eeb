//! Which hosts new instances go to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use model::{
    FailureBudget, Generation, HostAbilities, HostDuty, HostId, LimitObstacles, Millis, Obstacle,
    Reach, Resource, ResourceLimits, Stage, Timestamp,
};
use proptest::prelude::*;
use rollout::{App, Ask, Fact, HostSeen, Minted, Observed, apply, ask, decide};
use testkit::{ONE_PROXY, release, spec};

const NOW: Timestamp = Timestamp(1_000_000_000);

fn host(name: &str) -> HostId {
    name.parse().expect("it is valid")
}

/// Hosts `h1`, `h2` and so on, each with so many free ports.
fn hosts(ports: &[u16]) -> BTreeMap<HostId, HostSeen> {
    let seen = |(at, free): (usize, &u16)| {
        let address = IpAddr::from([10, 0, 0, u8::try_from(at + 1).expect("there are few")]);
        let free_ports = (20_000..20_000 + free).collect();
        let (abilities, duty) = (HostAbilities::default(), HostDuty::Active);
        let (reach, back_since) = (Reach::Here, None);
        let labels = [("number".to_owned(), (at + 1).to_string())].into();
        let seen = HostSeen { address, free_ports, abilities, reach, labels, duty, back_since };
        (host(&format!("h{}", at + 1)), seen)
    };
    ports.iter().enumerate().map(seen).collect()
}

fn observed<'a>(
    hosts: &'a BTreeMap<HostId, HostSeen>,
    seen: &'a BTreeMap<u64, rollout::InstanceSeen>,
    minutes: &'a VecDeque<rollout::Minute>,
) -> Observed<'a> {
    Observed {
        instances: seen,
        acknowledged: 0,
        generation: Generation { term: 1, counter: 0 },
        acknowledged_at: NOW,
        spread: None,
        hosts,
        suspicion: None,
        stood: Millis(0),
        recovered: Timestamp(0),
        counted: None,
        keep_releases: App::KEPT,
        minutes,
        proxies: &ONE_PROXY,
    }
}

/// What is minted for the first release of an app with so many replicas.
fn minted(app: &mut App, hosts: &BTreeMap<HostId, HostSeen>, replicas: u16) -> Vec<Minted> {
    let (seen, minutes) = (BTreeMap::new(), VecDeque::new());
    let seen = observed(hosts, &seen, &minutes);
    if app.rollout.is_none() {
        let mut settings = spec(&app.name);
        settings.run.replicas = replicas;
        settings.run.limits = ResourceLimits { memory: Some(1 << 30), ..ResourceLimits::default() };
        let release = Box::new(release(settings, "v1", 1));
        let deploy = Ask::Deploy { release, replace: false };
        let accepted = ask(app, &deploy, None, &seen, NOW).expect("it is accepted");
        accepted.facts.iter().for_each(|fact| apply(app, fact).expect("it follows"));
    }
    let facts = decide(app, &seen, NOW).expect("it follows").facts;
    facts.iter().for_each(|fact| apply(app, fact).expect("it follows"));
    facts.iter().flat_map(Fact::minted).cloned().collect()
}

fn web() -> App {
    App::new("web".parse().expect("it is valid"))
}

fn counts(app: &App) -> BTreeMap<&HostId, usize> {
    let mut counts = BTreeMap::new();
    for instance in app.instances.values().filter(|i| i.stage < Stage::Draining) {
        *counts.entry(&instance.host).or_default() += 1;
    }
    counts
}

#[test]
fn instances_are_spread_evenly_and_listen_at_their_hosts_address() {
    let (mut app, hosts) = (web(), hosts(&[50, 50, 50]));
    let minted = minted(&mut app, &hosts, 7);
    assert_eq!(counts(&app).into_values().collect::<Vec<_>>(), [3, 2, 2]);
    for one in &minted {
        let address = one.address.to_string();
        assert!(address.starts_with(&format!("{}:", hosts[&one.host].address)), "{address}");
    }
    let addresses: BTreeSet<_> = minted.iter().map(|one| &one.address).collect();
    assert_eq!(addresses.len(), 7, "no address is given twice");
}

#[test]
fn a_host_without_ports_gets_nothing_and_what_finds_no_place_comes_later() {
    let mut app = web();
    let few = hosts(&[2, 0, 1]);
    assert_eq!(minted(&mut app, &few, 5).len(), 3);
    assert_eq!(counts(&app), BTreeMap::from([(&host("h1"), 2), (&host("h3"), 1)]));
    assert!(minted(&mut app, &few, 5).is_empty(), "what was handed out is not free any more");
    assert_eq!(minted(&mut app, &hosts(&[2, 9, 1]), 5).len(), 2);
    assert_eq!(
        counts(&app),
        BTreeMap::from([(&host("h1"), 2), (&host("h2"), 2), (&host("h3"), 1)])
    );
}

/// However full the hosts with the label are, the others get nothing.
#[test]
fn a_release_runs_only_on_hosts_with_its_label_and_is_refused_where_there_is_none() {
    let (mut app, hosts) = (web(), hosts(&[50, 2, 50]));
    let on = |text: &str| Some(text.parse().expect("it is a label"));
    let (seen, minutes) = (BTreeMap::new(), VecDeque::new());
    let deploy = |selector: &str| {
        let mut settings = spec(&"web".parse().expect("it is valid"));
        (settings.on, settings.run.replicas) = (on(selector), 3);
        Ask::Deploy { release: Box::new(release(settings, "v1", 1)), replace: false }
    };
    let observed = observed(&hosts, &seen, &minutes);
    let refused = ask(&app, &deploy("number=9"), None, &observed, NOW).expect_err("there is none");
    assert!(refused.message.contains("has the label number=9"), "{}", refused.message);
    let accepted = ask(&app, &deploy("number=2"), None, &observed, NOW).expect("there is one");
    accepted.facts.iter().for_each(|fact| apply(&mut app, fact).expect("it follows"));
    assert_eq!(minted(&mut app, &hosts, 3).len(), 2);
    assert_eq!(counts(&app), BTreeMap::from([(&host("h2"), 2)]));
}

/// Right after a start of the server nobody else is heard. Its own host's obstacle is beside the point.
#[test]
fn a_deploy_that_finds_nobody_heard_is_refused_by_that_reason() {
    let (app, mut hosts) = (web(), hosts(&[50, 50]));
    let obstacle = Obstacle { why: "it has only a loopback address".into(), hint: "join".into() };
    hosts.entry(host("h1")).and_modify(|seen| seen.abilities.closed = Some(Box::new(obstacle)));
    let deploy =
        Ask::Deploy { release: Box::new(release(spec(&app.name), "v1", 1)), replace: false };
    let (seen, minutes) = (BTreeMap::new(), VecDeque::new());
    let mut refused = |reach| {
        hosts.entry(host("h2")).and_modify(|seen| seen.reach = reach);
        let observed = observed(&hosts, &seen, &minutes);
        ask(&app, &deploy, None, &observed, NOW).err().map(|refusal| refusal.message)
    };
    let message = refused(Reach::Silent { since: NOW }).expect("nobody could run it");
    assert_eq!(message, "cannot deploy web: no host that could run it is heard: h2");
    assert_eq!(refused(Reach::Here), None);
}

#[test]
fn a_host_that_cannot_run_the_release_is_left_out_unless_none_can() {
    let cannot = || {
        let obstacle = Obstacle { why: "no controller".into(), hint: "mount it".into() };
        LimitObstacles::new([(Resource::Memory, obstacle)])
    };
    let (mut app, mut hosts) = (web(), hosts(&[50, 50]));
    hosts.entry(host("h1")).and_modify(|seen| seen.abilities.limits = cannot());
    minted(&mut app, &hosts, 3);
    assert_eq!(counts(&app), BTreeMap::from([(&host("h2"), 3)]));
    // Of a release that was accepted before the host says itself why it cannot run.
    app.instances.clear();
    hosts.entry(host("h2")).and_modify(|seen| seen.abilities.limits = cannot());
    minted(&mut app, &hosts, 3);
    assert_eq!(counts(&app).into_values().sum::<usize>(), 3);
}

/// What `plan` foretells is what a rollout does, for hosts that take instances and for those that do not.
#[test]
fn a_plan_says_which_hosts_get_what_and_why_others_get_nothing() {
    let (app, mut hosts) = (web(), hosts(&[50, 50, 50, 50]));
    hosts.entry(host("h2")).and_modify(|seen| seen.duty = HostDuty::Cordoned);
    let lost = Reach::Lost { since: NOW };
    hosts.entry(host("h4")).and_modify(|seen| seen.reach = lost);
    let (seen, minutes) = (BTreeMap::new(), VecDeque::new());
    let mut settings = spec(&app.name);
    settings.run.replicas = 3;
    settings.strategy.failure_budget = FailureBudget::Percent(50);
    let deploy = |settings| {
        let release = Box::new(release(settings, "v1", 1));
        Ask::Deploy { release, replace: false }
    };
    let observed = observed(&hosts, &seen, &minutes);
    let accepted =
        ask(&app, &deploy(settings.clone()), None, &observed, NOW).expect("two of four are left");
    let planned = accepted.begins.expect("it begins").hosts.expect("there are many hosts");
    assert_eq!(planned.instances, [(host("h1"), 2), (host("h3"), 1)].into());
    let left_out: Vec<_> =
        planned.left_out.iter().map(|out| (out.host.as_str(), out.why.as_str())).collect();
    assert_eq!(left_out, [("h2", "it is cordoned"), ("h4", "it is not heard")]);
    assert_eq!(planned.may_fail, 1, "half of the two that get something");
    let mut begun = app.clone();
    accepted.facts.iter().for_each(|fact| apply(&mut begun, fact).expect("it follows"));
    let facts = decide(&begun, &observed, NOW).expect("it follows").facts;
    facts.iter().for_each(|fact| apply(&mut begun, fact).expect("it follows"));
    let counts = counts(&begun).into_iter().map(|(host, n)| (host.clone(), n));
    let planned = planned.instances.into_iter().map(|(host, n)| (host, usize::from(n)));
    assert_eq!(counts.collect::<Vec<_>>(), planned.collect::<Vec<_>>());
}

proptest! {
    /// Whatever the hosts have to give: no number and no address is given twice, nothing is left over
    /// while a host has room, and no host with room has two fewer than another.
    #[test]
    fn placement_is_whole_and_even(ports in prop::collection::vec(0_u16..6, 1..8), replicas in 1_u16..30) {
        let (mut app, hosts) = (web(), hosts(&ports));
        let minted = minted(&mut app, &hosts, replicas);
        let room = ports.iter().map(|free| usize::from(*free)).sum::<usize>();
        prop_assert_eq!(minted.len(), room.min(usize::from(replicas)));
        let numbers: BTreeSet<u64> = minted.iter().map(|one| one.number).collect();
        let addresses: BTreeSet<_> = minted.iter().map(|one| &one.address).collect();
        prop_assert_eq!((numbers.len(), addresses.len()), (minted.len(), minted.len()));
        let counts = counts(&app);
        let most = counts.values().copied().max().unwrap_or(0);
        for (id, seen) in &hosts {
            let has = counts.get(id).copied().unwrap_or(0);
            prop_assert!(has == seen.free_ports.len() || has + 1 >= most, "{id} has {has} of {most}");
        }
    }
}
