//! Which command about the fleet may be given when.

use model::Millis;

use super::*;

const NOW: Timestamp = Timestamp(1_000_000);

fn digest(byte: u8) -> Digest {
    Digest::from_bytes([byte; 32])
}

fn invite_of(name: &str, secret: u8) -> FleetAsk {
    FleetAsk::Invite {
        role: Role::Host,
        name: name.parse().expect("a name"),
        secret: digest(secret),
        address: Some([10, 0, 0, secret].into()),
        labels: BTreeMap::new(),
        replace: false,
    }
}

/// Gives a command at a time, and returns the note or the refusal.
fn give(fleet: &mut Fleet, ask: &FleetAsk, now: Timestamp) -> String {
    match fleet_ask(fleet, ask, now) {
        Ok(accepted) => {
            accepted.facts.iter().for_each(|fact| fleet.apply(fact));
            accepted.note
        }
        Err(refusal) => refusal.message,
    }
}

#[test]
fn an_invite_is_used_once_and_again_only_by_the_same_key() {
    let mut fleet = Fleet::default();
    let join = |secret, key| FleetAsk::Join { secret: digest(secret), key: digest(key) };
    assert!(give(&mut fleet, &invite_of("web-1", 1), NOW).contains("is invited"));
    assert_eq!(give(&mut fleet, &join(1, 50), NOW), "web-1 has joined");
    assert_eq!(give(&mut fleet, &join(1, 50), NOW), "web-1 has joined");
    let another = give(&mut fleet, &join(1, 51), NOW);
    assert!(another.contains("by another key"), "{another}");
    assert_eq!(fleet.view().by_key(digest(50)).map(|it| it.name.as_str()), Some("web-1"));
    // Neither does one key have two names.
    give(&mut fleet, &invite_of("web-2", 2), NOW);
    let twice = give(&mut fleet, &join(2, 50), NOW);
    assert!(twice.contains("another member has this key"), "{twice}");
    let late = give(&mut fleet, &join(2, 52), NOW.after(Invitation::LIFE));
    assert!(late.contains("has run out"), "{late}");
    let stolen = give(&mut fleet, &join(9, 52), NOW);
    assert!(stolen.contains("unknown"), "{stolen}");
}

#[test]
fn a_proxy_is_invited_by_its_name_alone() {
    let mut fleet = Fleet::default();
    let FleetAsk::Invite { name, secret, address, labels, replace, .. } = invite_of("lb-1", 1)
    else {
        unreachable!("it is an invite")
    };
    let ask = |address, labels| {
        let (name, role) = (name.clone(), Role::Proxy);
        FleetAsk::Invite { role, name, secret, address, labels, replace }
    };
    let label = BTreeMap::from([("role".into(), "web".into())]);
    for placed in [ask(address, labels.clone()), ask(None, label)] {
        assert!(give(&mut fleet, &placed, NOW).contains("runs no instances"));
    }
    assert!(give(&mut fleet, &ask(None, labels), NOW).contains("proxy lb-1 is invited"));
}

#[test]
fn a_proxy_stays_drained_until_a_person_says_otherwise_or_another_machine_takes_its_place() {
    let mut fleet = Fleet::default();
    let proxy: MemberName = "web-1".parse().expect("a name");
    let draining = ProxyDuty::Draining { within: Millis::from_secs(10) };
    let set = |duty| FleetAsk::SetProxyDuty { proxy: proxy.clone(), duty };
    let duty = |fleet: &Fleet| fleet.view().members[0].proxy_duty;
    give(&mut fleet, &invite_of("web-1", 1), NOW);
    give(&mut fleet, &FleetAsk::Join { secret: digest(1), key: digest(50) }, NOW);
    assert_eq!(give(&mut fleet, &set(draining), NOW), "there is no proxy web-1", "it is a host");
    let invite_proxy = |secret: u8| FleetAsk::Invite {
        role: Role::Proxy,
        name: proxy.clone(),
        secret: digest(secret),
        address: None,
        labels: BTreeMap::new(),
        replace: true,
    };
    give(&mut fleet, &invite_proxy(2), NOW);
    give(&mut fleet, &FleetAsk::Join { secret: digest(2), key: digest(51) }, NOW);
    assert!(give(&mut fleet, &set(draining), NOW).contains("is drained"));
    assert_eq!(duty(&fleet), draining);
    let again = fleet_ask(&fleet, &set(draining), NOW).map(|it| it.facts);
    assert_eq!(again, Ok(Vec::new()), "nothing is new");
    assert!(give(&mut fleet, &set(ProxyDuty::Active), NOW).contains("takes users' requests"));
    assert_eq!(duty(&fleet), ProxyDuty::Active);
    give(&mut fleet, &set(draining), NOW);
    give(&mut fleet, &invite_proxy(3), NOW);
    give(&mut fleet, &FleetAsk::Join { secret: digest(3), key: digest(52) }, NOW);
    assert_eq!(duty(&fleet), ProxyDuty::Active);
}

