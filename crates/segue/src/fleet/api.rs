//! The fleet as the API sees it: invites, removal, and the members as they are.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::UNIX_EPOCH;

use control::{FleetAsk, Refusal, RefusalCode};
use identity::{Invite, InviteSecret, PeerCertificate};
use link::{StrangerSeen, ToMembers};
use model::{
    Generation, HostDuty, HostId, MemberName, MemberView, ProxyDuty, ProxyId, ProxyPresence,
    ProxyView, Role, Timestamp,
};
use server::{ApiFleet, Pending};
use wire::{
    AcceptRequest, FleetStatus, HostStatus, InviteRequest, Invited, MemberChanged, MemberState,
    ProxyDrain, ProxyDutyRequest, ProxyStatus, Secret, ServerStatus,
};

use super::desk::Desk;
use super::presence::MemberPresence;
use crate::clock::wall_clock;

impl ApiFleet for Desk {
    fn status(&self) -> FleetStatus {
        let now = wall_clock();
        let instances = self.instances();
        let count = |host: &HostId| instances.get(host).copied().unwrap_or(0);
        let apps = self.board.views();
        let owed = |host: &HostId| apps.iter().filter(|app| app.owed.contains(host)).count();
        let mut status = FleetStatus::default();
        let local = HostId::local();
        let fleet = self.board.fleet();
        let duty = |host: &HostId| {
            let known = fleet.hosts.iter().find(|known| known.name == *host);
            known.map(|known| known.duty).unwrap_or_default()
        };
        status.hosts.push(HostStatus {
            name: local.to_string(),
            address: Some(self.local.address),
            state: MemberState::Here,
            cordoned: !duty(&local).is_active(),
            draining: duty(&local) == HostDuty::Draining,
            labels: BTreeMap::new(),
            instances: count(&local),
            owed: owed(&local),
            version: Some(env!("CARGO_PKG_VERSION").into()),
            certificate_until: None,
            since: None,
            reason: self.local.closed.as_ref().map(|closed| closed.why.clone()),
        });
        let own = fleet.proxies.iter().find(|known| known.name == ProxyId::local());
        let none = (ProxyDuty::Active, None);
        status.proxies.push(Seen::own().proxy(local.to_string(), own, none));
        let presences = self.presences();
        for member in &fleet.members {
            let presence = presences.of(&member.name);
            let seen = Seen::of(presence, now);
            match member.role {
                Role::Host => {
                    let host = member.name.as_host();
                    let facts = (count(&host), owed(&host), duty(&host));
                    status.hosts.push(seen.host(member, facts));
                }
                Role::Proxy => {
                    let known = fleet.proxies.iter().find(|it| it.name == member.name.as_proxy());
                    let drain = presence.and_then(|presence| presence.drain);
                    let duty = (member.proxy_duty, drain);
                    status.proxies.push(seen.proxy(member.name.to_string(), known, duty));
                }
                Role::Server => {}
            }
        }
        status.servers.push(ServerStatus {
            name: Role::Server.to_string(),
            addresses: self.advertise.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
        });
        let strangers = self.to_members().map(ToMembers::strangers).unwrap_or_default();
        status.unknown =
            strangers.iter().map(|it| it.certificate.identity.name.to_string()).collect();
        status
    }

