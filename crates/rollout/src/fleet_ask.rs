//! Commands about the fleet: which may be given when, and the facts that follow.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use model::{Digest, HostDuty, HostId, HostSelector, MemberName, ProxyDuty, Role, Timestamp};

use crate::ask::{Refusal, RefusalCode};
use crate::fleet::{Fleet, FleetFact, Invitation};

/// A command about the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FleetAsk {
    /// Invite a member.
    Invite {
        /// The role that it will have.
        role: Role,
        /// Its name.
        name: MemberName,
        /// The SHA-256 of the invite's secret.
        secret: Digest,
        /// The address at which its instances will listen; `None` takes the one that it connects from.
        address: Option<IpAddr>,
        /// Its labels.
        labels: BTreeMap<String, String>,
        /// True if a member of this name that is gone may be replaced.
        replace: bool,
    },
    /// Take the invite with this secret for the member with this key.
    Join {
        /// The SHA-256 of the invite's secret.
        secret: Digest,
        /// The SHA-256 of the member's public key.
        key: Digest,
    },
    /// Say what a host is used for.
    SetDuty {
        /// The host's name.
        host: HostId,
        /// What it is to be used for.
        duty: HostDuty,
    },
    /// Say what a proxy is used for.
    SetProxyDuty {
        /// The proxy's name.
        proxy: MemberName,
        /// What it is to be used for.
        duty: ProxyDuty,
    },
    /// Remove a member, or take back its invite.
    Remove {
        /// Its name.
        name: MemberName,
    },
}

/// The answer to an accepted command about the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetAccepted {
    /// The facts to record; none if there is nothing to do.
    pub facts: Vec<FleetFact>,
    /// One sentence for people.
    pub note: String,
}

/// Maximum number of members, and of invites.
const MOST: usize = 2_000;
/// Maximum number of labels of a member.
const MOST_LABELS: usize = 64;

/// Answers a command about the fleet.
pub fn fleet_ask(fleet: &Fleet, ask: &FleetAsk, now: Timestamp) -> Result<FleetAccepted, Refusal> {
    match ask {
        FleetAsk::Invite { role, name, secret, address, labels, replace } => {
            let invitation = Invitation {
                role: *role,
                secret: *secret,
                address: *address,
                labels: labels.clone(),
                until: now.after(Invitation::LIFE),
                used_by: None,
            };
            invite(fleet, name, invitation, *replace, now)
        }
        FleetAsk::Join { secret, key } => join(fleet, *secret, *key, now),
        FleetAsk::SetDuty { host, duty } => set_duty(fleet, host, *duty, now),
        FleetAsk::SetProxyDuty { proxy, duty } => set_proxy_duty(fleet, proxy, *duty, now),
        FleetAsk::Remove { name } => remove(fleet, name, now),
    }
}

fn invite(
    fleet: &Fleet,
    name: &MemberName,
    invitation: Invitation,
    replace: bool,
    now: Timestamp,
) -> Result<FleetAccepted, Refusal> {
    let refused = |why: &str, hint: &str| refuse(&format!("invite {name}"), why, hint);
    if invitation.role == Role::Server {
        return Err(refused("servers are not invited", "invite a host or a proxy"));
    }
    if name.as_str() == "local" {
        let why = "`local` is the server's own machine";
        return Err(refused(why, "give it another name"));
    }
    let is_placed = invitation.address.is_some() || !invitation.labels.is_empty();
    if invitation.role == Role::Proxy && is_placed {
        let why = "a proxy runs no instances that an address or a label could be for";
        return Err(refused(why, "leave out --address and --label"));
    }
    if fleet.members.contains_key(name) && !replace {
        let hint = "give it another name; or, if the machine is gone for good and a new one takes its \
                    place, add `--replace`";
        return Err(refused("there is a member of that name", hint));
    }
    if fleet.members.len() + fleet.invites.len() >= MOST {
        let why = format!("there are {MOST} members and invites already");
        return Err(refused(&why, "remove one that is not needed: `segue fleet remove NAME`"));
    }
    if let Some(fault) = invitation.address.and_then(address_fault) {
        return Err(refused(&fault, "give the address at which the proxies reach it"));
    }
    let others = fleet.hosts.iter().filter(|(host, _)| **host != name.as_host());
    let taken = others.map(|(host, known)| (host, known.address));
    if let Some((host, address)) =
        taken.into_iter().find(|(_, address)| Some(*address) == invitation.address)
    {
        let why = format!("{address} is the address of {host}");
        return Err(refused(&why, "each host has an address of its own"));
    }
    if let Some(why) = label_fault(&invitation.labels) {
        return Err(refused(&why, "labels are `KEY=VALUE`, as in `role=web`"));
    }
    let role = invitation.role;
    let facts = Vec::from([FleetFact::Invited { name: name.clone(), invitation, at: now }]);
    Ok(FleetAccepted {
        facts,
        note: format!("{role} {name} is invited; the invite lasts one hour"),
    })
}

