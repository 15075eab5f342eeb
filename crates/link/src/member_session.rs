//! The server's session with one member, from its first message to its end.

use std::net::SocketAddr;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use identity::PeerCertificate;
use model::Role;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role as WebSocketRole;

use crate::door_state::{DoorState, MemberStanding, StrangerSeen};
use crate::message::{FromMember, Hello, Offers, ToMember, is_spoken};
use crate::queue::Queue;
use crate::session::{self, Heard};

/// Runs a session with a member.
pub(crate) async fn run(
    shared: &DoorState,
    peer: PeerCertificate,
    from: SocketAddr,
    upgraded: Upgraded,
) {
    let role = WebSocketRole::Server;
    let socket = TokioIo::new(upgraded);
    let socket = WebSocketStream::from_raw_socket(socket, role, Some(session::limits())).await;
    let queue = Queue::new();
    queue.push(ToMember::Welcome(shared.end.welcome()));
    let who = Who::NotYetKnown;
    let mut session = Session { shared, peer: &peer, from, queue: &queue, who };
    let heartbeat = || ToMember::Heartbeat;
    let ended = session::run(socket, &queue, heartbeat, shared.times, |heard| session.hear(heard));
    let why = ended.await.to_string();
    let Session { who, .. } = session;
    let member = &peer.identity;
    match who {
        Who::Member { number, .. } if shared.ended(&member.name, number) => {
            tracing::info!(name = %member.name, why, "the session with a member ended");
            shared.end.silent(member, &why);
        }
        Who::Stranger { number } => shared.stranger_ended(&peer, number),
        Who::Member { .. } | Who::NotYetKnown => {}
    }
}

/// The state of a session.
struct Session<'a> {
    shared: &'a DoorState,
    peer: &'a PeerCertificate,
    from: SocketAddr,
    queue: &'a Queue<ToMember>,
    who: Who,
}

/// Whom the session is with.
enum Who {
    /// The other end has not said its first message.
    NotYetKnown,
    /// Somebody with a certificate of the fleet whom nobody knows. What it says is not heard. The number is that of
    /// the session.
    Stranger { number: u64 },
    /// A member, with its first message and the number of the session.
    Member { hello: Box<Hello>, number: u64 },
}

impl Session<'_> {
    fn hear(&mut self, heard: Heard<FromMember>) {
        let member = &self.peer.identity;
        match heard {
            Heard::Message(FromMember::Hello(hello)) if matches!(self.who, Who::NotYetKnown) => {
                self.begin(hello);
            }
            Heard::Message(FromMember::Heartbeat | FromMember::Unknown) => {}
            Heard::Message(_) if matches!(self.who, Who::Stranger { .. }) => {}
            Heard::Message(message) => {
                // A member that was removed is not heard any more, and neither is an earlier session.
                if !self.is_current() || !may_say(member.role, &message) {
                    tracing::warn!(name = %member.name, "a message of a member was refused");
                    self.queue.close();
                    return;
                }
                self.shared.end.receive(member, message);
            }
            Heard::Silence if self.is_current() => {
                self.shared.end.silent(member, "nothing was heard of it for a while");
            }
            Heard::Again if self.is_current() => {
                if let Who::Member { hello, .. } = &self.who {
                    self.shared.end.connected(self.peer, self.from, hello);
                }
            }
            Heard::Silence | Heard::Again => {}
        }
    }

    fn begin(&mut self, hello: Hello) {
        let member = &self.peer.identity;
        let offers = match hello.offers {
            Offers::Host { .. } => Role::Host,
            Offers::Proxy { .. } => Role::Proxy,
        };
        if offers != member.role || !is_spoken(hello.version) {
            let (version, segue) = (hello.version, &hello.segue);
            tracing::warn!(name = %member.name, version, segue, "a member was refused: it speaks otherwise");
            self.queue.close();
            return;
        }
        match self.shared.end.standing(self.peer) {
            MemberStanding::Removed => {
                self.queue.push(ToMember::Removed);
                self.queue.close();
            }
            // It comes back in a moment.
            MemberStanding::NotKnownYet => self.queue.close(),
            // Its work goes on as it is, until a person takes it in.
            MemberStanding::Unknown => {
                tracing::warn!(name = %member.name, "a member is connected that nobody knows");
                let (certificate, from) = (self.peer.clone(), self.from.ip().to_canonical());
                let seen = StrangerSeen { certificate, from };
                let number = self.shared.stranger_begins(seen, self.queue);
                self.who = Who::Stranger { number };
            }
            MemberStanding::Member => {
                let number = self.shared.begins(&member.name, self.queue);
                self.shared.end.connected(self.peer, self.from, &hello);
                self.who = Who::Member { hello: Box::new(hello), number };
            }
        }
    }

    fn is_current(&self) -> bool {
        let Who::Member { number, .. } = &self.who else { return false };
        self.shared.is_current(&self.peer.identity.name, *number)
    }
}

/// Returns whether a member of this role may say this.
fn may_say(role: Role, message: &FromMember) -> bool {
    match message {
        FromMember::Report { .. } | FromMember::Logs { .. } => role == Role::Host,
        FromMember::Reached { .. }
        | FromMember::Traffic { .. }
        | FromMember::CookieKeys { .. }
        | FromMember::Drain { .. } => role == Role::Proxy,
        FromMember::Hello(_) => false,
        FromMember::Heartbeat | FromMember::Unknown => true,
    }
}