    fn invite(&self, request: InviteRequest) -> Pending<'_, Result<Invited, Refusal>> {
        Box::pin(async move {
            let InviteRequest { role, name, address, labels, replace } = request;
            let secret = InviteSecret::draw().map_err(|error| Refusal {
                code: RefusalCode::Unavailable,
                message: format!("cannot invite {name}: there are no random numbers: {error}"),
                hint: None,
            })?;
            let is_here = self.presences().of(&name).is_some_and(|it| it.silent.is_none());
            if replace && is_here {
                let message = format!("cannot invite {name}: a member of that name is here");
                let hint = Some(format!("remove it first: `segue fleet remove {name}`"));
                return Err(Refusal { code: RefusalCode::Refused, message, hint });
            }
            let ask = FleetAsk::Invite {
                role,
                name: name.clone(),
                secret: secret.fingerprint().digest(),
                address,
                labels,
                replace,
            };
            let note = self.ask(ask).await?.note;
            let (addresses, authority) = (self.advertise.clone(), self.authority);
            let invite = Invite { addresses, authority, role, name, secret };
            Ok(Invited { invite: Secret::new(invite.to_text().reveal()), note })
        })
    }

    fn accept(
        &self,
        name: MemberName,
        request: AcceptRequest,
    ) -> Pending<'_, Result<MemberChanged, Refusal>> {
        Box::pin(async move {
            let strangers = self.to_members().map(ToMembers::strangers).unwrap_or_default();
            let stranger = only_one(&name, strangers)?;
            let AcceptRequest { address, labels } = request;
            let (role, key) = (stranger.identity.role, stranger.key.digest());
            let note = self.ask(FleetAsk::Accept { name, role, key, address, labels }).await?.note;
            self.to_members().into_iter().for_each(|it| it.admit(&stranger));
            Ok(MemberChanged { note })
        })
    }

    fn set_address(
        &self,
        host: HostId,
        address: IpAddr,
    ) -> Pending<'_, Result<MemberChanged, Refusal>> {
        Box::pin(async move {
            let note = self.ask(FleetAsk::SetAddress { host, address }).await?.note;
            self.tell_proxies(&self.hosts());
            Ok(MemberChanged { note })
        })
    }

    fn set_duty(
        &self,
        host: HostId,
        duty: HostDuty,
    ) -> Pending<'_, Result<MemberChanged, Refusal>> {
        Box::pin(async move {
            let note = self.ask(FleetAsk::SetDuty { host, duty }).await?.note;
            Ok(MemberChanged { note })
        })
    }

    fn set_proxy_duty(
        &self,
        proxy: MemberName,
        duty: ProxyDutyRequest,
    ) -> Pending<'_, Result<MemberChanged, Refusal>> {
        Box::pin(async move {
            let duty = match duty {
                ProxyDutyRequest::Active => ProxyDuty::Active,
                ProxyDutyRequest::Draining { within } => ProxyDuty::Draining {
                    within: within.unwrap_or_else(|| self.for_proxies.time_to_drain()),
                },
            };
            let ask = FleetAsk::SetProxyDuty { proxy: proxy.clone(), duty };
            let control::Answer { note, already, .. } = self.ask(ask).await?;
            if !already {
                self.presences().drain(&proxy, None);
                self.tell_duty(&proxy, duty);
            }
            Ok(MemberChanged { note })
        })
    }

    fn remove(&self, name: MemberName, now: bool) -> Pending<'_, Result<MemberChanged, Refusal>> {
        Box::pin(async move {
            let count = self.instances().get(&name.as_host()).copied().unwrap_or(0);
            if count > 0 && !now {
                let message = format!("cannot remove {name}: it runs {count} instances");
                let hint = format!(
                    "`segue fleet drain {name}` replaces them on other hosts first; `--now` stops them"
                );
                return Err(Refusal { code: RefusalCode::Refused, message, hint: Some(hint) });
            }
            let note = self.ask(FleetAsk::Remove { name: name.clone() }).await?.note;
            if let Some(to_members) = self.to_members() {
                to_members.dismiss(&name);
            }
            self.presences().forget(&name);
            self.for_proxies.forget(&name.as_proxy());
            self.tell_proxies(&self.hosts());
            Ok(MemberChanged { note })
        })
    }
}

impl Desk {
    /// Counts the instances on each host.
    fn instances(&self) -> BTreeMap<HostId, usize> {
        let mut counts = BTreeMap::new();
        for view in self.board.views() {
            for instance in view.instances() {
                *counts.entry(instance.host.clone()).or_default() += 1;
            }
        }
        counts
    }
}

/// What is seen of a member, as people are shown it.
struct Seen {
    from: Option<IpAddr>,
    state: MemberState,
    version: Option<String>,
    certificate_until: Option<u64>,
    since: Option<u64>,
    reason: Option<String>,
}

impl Seen {
    fn of(presence: Option<&MemberPresence>, now: Timestamp) -> Self {
        let Some(presence) = presence else {
            let reason = Some("it has not connected since the server was started".to_owned());
            let state = MemberState::Joined;
            let (from, version, certificate_until, since) = (None, None, None, None);
            return Self { from, state, version, certificate_until, since, reason };
        };
        let until = presence.certificate.validity.until.duration_since(UNIX_EPOCH);
        Self {
            from: Some(presence.from),
            state: presence.state(now),
            version: Some(presence.hello.segue.clone()),
            certificate_until: until.ok().and_then(|it| u64::try_from(it.as_millis()).ok()),
            since: Some(presence.since.0),
            reason: presence.silent.clone(),
        }
    }

