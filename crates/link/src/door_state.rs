//! The state that the connections of a door share: the sessions with members, and the interface to whoever judges and
//! hears them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use futures_util::future::BoxFuture;
use identity::{Authority, Fingerprint, MemberIdentity, PeerCertificate};
use model::{MemberName, Role};

use crate::content::{ContentRefusal, ContentRequest, ServedContent};
use crate::message::{FromMember, Hello, ToMember, Welcome};
use crate::queue::Queue;
use crate::session::SessionTimes;

/// A member's standing with the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberStanding {
    /// A member of the fleet.
    Member,
    /// A member that was removed.
    Removed,
    /// The authority has certified it, and nobody here knows it: the server was restored from a backup.
    Unknown,
    /// The server is starting, and does not know its members yet.
    NotKnownYet,
}

/// The interface of a door to whoever hears its members, and knows them.
pub trait DoorEnd: Send + Sync + 'static {
    /// Returns the first message of a session.
    fn welcome(&self) -> Welcome;
    /// Takes an invite by the fingerprint of its secret, for the member with this key. The same key may ask
    /// again until its member has connected. Returns who the member is, or why the invite is refused.
    fn redeem(
        &self,
        secret: Fingerprint,
        key: Fingerprint,
    ) -> BoxFuture<'_, Result<(Role, MemberName), String>>;
    /// Returns the standing of whoever shows this certificate.
    fn standing(&self, peer: &PeerCertificate) -> MemberStanding;
    /// A member has connected, from this address; or it is heard again after a silence.
    fn connected(&self, member: &PeerCertificate, from: SocketAddr, hello: &Hello);
    /// A member's session ended, or nothing was heard of it for a while.
    fn silent(&self, member: &MemberIdentity, why: &str);
    /// Takes a message of a member. Must be quick. The role of the sender may say such messages.
    fn receive(&self, member: &MemberIdentity, message: FromMember);
    /// Returns content for a host, or why it does not get it.
    fn content<'a>(
        &'a self,
        host: &'a MemberName,
        wanted: ContentRequest,
    ) -> BoxFuture<'a, Result<ServedContent, ContentRefusal>>;
}

/// What all connections of a door share.
pub(crate) struct DoorState {
    pub authority: Authority,
    pub times: SessionTimes,
    pub end: Arc<dyn DoorEnd>,
    sessions: Mutex<BTreeMap<MemberName, Session>>,
    /// Members that are connected with a certificate of the fleet, and that nobody knows. By their keys.
    strangers: Mutex<BTreeMap<Fingerprint, Stranger>>,
}

/// A member that nobody knows, with the session with it.
struct Stranger {
    seen: StrangerSeen,
    session: Session,
}

/// A member that is connected with a certificate of the fleet, and that nobody knows.
#[derive(Clone, Debug)]
pub struct StrangerSeen {
    /// The certificate that it showed.
    pub certificate: PeerCertificate,
    /// Where it connected from.
    pub from: IpAddr,
}

/// Number of members that nobody knows of which is kept that they are connected.
const STRANGERS: usize = 1_000;

/// The session with a member. Its number tells it from the one after it.
struct Session {
    queue: Queue<ToMember>,
    number: u64,
}

impl DoorState {
    pub fn new(authority: Authority, times: SessionTimes, end: Arc<dyn DoorEnd>) -> Self {
        let (sessions, strangers) = (Mutex::default(), Mutex::default());
        Self { authority, times, end, sessions, strangers }
    }

    /// Makes a session the one with this member. An earlier one ends. Returns its number.
    pub fn begins(&self, member: &MemberName, queue: &Queue<ToMember>) -> u64 {
        let mut sessions = self.sessions();
        let number = sessions.get(member).map_or(0, |earlier| {
            earlier.queue.close();
            earlier.number + 1
        });
        sessions.insert(member.clone(), Session { queue: queue.clone(), number });
        number
    }

    /// Sends a message to a member, if there is a session with it.
    pub fn send(&self, to: &MemberName, message: ToMember) {
        if let Some(session) = self.sessions().get(to) {
            session.queue.push(message);
        }
    }

    /// Ends the session with a member, after a last message if there is one. Nothing more is heard in it.
    pub fn end_session(&self, member: &MemberName, last: Option<ToMember>) {
        if let Some(session) = self.sessions().remove(member) {
            last.into_iter().for_each(|last| session.queue.push(last));
            session.queue.close();
        }
    }

    /// Returns whether this is still the session with the member.
    pub fn is_current(&self, member: &MemberName, number: u64) -> bool {
        self.sessions().get(member).is_some_and(|session| session.number == number)
    }

    /// Forgets a session that has ended. Returns whether it was still the one with the member.
    pub fn ended(&self, member: &MemberName, number: u64) -> bool {
        let current = self.is_current(member, number);
        if current {
            self.sessions().remove(member);
        }
        current
    }

    /// Records that a member is connected that nobody knows. Returns the number of the session.
    pub fn stranger_begins(&self, seen: StrangerSeen, queue: &Queue<ToMember>) -> u64 {
        let mut strangers = self.strangers();
        let key = seen.certificate.key;
        let number = strangers.get(&key).map_or(0, |earlier| earlier.session.number + 1);
        if strangers.len() < STRANGERS {
            let session = Session { queue: queue.clone(), number };
            strangers.insert(key, Stranger { seen, session });
        }
        number
    }

    /// Records that a session has ended with a member that nobody knows.
    pub fn stranger_ended(&self, peer: &PeerCertificate, number: u64) {
        let mut strangers = self.strangers();
        if strangers.get(&peer.key).is_some_and(|it| it.session.number == number) {
            strangers.remove(&peer.key);
        }
    }

    /// Returns the members that are connected and that nobody knows.
    pub fn strangers_here(&self) -> Vec<StrangerSeen> {
        self.strangers().values().map(|it| it.seen.clone()).collect()
    }

    /// Ends the session with whoever has this key and is not known, who will connect again.
    pub fn end_stranger(&self, key: &Fingerprint) {
        if let Some(stranger) = self.strangers().remove(key) {
            stranger.session.queue.close();
        }
    }

    fn strangers(&self) -> MutexGuard<'_, BTreeMap<Fingerprint, Stranger>> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<MemberName, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct DoorCaller {
    /// The certificate; `None` for a client that may only join.
    pub certificate: Option<PeerCertificate>,
    pub from: SocketAddr,
}

impl DoorCaller {
    /// Returns the certificate unless it has run out.
    pub fn valid(&self) -> Option<&PeerCertificate> {
        self.certificate.as_ref().filter(|it| !it.validity.is_over(SystemTime::now()))
    }
}
