//! The presence of members: which are connected, since when, and with what they came.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use identity::PeerCertificate;
use link::{Hello, Offers};
use model::{MemberName, Reach, Timestamp};
use wire::{MemberState, ProxyDrain};

/// The presence of all members.
#[derive(Debug, Default)]
pub struct Presences(BTreeMap<MemberName, MemberPresence>);

/// The presence of a member.
#[derive(Clone, Debug)]
pub struct MemberPresence {
    /// Where it connected from.
    pub from: IpAddr,
    /// What it said first.
    pub hello: Hello,
    /// The certificate that it showed.
    pub certificate: PeerCertificate,
    /// Time of the last change.
    pub since: Timestamp,
    /// Why it is silent; `None` while it is heard.
    pub silent: Option<String>,
    /// How far it is, if it is a proxy that is drained and has said so.
    pub drain: Option<ProxyDrain>,
}

impl MemberPresence {
    /// Returns the member's state.
    pub fn state(&self, now: Timestamp) -> MemberState {
        let reach = self.silent.as_ref().map_or(Reach::Here, |_| Reach::of_silent(self.since, now));
        match reach {
            Reach::Here => MemberState::Here,
            Reach::Silent { .. } => MemberState::Silent,
            Reach::Lost { .. } => MemberState::Lost,
        }
    }
}

impl Presences {
    /// Records that a member is heard.
    pub fn heard(
        &mut self,
        from: IpAddr,
        certificate: &PeerCertificate,
        hello: &Hello,
        at: Timestamp,
    ) {
        let (hello, certificate) = (hello.clone(), certificate.clone());
        let name = certificate.identity.name.clone();
        let (silent, drain) = (None, None);
        let presence = MemberPresence { from, hello, certificate, since: at, silent, drain };
        self.0.insert(name, presence);
    }

    /// Records that nothing is heard of a member.
    pub fn silent(&mut self, member: &MemberName, why: &str, at: Timestamp) {
        if let Some(presence) = self.0.get_mut(member) {
            if presence.silent.is_none() {
                presence.since = at;
            }
            presence.silent = Some(why.to_owned());
        }
    }

    /// Records how far a proxy is that is drained.
    pub fn drain(&mut self, member: &MemberName, progress: Option<ProxyDrain>) {
        if let Some(presence) = self.0.get_mut(member) {
            presence.drain = progress;
        }
    }

    /// Forgets a member.
    pub fn forget(&mut self, member: &MemberName) {
        self.0.remove(member);
    }

    /// Returns what is seen of a member, if it has connected.
    pub fn of(&self, member: &MemberName) -> Option<&MemberPresence> {
        self.0.get(member)
    }

    /// Returns where hosts confirm their instances. `address` returns the address of a host's instances, given the one
    /// that it connects from.
    pub fn confirmers(&self, address: impl Fn(&MemberName, IpAddr) -> IpAddr) -> Vec<SocketAddr> {
        let hosts = self.0.iter().filter_map(|(name, presence)| match presence.hello.offers {
            Offers::Host { confirm: Some(port), .. } => Some((name, presence.from, port)),
            Offers::Host { confirm: None, .. } | Offers::Proxy { .. } => None,
        });
        hosts.map(|(name, from, port)| (address(name, from), port).into()).collect()
    }

    /// Returns the members that are heard.
    pub fn here(&self) -> impl Iterator<Item = &MemberPresence> {
        self.0.values().filter(|presence| presence.silent.is_none())
    }
}