    fn host(
        self,
        member: &MemberView,
        (instances, owed, duty): (usize, usize, HostDuty),
    ) -> HostStatus {
        let Self { from, state, version, certificate_until, since, reason } = self;
        HostStatus {
            name: member.name.to_string(),
            address: member.address.or(from),
            state,
            cordoned: !duty.is_active(),
            draining: duty == HostDuty::Draining,
            labels: member.labels.clone(),
            instances,
            owed,
            version,
            certificate_until,
            since,
            reason,
        }
    }

    fn proxy(
        self,
        name: String,
        known: Option<&ProxyView>,
        (duty, drain): (ProxyDuty, Option<ProxyDrain>),
    ) -> ProxyStatus {
        let Self { from, state, version, certificate_until, since, reason } = self;
        // Control has another opinion only of one that is heard.
        let (state, since) = match known.map(|known| known.state) {
            Some(ProxyPresence::Late { since }) if state == MemberState::Here => {
                (MemberState::Late, Some(since.0))
            }
            Some(ProxyPresence::Here | ProxyPresence::Late { .. } | ProxyPresence::Lost { .. })
            | None => (state, since),
        };
        let acknowledged = known.and_then(|known| known.acknowledged);
        ProxyStatus {
            name,
            address: from,
            state,
            ready: acknowledged.is_some_and(|table| table > Generation::default()),
            acknowledged: acknowledged
                .map(|Generation { term, counter }| format!("{term}.{counter}")),
            draining: !duty.is_active(),
            drain,
            epoch: known.and_then(|known| known.epoch),
            version,
            certificate_until,
            since,
            reason,
        }
    }

    /// Returns the server itself, as a member that is here.
    fn own() -> Self {
        let version = Some(env!("CARGO_PKG_VERSION").into());
        let (from, certificate_until, since, reason) = (None, None, None, None);
        let state = MemberState::Here;
        Self { from, state, version, certificate_until, since, reason }
    }
}

/// Returns the member of that name that is connected and not known, if there is only one.
fn only_one(name: &MemberName, strangers: Vec<StrangerSeen>) -> Result<PeerCertificate, Refusal> {
    let mut of_name: Vec<StrangerSeen> =
        strangers.into_iter().filter(|it| it.certificate.identity.name == *name).collect();
    if of_name.len() > 1 {
        let addresses = of_name.iter().map(|it| it.from.to_string()).collect::<Vec<_>>();
        let addresses = addresses.join(" and ");
        let message =
            format!("cannot accept {name}: several have that name, connected from {addresses}");
        let hint = Some("end the one that is not to be a member, on its machine".into());
        return Err(Refusal { code: RefusalCode::Refused, message, hint });
    }
    let one = of_name.pop().map(|it| it.certificate);
    one.ok_or_else(|| Refusal {
        code: RefusalCode::NotFound,
        message: format!("cannot accept {name}: no such member is connected unknown"),
        hint: Some("`segue fleet` lists those that are; others are invited".into()),
    })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use identity::{Fingerprint, FleetId, MemberIdentity, Validity};

    use super::*;

    #[test]
    fn of_two_members_of_one_name_none_is_accepted_by_chance() {
        let fleet = FleetId::draw().expect("random numbers");
        let stranger = |name: &str, last: u8| {
            let name = name.parse().expect("a name");
            let identity = MemberIdentity { fleet, role: Role::Host, name };
            let validity = Validity { from: SystemTime::UNIX_EPOCH, until: SystemTime::now() };
            let certificate = PeerCertificate { identity, key: Fingerprint::of(&[last]), validity };
            StrangerSeen { certificate, from: [10, 0, 0, last].into() }
        };
        let here = [stranger("web-1", 1), stranger("web-2", 2), stranger("web-1", 3)];
        let one = |name: &str| only_one(&name.parse().expect("a name"), here.to_vec());
        assert_eq!(one("web-2").map(|it| it.key), Ok(Fingerprint::of(&[2])));
        let two = one("web-1").expect_err("it may be either").message;
        assert!(two.contains("10.0.0.1 and 10.0.0.3"), "{two}");
        assert!(one("web-9").is_err());
    }
}
