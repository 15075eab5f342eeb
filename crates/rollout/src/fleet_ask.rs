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
    /// Take in a member that the authority has certified and that is not known.
    Accept {
        /// The name in its certificate.
        name: MemberName,
        /// The role in its certificate.
        role: Role,
        /// The SHA-256 of its public key.
        key: Digest,
        /// The address at which its instances listen; `None` takes the one that it connects from.
        address: Option<IpAddr>,
        /// Its labels.
        labels: BTreeMap<String, String>,
    },
    /// Say where the instances of a host listen from now on.
    SetAddress {
        /// The host's name.
        host: HostId,
        /// The address.
        address: IpAddr,
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
        FleetAsk::Accept { name, role, key, address, labels } => {
            let (name, role, key) = (name.clone(), *role, *key);
            let (address, labels, at) = (*address, labels.clone(), now);
            accept(fleet, FleetFact::MemberAccepted { name, role, key, address, labels, at })
        }
        FleetAsk::SetAddress { host, address } => set_address(fleet, host, *address, now),
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
    if fleet.members.contains_key(name) && !replace {
        let hint = "give it another name; or, if the machine is gone for good and a new one takes its \
                    place, add `--replace`";
        return Err(refused("there is a member of that name", hint));
    }
    let Invitation { role, address, labels, .. } = &invitation;
    let may_be = is_possible(fleet, (name, *role), *address, labels);
    may_be.map_err(|(why, hint)| refused(&why, hint))?;
    let role = invitation.role;
    let facts = Vec::from([FleetFact::Invited { name: name.clone(), invitation, at: now }]);
    Ok(FleetAccepted {
        facts,
        note: format!("{role} {name} is invited; the invite lasts one hour"),
    })
}

/// Returns why a member cannot be like this, and a hint, if it cannot.
fn is_possible(
    fleet: &Fleet,
    (name, role): (&MemberName, Role),
    address: Option<IpAddr>,
    labels: &BTreeMap<String, String>,
) -> Result<(), (String, &'static str)> {
    let is_placed = address.is_some() || !labels.is_empty();
    if role == Role::Proxy && is_placed {
        let why = "a proxy runs no instances that an address or a label could be for";
        return Err((why.into(), "leave out --address and --label"));
    }
    if fleet.members.len() + fleet.invites.len() >= MOST {
        let why = format!("there are {MOST} members and invites already");
        return Err((why, "remove one that is not needed: `segue fleet remove NAME`"));
    }
    if let Some(address) = address {
        is_free(fleet, &name.as_host(), address)?;
    }
    match label_fault(labels) {
        Some(why) => Err((why, "labels are `KEY=VALUE`, as in `role=web`")),
        None => Ok(()),
    }
}

/// Returns why instances of a host cannot listen at an address, and a hint, if they cannot.
fn is_free(fleet: &Fleet, host: &HostId, address: IpAddr) -> Result<(), (String, &'static str)> {
    if let Some(fault) = address_fault(address) {
        return Err((fault, "give the address at which the proxies reach it"));
    }
    let mut others = fleet.hosts.iter().filter(|(other, _)| *other != host);
    match others.find(|(_, other)| other.address == address) {
        Some((other, _)) => {
            let why = format!("{address} is the address of {other}");
            Err((why, "each host has an address of its own"))
        }
        None => Ok(()),
    }
}

fn accept(fleet: &Fleet, accepted: FleetFact) -> Result<FleetAccepted, Refusal> {
    let FleetFact::MemberAccepted { name, role, key, address, labels, .. } = &accepted else {
        return Err(refuse("accept a member", "no member is named", "`segue fleet` lists them"));
    };
    let refused = |why: &str, hint: &str| refuse(&format!("accept {name}"), why, hint);
    let is_it = |member: &crate::fleet::FleetMember| member.key == *key && member.role == *role;
    if fleet.members.get(name).is_some_and(is_it) {
        let note = format!("{name} is a member already");
        return Ok(FleetAccepted { facts: Vec::new(), note });
    }
    if fleet.members.contains_key(name) {
        let hint = format!("remove that one first: `segue fleet remove {name}`");
        return Err(refused("there is another member of that name", &hint));
    }
    let may_be = is_possible(fleet, (name, *role), *address, labels);
    may_be.map_err(|(why, hint)| refused(&why, hint))?;
    let note = format!("{role} {name} is a member again");
    Ok(FleetAccepted { facts: Vec::from([accepted]), note })
}

fn set_address(
    fleet: &Fleet,
    host: &HostId,
    address: IpAddr,
    now: Timestamp,
) -> Result<FleetAccepted, Refusal> {
    let refused =
        |why: &str, hint: &str| refuse(&format!("change the address of {host}"), why, hint);
    if *host == HostId::local() {
        let why = "`local` is the server's own machine";
        return Err(refused(why, "start the server with `--address IP`"));
    }
    let Some(known) = fleet.hosts.get(host) else {
        let message = format!("there is no host {host} that has connected");
        let hint = Some("`segue fleet` lists them".into());
        return Err(Refusal { code: RefusalCode::NotFound, message, hint });
    };
    is_free(fleet, host, address).map_err(|(why, hint)| refused(&why, hint))?;
    let note = format!(
        "new instances on {host} listen at {address}; `segue restart APP` moves those of before"
    );
    let joined = FleetFact::HostJoined { host: host.clone(), address, at: now };
    let facts = if known.address == address { Vec::new() } else { Vec::from([joined]) };
    Ok(FleetAccepted { facts, note })
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
#[path = "fleet_ask_tests.rs"]
mod tests;
