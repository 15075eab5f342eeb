//! Who gets the candidate while a release comes in: by cohort, by user key, by share.

use std::net::SocketAddr;

use model::{Affinity, Cohort, Health, HealthTable, Mark, ReleaseNo, RolloutId, Snapshot, Split};
use proxy::AffinityKey;

use crate::common::*;

/// Live release 1 and candidate 2 with this share.
fn split(counter: u64, share: u16, affinity: Affinity, at: [SocketAddr; 2]) -> Snapshot {
    let arms: &[ArmOf<'_>] = &[(1, 10_000 - share, &[(1, at[0])]), (2, share, &[(2, at[1])])];
    let mut snapshot = snapshot(counter, arms);
    snapshot.apps[0].route.affinity = affinity;
    let split = Split { rollout: RolloutId(7), candidate: ReleaseNo(2), cohort: None };
    snapshot.apps[0].split = Some(split);
    snapshot
}

fn cohort(mut snapshot: Snapshot, mark: Mark) -> Snapshot {
    let cohort = Cohort { mark, public: false };
    snapshot.apps[0].split.as_mut().expect("split").cohort = Some(cohort);
    snapshot
}

/// A proxy that trusts these networks.
fn trusting(initial: &Snapshot, networks: &[&str]) -> World {
    let mut config = config();
    let networks = networks.iter().map(|text| text.parse().expect("a network"));
    config.trusted_networks = networks.collect();
    World::of(initial, config)
}

/// Two releases that say which they are, and what `Cookie` they were shown.
fn releases() -> [SocketAddr; 2] {
    ["live", "new"].map(|name| {
        answering(move |seen| {
            let cookie = field(&seen.head, "cookie").unwrap_or_default();
            let body = format!("{name} [{cookie}]");
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        })
    })
}

fn is_new(got: &Got) -> bool {
    got.text().starts_with("new")
}

/// `name=value` of the cookie that an answer sets.
fn set_cookie(got: &Got) -> Option<String> {
    got.field("set-cookie").map(|line| line.split(';').next().expect("a cookie").to_owned())
}

#[test]
fn ten_thousand_new_users_are_divided_as_the_share_says() {
    let at = releases();
    let world = World::new(&split(1, 1_000, Affinity::Cookie, at));
    for (counter, share) in [(2, 1_000), (3, 5_000)] {
        world.publish(&split(counter, share, Affinity::Cookie, at));
        let mut client = world.client();
        let new = (0..10_000).filter(|_| is_new(&client.get("/"))).count();
        // Four standard deviations at most.
        assert!(new.abs_diff(usize::from(share)) <= 200, "{new} at {share}");
    }
}

#[test]
fn users_stay_where_they_are_and_nobody_goes_back_as_the_share_grows() {
    let at = releases();
    let world = World::new(&split(1, 500, Affinity::Cookie, at));
    let mut client = world.client();
    let mut users: Vec<_> = (0..100)
        .map(|_| {
            let got = client.get("/");
            (set_cookie(&got).expect("a new user gets a cookie"), is_new(&got))
        })
        .collect();
    for (counter, share) in (2..).zip([500, 1_000, 2_500, 5_000, 9_000, 9_999]) {
        world.publish(&split(counter, share, Affinity::Cookie, at));
        for (cookie, was_new) in &mut users {
            let got = client.get_with("/", &format!("Cookie: {cookie}\r\n"));
            assert_eq!(set_cookie(&got), None, "a known user needs no other cookie");
            assert!(is_new(&got) || !*was_new, "{cookie} went back at {share}");
            *was_new = is_new(&got);
        }
    }
    // Back to live with one snapshot, and then there is nothing to remember.
    world.publish(&split(90, 0, Affinity::Cookie, at));
    for (cookie, _) in &users {
        let got = client.get_with("/", &format!("Cookie: {cookie}\r\n"));
        assert!(!is_new(&got) && set_cookie(&got).is_none());
    }
    world.publish(&split(91, 10_000, Affinity::Cookie, at));
    assert!(
        users
            .iter()
            .all(|(cookie, _)| { is_new(&client.get_with("/", &format!("Cookie: {cookie}\r\n"))) })
    );
    let mut off = snapshot(92, &[(1, 10_000, &[(1, at[0])]), (2, 0, &[(2, at[1])])]);
    off.apps[0].route.affinity = Affinity::Cookie;
    world.publish(&off);
    assert!((0..50).all(|_| {
        let got = client.get("/");
        !is_new(&got) && set_cookie(&got).is_none()
    }));
}

#[test]
fn the_cookie_is_for_us_alone_and_others_reach_the_app() {
    let at = releases();
    let world = World::new(&split(1, 5_000, Affinity::Cookie, at));
    let mut client = world.client();
    let got = client.get("/");
    let line = got.field("set-cookie").expect("a cookie");
    assert!(line.starts_with("__segue_web="), "{line}");
    assert!(line.ends_with("; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"), "{line}");
    let ours = set_cookie(&got).expect("a cookie");
    let fields = format!("Cookie: a=1; {ours}; theme=\"dark\"\r\n");
    assert!(client.get_with("/", &fields).text().ends_with(" [a=1; theme=\"dark\"]"));
    assert!(client.get_with("/", &format!("Cookie: {ours}\r\n")).text().ends_with(" []"));
    // Also when the rollout is long over: browsers keep it.
    world.publish(&one(2, 1, at[0]));
    assert_eq!(client.get_with("/", &fields).text(), "live [a=1; theme=\"dark\"]");
}

#[test]
fn forged_and_foreign_cookies_do_nothing_and_older_keys_still_open() {
    let at = releases();
    let keys = |keys: &[u8]| {
        let mut config = config();
        config.affinity_keys = keys.iter().map(|key| AffinityKey::new([*key; 32])).collect();
        World::of(&split(1, 5_000, Affinity::Cookie, at), config)
    };
    let before = keys(&[1]);
    let mut client = before.client();
    let users: Vec<_> = (0..40)
        .map(|_| {
            let got = client.get("/");
            (set_cookie(&got).expect("a cookie"), is_new(&got))
        })
        .collect();
    let show = |world: &World, cookie: &str| {
        world.client().get_with("/", &format!("Cookie: {cookie}\r\n"))
    };
    // Another process with the same key, then with a new one before it.
    for (world, renews) in [(keys(&[1]), false), (keys(&[2, 1]), true)] {
        for (cookie, was_new) in &users {
            let got = show(&world, cookie);
            assert_eq!((is_new(&got), set_cookie(&got).is_some()), (*was_new, renews));
        }
    }
    let (good, _) = &users[0];
    let forged = good.replace(&good[20..24], if &good[20..24] == "0000" { "1111" } else { "0000" });
    for bad in [&forged, "__segue_web=", "__segue_web=1", &format!("{good}00")] {
        let answers: Vec<_> = (0..40).map(|_| show(&before, bad)).collect();
        assert!(answers.iter().all(|got| set_cookie(got).is_some()), "{bad} was believed");
        let new = answers.iter().filter(|got| is_new(got)).count();
        assert!((1..40).contains(&new), "{bad} decided: {new} of 40");
    }
    let foreign = keys(&[9]);
    assert!(users.iter().all(|(cookie, _)| set_cookie(&show(&foreign, cookie)).is_some()));
}

#[test]
fn answers_for_shared_caches_set_no_cookie() {
    let at = answering(|seen| {
        let path = seen.head.split(' ').nth(1).expect("a path").trim_start_matches('/');
        let control = path.replace('_', " ");
        format!("HTTP/1.1 200 OK\r\nCache-Control: {control}\r\nContent-Length: 0\r\n\r\n")
    });
    let world = World::new(&split(1, 5_000, Affinity::Cookie, [at, at]));
    let mut client = world.client();
    for control in ["public", "s-maxage=5", "max-age=60", "no-cache,_public"] {
        let got = client.get(&format!("/{control}"));
        assert_eq!(got.field("set-cookie"), None, "{control}");
    }
    for control in ["private,_max-age=60", "no-store", "no-cache"] {
        let got = client.get(&format!("/{control}"));
        assert!(got.field("set-cookie").is_some(), "{control}");
    }
}

#[test]
fn addresses_and_headers_are_users_too_and_those_without_are_spread() {
    let at = releases();
    let world = World::new(&split(1, 5_000, Affinity::ClientIp, at));
    let mut client = world.client();
    let first = is_new(&client.get("/"));
    assert!((0..50).all(|_| is_new(&world.client().get("/")) == first));
    world.publish(&split(2, 5_000, Affinity::Header("x-user".into()), at));
    let mut new = 0;
    for user in 0..60 {
        let fields = format!("X-User: u{user}\r\n");
        let first = client.get_with("/", &fields);
        assert_eq!(set_cookie(&first), None);
        assert!((0..3).all(|_| is_new(&client.get_with("/", &fields)) == is_new(&first)));
        new += usize::from(is_new(&first));
    }
    assert!((10..50).contains(&new), "{new} of 60");
    let new = (0..200).filter(|_| is_new(&client.get("/"))).count();
    assert!((50..150).contains(&new), "{new} of 200 without a key");
    world.publish(&split(3, 5_000, Affinity::None, at));
    let new = (0..200).filter(|_| is_new(&client.get("/"))).count();
    assert!((50..150).contains(&new), "{new} of 200 at random");
}

#[test]
fn a_cohort_gets_the_candidate_whatever_the_share() {
    let at = releases();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let base = |counter| split(counter, 0, Affinity::Cookie, at);
    let (name, value) = pair("x-team", "qa");
    let world = trusting(&cohort(base(1), Mark::Header { name, value }), &["127.0.0.0/8"]);
    let mut client = world.client();
    assert!(is_new(&client.get_with("/", "X-Team: qa\r\n")));
    assert!(!is_new(&client.get_with("/", "X-Team: qa2\r\n")) && !is_new(&client.get("/")));
    let (name, value) = pair("beta", "yes");
    world.publish(&cohort(base(2), Mark::Cookie { name, value }));
    let got = client.get_with("/", "Cookie: a=b; beta=yes\r\n");
    assert_eq!((got.text(), set_cookie(&got)), ("new [a=b; beta=yes]", None));
    assert!(!is_new(&client.get_with("/", "Cookie: beta=no\r\n")));
    world.publish(&cohort(base(3), Mark::Network("127.0.0.1".parse().expect("one address"))));
    assert!(is_new(&client.get("/")));
    world.publish(&cohort(base(4), Mark::Network("10.0.0.0/8".parse().expect("a network"))));
    assert!(!is_new(&client.get("/")));
}

#[test]
fn a_query_brings_its_user_into_the_cohort_for_good_until_the_next_rollout() {
    let at = releases();
    let query = || Mark::Query { name: "try".into(), value: "new one".into() };
    let first = cohort(split(1, 0, Affinity::Cookie, at), query());
    let world = trusting(&first, &["127.0.0.0/8"]);
    let mut client = world.client();
    let got = client.get("/?a=b&try=new+one");
    assert!(is_new(&got));
    let cookie = set_cookie(&got).expect("a cookie that keeps them there");
    assert!(cookie.starts_with("__segue_web.cohort="), "{cookie}");
    let line = got.field("set-cookie").expect("a cookie");
    assert!(line.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "it outlives the session: {line}");
    let fields = format!("Cookie: {cookie}; other=1\r\n");
    let got = client.get_with("/", &fields);
    assert_eq!((got.text(), set_cookie(&got)), ("new [other=1]", None));
    assert!(!is_new(&client.get("/?try=old")));
    assert!(!is_new(&client.get_with("/", "Cookie: __segue_web.cohort=00\r\n")));
    let mut next = cohort(split(2, 0, Affinity::Cookie, at), query());
    next.apps[0].split.as_mut().expect("split").rollout = RolloutId(8);
    world.publish(&next);
    assert!(!is_new(&client.get_with("/", &fields)), "a cookie of the last rollout");
}

#[test]
fn what_anybody_can_send_makes_nobody_one_of_the_cohort_but_from_trusted_networks() {
    let at = releases();
    let marks = [
        (Mark::Header { name: "x-team".into(), value: "qa".into() }, "/", "X-Team: qa\r\n"),
        (Mark::Cookie { name: "team".into(), value: "qa".into() }, "/", "Cookie: team=qa\r\n"),
        (Mark::Query { name: "team".into(), value: "qa".into() }, "/?team=qa", ""),
    ];
    let base = |counter, mark: &Mark| cohort(split(counter, 0, Affinity::Cookie, at), mark.clone());
    for (mark, target, fields) in marks {
        let elsewhere = trusting(&base(1, &mark), &["10.0.0.0/8"]);
        assert!(!is_new(&elsewhere.client().get_with(target, fields)), "{mark:?}");
        let mut open = base(2, &mark);
        let split = open.apps[0].split.as_mut().expect("split");
        split.cohort = Some(Cohort { mark: mark.clone(), public: true });
        elsewhere.publish(&open);
        assert!(is_new(&elsewhere.client().get_with(target, fields)), "{mark:?}");
        // A proxy beside us that nobody has named passes on what anybody sends it.
        let here = trusting(&base(1, &mark), &["127.0.0.0/8"]);
        assert!(is_new(&here.client().get_with(target, fields)), "{mark:?}");
        for by in ["X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1", "Via: 1.1 a"] {
            let fields = format!("{fields}{by}\r\n");
            assert!(!is_new(&here.client().get_with(target, &fields)), "{mark:?} {by}");
        }
    }
}

#[test]
fn a_cookie_that_keeps_a_user_in_the_cohort_counts_where_its_parameter_would() {
    let mark = || Mark::Query { name: "team".into(), value: "qa".into() };
    let at = releases();
    let mut config = config();
    config.trusted_proxies = vec!["127.0.0.1".parse().expect("an address")];
    config.trusted_networks = vec!["10.0.0.0/8".parse().expect("a network")];
    let world = World::of(&cohort(split(1, 0, Affinity::Cookie, at), mark()), config);
    let mut client = world.client();
    let got = client.get_with("/?team=qa", "X-Forwarded-For: 10.1.2.3\r\n");
    let cookie = set_cookie(&got).expect("a cookie");
    let mut from = |address: &str| {
        let fields = format!("Cookie: {cookie}\r\nX-Forwarded-For: {address}\r\n");
        is_new(&client.get_with("/", &fields))
    };
    assert_eq!([from("10.9.9.9"), from("203.0.113.9"), from("10.1.2.3")], [true, false, true]);
    let mut public = cohort(split(2, 0, Affinity::Cookie, at), mark());
    public.apps[0].split.as_mut().expect("split").cohort =
        Some(Cohort { mark: mark(), public: true });
    world.publish(&public);
    assert!(from("203.0.113.9"));
}

#[test]
fn a_network_is_not_that_of_a_proxy_that_nobody_has_named() {
    let here = Mark::Network("127.0.0.0/8".parse().expect("a network"));
    let world = World::new(&cohort(split(1, 0, Affinity::Cookie, releases()), here));
    let mut client = world.client();
    assert!(is_new(&client.get("/")));
    for by in ["X-Forwarded-For: 127.0.0.1", "Via: 1.1 a", "X-Client-IP: 127.0.0.1"] {
        assert!(!is_new(&client.get_with("/", &format!("{by}\r\n"))), "{by}");
    }
}

#[test]
fn a_trusted_proxy_says_which_network_a_user_of_the_cohort_comes_from() {
    let mark = Mark::Header { name: "x-team".into(), value: "qa".into() };
    let mut config = config();
    config.trusted_proxies = vec!["127.0.0.1".parse().expect("an address")];
    config.trusted_networks = vec!["10.0.0.0/8".parse().expect("a network")];
    let world = World::of(&cohort(split(1, 0, Affinity::Cookie, releases()), mark), config);
    let mut client = world.client();
    for (from, new) in [("10.1.2.3", true), ("203.0.113.9", false)] {
        let fields = format!("X-Team: qa\r\nX-Forwarded-For: {from}\r\n");
        assert_eq!(is_new(&client.get_with("/", &fields)), new, "{from}");
    }
}

#[test]
fn users_of_a_candidate_without_instances_go_to_live_and_are_counted() {
    let at = releases();
    let world = World::new(&split(1, 9_999, Affinity::None, at));
    let mut client = world.client();
    assert!((0..20).any(|_| is_new(&client.get("/"))));
    let mut gone = split(2, 9_999, Affinity::None, at);
    gone.apps[0].arms[1].instances.clear();
    world.publish(&gone);
    let before = world.counted(1).diverted;
    assert!((0..20).all(|_| !is_new(&client.get("/"))));
    assert!(world.counters().diverted > before + 10);
    // The other way round, while the candidate has a share.
    let mut other = split(3, 100, Affinity::None, at);
    other.apps[0].arms[0].instances.clear();
    world.publish(&other);
    assert!((0..20).all(|_| is_new(&client.get("/"))));
    // And by health alone.
    world.publish(&split(4, 9_999, Affinity::None, at));
    let mut table = HealthTable::default();
    table.health.insert(instance(1), Health::Up);
    table.health.insert(instance(2), Health::Down);
    world.proxy.set_health(std::sync::Arc::new(table));
    assert!((0..20).all(|_| !is_new(&client.get("/"))));
    assert_eq!(world.counters().failed, 0);
}