#[test]
fn a_member_that_a_backup_did_not_know_is_taken_in_as_its_certificate_says() {
    let mut fleet = Fleet::default();
    let accept = |name: &str, role, key, label: Option<&str>| FleetAsk::Accept {
        name: name.parse().expect("a name"),
        role,
        key: digest(key),
        address: None,
        labels: label.map(|label| ("role".into(), label.into())).into_iter().collect(),
    };
    let said = give(&mut fleet, &accept("web-1", Role::Host, 50, Some("web")), NOW);
    assert_eq!(said, "host web-1 is a member again");
    let view = fleet.view();
    let member = view.by_key(digest(50)).expect("it is known");
    assert_eq!((member.role, member.labels["role"].as_str()), (Role::Host, "web"));
    let again = give(&mut fleet, &accept("web-1", Role::Host, 50, None), NOW);
    assert_eq!(again, "web-1 is a member already");
    let other = give(&mut fleet, &accept("web-1", Role::Host, 51, None), NOW);
    assert!(other.contains("there is another member of that name"), "{other}");
    give(&mut fleet, &invite_of("web-3", 3), NOW);
    give(&mut fleet, &accept("web-3", Role::Host, 53, None), NOW);
    let late = give(&mut fleet, &FleetAsk::Join { secret: digest(3), key: digest(54) }, NOW);
    assert!(late.contains("unknown"), "an invite of that name has ended: {late}");
    assert!(fleet.view().by_key(digest(53)).is_some(), "the member stays");
    let placed = give(&mut fleet, &accept("lb-1", Role::Proxy, 52, Some("web")), NOW);
    assert!(placed.contains("runs no instances"), "{placed}");
}

#[test]
fn the_address_of_a_host_changes_by_a_person_s_word() {
    let mut fleet = Fleet::default();
    let set = |host: &str, last: u8| FleetAsk::SetAddress {
        host: host.parse().expect("a name"),
        address: [10, 0, 0, last].into(),
    };
    for (host, last) in [("web-1", 1), ("web-2", 2)] {
        let (host, address) = (host.parse().expect("a name"), [10, 0, 0, last].into());
        fleet.apply(&FleetFact::HostJoined { host, address, at: NOW });
    }
    let said = give(&mut fleet, &set("web-1", 9), NOW);
    assert!(said.contains("listen at 10.0.0.9"), "{said}");
    let address = |fleet: &Fleet, host: &HostId| fleet.hosts[host].address;
    let web_1: HostId = "web-1".parse().expect("a name");
    assert_eq!(address(&fleet, &web_1), IpAddr::from([10, 0, 0, 9]));
    for (ask, why) in [
        (set("web-1", 2), "the address of web-2"),
        (set("web-3", 3), "there is no host web-3"),
        (set("local", 3), "the server's own machine"),
        (
            FleetAsk::SetAddress { host: web_1.clone(), address: [127, 0, 0, 1].into() },
            "a loopback address",
        ),
    ] {
        let said = give(&mut fleet, &ask, NOW);
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn a_newer_invite_takes_the_place_of_the_older_one() {
    let mut fleet = Fleet::default();
    give(&mut fleet, &invite_of("web-1", 1), NOW);
    give(&mut fleet, &invite_of("web-1", 2), NOW);
    let old = give(&mut fleet, &FleetAsk::Join { secret: digest(1), key: digest(50) }, NOW);
    assert!(old.contains("unknown"), "{old}");
}

#[test]
fn a_member_that_was_removed_or_replaced_is_known_by_its_key_for_as_long_as_it_may_come() {
    let mut fleet = Fleet::default();
    let name: MemberName = "web-1".parse().expect("a name");
    give(&mut fleet, &invite_of("web-1", 1), NOW);
    give(&mut fleet, &FleetAsk::Join { secret: digest(1), key: digest(50) }, NOW);
    let refused = give(&mut fleet, &invite_of("web-1", 2), NOW);
    assert!(refused.contains("there is a member of that name"), "{refused}");
    let FleetAsk::Invite { role, name: same, secret, address, labels, .. } = invite_of("web-1", 2)
    else {
        unreachable!("it is an invite")
    };
    let again = FleetAsk::Invite { role, name: same, secret, address, labels, replace: true };
    give(&mut fleet, &again, NOW);
    give(&mut fleet, &FleetAsk::Join { secret: digest(2), key: digest(51) }, NOW);
    assert_eq!(fleet.view().removed, [digest(50)]);
    give(&mut fleet, &FleetAsk::Remove { name: name.clone() }, NOW);
    assert_eq!(fleet.view().removed, [digest(50), digest(51)]);
    assert!(fleet.view().members.is_empty());
    let nobody = give(&mut fleet, &FleetAsk::Remove { name }, NOW);
    assert_eq!(nobody, "there is no member web-1");
    let much_later = NOW.after(Millis::from_secs(121 * 24 * 3_600));
    fleet.apply(&FleetFact::MemberRemoved {
        name: "web-9".parse().expect("a name"),
        at: much_later,
    });
    assert!(fleet.view().removed.is_empty(), "no certificate of theirs can still be renewed");
}

#[test]
fn a_host_cannot_be_where_no_proxy_reaches_it() {
    let mut fleet = Fleet::default();
    fleet.apply(&FleetFact::HostJoined {
        host: "web-9".parse().expect("a name"),
        address: [10, 0, 0, 9].into(),
        at: NOW,
    });
    for (address, why) in [
        ("127.0.0.1", "a loopback address"),
        ("::1", "a loopback address"),
        ("169.254.1.1", "a link-local address"),
        ("fe80::1", "a link-local address"),
        ("224.0.0.1", "a multicast address"),
        ("0.0.0.0", "no address of one machine"),
        ("10.0.0.9", "the address of web-9"),
    ] {
        let FleetAsk::Invite { role, name, secret, labels, replace, .. } = invite_of("web-1", 1)
        else {
            unreachable!("it is an invite")
        };
        let address = Some(address.parse().expect("an address"));
        let ask = FleetAsk::Invite { role, name, secret, address, labels, replace };
        let said = give(&mut fleet, &ask, NOW);
        assert!(said.contains(why), "{said}");
    }
}
