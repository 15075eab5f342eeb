//! The presence of members: which are connected, since when, and with what they came.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use identity::PeerCertificate;
use link::{Hello, Offers};
use model::{Digest, MemberName, Reach, Timestamp};
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
    /// The fingerprint of the keys of users' cookies that it uses, if it is a proxy and has said so.
    pub keys: Option<Digest>,
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
        let (silent, drain, keys) = (None, None, None);
        let presence = MemberPresence { from, hello, certificate, since: at, silent, drain, keys };
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

    /// Records which keys of users' cookies a proxy uses.
    pub fn uses_keys(&mut self, member: &MemberName, keys: Digest) {
        if let Some(presence) = self.0.get_mut(member) {
            presence.keys = Some(keys);
        }
    }

    /// Returns whether each of these proxies uses these keys, unless it is lost. One that has not connected since the
    /// server was started counts as lost.
    pub fn all_use<'a>(
        &self,
        mut proxies: impl Iterator<Item = &'a MemberName>,
        keys: Digest,
        now: Timestamp,
    ) -> bool {
        proxies.all(|proxy| {
            let presence = self.0.get(proxy);
            presence.is_none_or(|it| it.state(now) == MemberState::Lost || it.keys == Some(keys))
        })
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

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use identity::{Fingerprint, FleetId, MemberIdentity, Validity};
    use model::{Abilities, Role};

    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn connected(presences: &mut Presences, name: &MemberName) {
        let fleet = FleetId::draw().unwrap();
        let identity = MemberIdentity { fleet, role: Role::Proxy, name: name.clone() };
        let validity = Validity { from: SystemTime::UNIX_EPOCH, until: SystemTime::now() };
        let key = Fingerprint::of(name.as_str().as_bytes());
        let certificate = PeerCertificate { identity, key, validity };
        let offers = Offers::Proxy { abilities: Abilities::default(), epoch: 1 };
        let (version, segue, boot) = (link::VERSION, "0.1.0".into(), "boot".into());
        let hello = Hello { version, segue, boot, obeyed: None, offers };
        presences.heard([10, 0, 0, 1].into(), &certificate, &hello, NOW);
    }

    #[test]
    fn keys_are_in_use_once_every_proxy_that_is_not_lost_has_said_so() {
        let names: Vec<MemberName> =
            ["lb-1", "lb-2", "lb-3"].into_iter().map(|name| name.parse().unwrap()).collect();
        let [old, new] = [1, 2].map(|byte| Digest::from_bytes([byte; 32]));
        let mut presences = Presences::default();
        // The third has not connected since the server was started.
        names[..2].iter().for_each(|name| connected(&mut presences, name));
        let all_use = |presences: &Presences, now| presences.all_use(names.iter(), new, now);
        assert!(!all_use(&presences, NOW));
        presences.uses_keys(&names[0], new);
        presences.uses_keys(&names[1], old);
        assert!(!all_use(&presences, NOW), "the second uses the keys of before");
        presences.silent(&names[1], "its session ended", NOW);
        assert!(!all_use(&presences, NOW), "it may be back in a moment");
        let lost = NOW.after(Reach::LOST_AFTER);
        assert!(all_use(&presences, lost));
        connected(&mut presences, &names[1]);
        assert!(!all_use(&presences, lost), "it has not said what it uses since it is back");
        presences.uses_keys(&names[1], new);
        assert!(all_use(&presences, lost));
    }
}