fn join(
    fleet: &Fleet,
    secret: Digest,
    key: Digest,
    now: Timestamp,
) -> Result<FleetAccepted, Refusal> {
    let refused = |why: &str| {
        refuse("join", why, "`segue fleet invite` on the server's machine prints a new one")
    };
    let invite = fleet.invites.iter().find(|(_, invite)| invite.secret == secret);
    let Some((name, invite)) = invite else {
        return Err(refused("the invite is unknown: it was used up or replaced"));
    };
    if now >= invite.until {
        return Err(refused("the invite has run out"));
    }
    if invite.used_by.is_some_and(|used_by| used_by != key) {
        return Err(refused("the invite was used, by another key than this one"));
    }
    let taken = |(other, member): (&MemberName, &crate::fleet::FleetMember)| {
        member.key == key && other != name
    };
    if fleet.members.iter().any(taken) {
        return Err(refused("another member has this key"));
    }
    let joined = FleetFact::MemberJoined { name: name.clone(), key, at: now };
    let facts = if invite.used_by.is_some() { Vec::new() } else { Vec::from([joined]) };
    Ok(FleetAccepted { facts, note: format!("{name} has joined") })
}

fn remove(fleet: &Fleet, name: &MemberName, now: Timestamp) -> Result<FleetAccepted, Refusal> {
    if !fleet.members.contains_key(name) && !fleet.invites.contains_key(name) {
        let message = format!("there is no member {name}");
        let hint = Some("`segue fleet` lists them".into());
        return Err(Refusal { code: RefusalCode::NotFound, message, hint });
    }
    let facts = Vec::from([FleetFact::MemberRemoved { name: name.clone(), at: now }]);
    Ok(FleetAccepted { facts, note: format!("{name} is removed") })
}

fn set_duty(
    fleet: &Fleet,
    host: &HostId,
    duty: HostDuty,
    now: Timestamp,
) -> Result<FleetAccepted, Refusal> {
    let Some(known) = fleet.hosts.get(host) else {
        let proxies =
            fleet.proxies().map(|(proxy, _)| proxy).find(|proxy| proxy.as_str() == host.as_str());
        if let Some(proxy) = proxies {
            let hint = format!("`segue fleet drain {proxy}` takes it out of service");
            return Err(refuse(&format!("change {proxy}"), "it is a proxy, not a host", &hint));
        }
        let message = format!("there is no host {host}");
        let hint = Some("`segue fleet` lists them".into());
        return Err(Refusal { code: RefusalCode::NotFound, message, hint });
    };
    let note = match duty {
        HostDuty::Active => format!("{host} takes new instances"),
        HostDuty::Cordoned => format!("{host} gets nothing new"),
        HostDuty::Draining => format!("{host} is drained: its instances are replaced on others"),
    };
    if known.duty == duty {
        return Ok(FleetAccepted { facts: Vec::new(), note });
    }
    let mut others = fleet.hosts.iter().filter(|(other, _)| *other != host);
    if duty == HostDuty::Draining && !others.any(|(_, other)| other.duty.is_active()) {
        let hint = "let one take new instances first: `segue fleet uncordon NAME`";
        return Err(refuse(&format!("drain {host}"), "no other host takes its instances", hint));
    }
    let facts = Vec::from([FleetFact::DutySet { host: host.clone(), duty, at: now }]);
    Ok(FleetAccepted { facts, note })
}

fn set_proxy_duty(
    fleet: &Fleet,
    proxy: &MemberName,
    duty: ProxyDuty,
    now: Timestamp,
) -> Result<FleetAccepted, Refusal> {
    let Some(known) = fleet.members.get(proxy).filter(|member| member.role == Role::Proxy) else {
        let message = format!("there is no proxy {proxy}");
        let hint = Some("`segue fleet` lists them".into());
        return Err(Refusal { code: RefusalCode::NotFound, message, hint });
    };
    let note = match duty {
        ProxyDuty::Active => format!("{proxy} takes users' requests"),
        ProxyDuty::Draining { .. } => {
            format!("{proxy} is drained: it closes each connection after its next answer")
        }
    };
    let facts = if known.proxy_duty == duty {
        Vec::new()
    } else {
        Vec::from([FleetFact::ProxyDutySet { proxy: proxy.clone(), duty, at: now }])
    };
    Ok(FleetAccepted { facts, note })
}

/// Returns why instances cannot be reached at this address from other machines, if they cannot.
pub fn address_fault(address: IpAddr) -> Option<String> {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let kind = if address.is_loopback() {
        "a loopback address"
    } else if address.is_unspecified() {
        "no address of one machine"
    } else if address.is_multicast() {
        "a multicast address"
    } else if link_local {
        "a link-local address"
    } else {
        return None;
    };
    Some(format!("{address} is {kind}"))
}

fn label_fault(labels: &BTreeMap<String, String>) -> Option<String> {
    if labels.len() > MOST_LABELS {
        return Some(format!("it has more than {MOST_LABELS} labels"));
    }
    let odd = labels
        .iter()
        .find(|(key, value)| !HostSelector::is_part(key) || !HostSelector::is_part(value));
    odd.map(|(key, value)| {
        format!("the label `{key}={value}` has other characters than letters, digits and `-_./`")
    })
}

fn refuse(act: &str, why: &str, hint: &str) -> Refusal {
    let message = format!("cannot {act}: {why}");
    Refusal { code: RefusalCode::Refused, message, hint: Some(hint.into()) }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(
            give(&mut fleet, &set(draining), NOW),
            "there is no proxy web-1",
            "it is a host"
        );
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
        let FleetAsk::Invite { role, name: same, secret, address, labels, .. } =
            invite_of("web-1", 2)
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
            let FleetAsk::Invite { role, name, secret, labels, replace, .. } =
                invite_of("web-1", 1)
            else {
                unreachable!("it is an invite")
            };
            let address = Some(address.parse().expect("an address"));
            let ask = FleetAsk::Invite { role, name, secret, address, labels, replace };
            let said = give(&mut fleet, &ask, NOW);
            assert!(said.contains(why), "{said}");
        }
    }
}
