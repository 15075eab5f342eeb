//! The member's end of the link: keeps one session with a server of the fleet, comes back after every end,
//! and renews the member's certificate.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use http::Request;
use identity::Credentials;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::Error as WebSocketError;

use crate::dial::{SERVER_NAME, connect};
use crate::error::LinkError;
use crate::join::{Certified, renew};
use crate::message::{ControlRun, FromMember, Hello, ToMember, Welcome, is_spoken};
use crate::queue::Queue;
use crate::session::{self, Heard, SessionTimes};

/// The path of sessions.
pub(crate) const LINK: &str = "/link";
/// The longest pause before the next attempt to connect. Each pause is drawn between nothing and a bound
/// that doubles up to this one, so that many members do not come back at the same moment.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// The time for opening a WebSocket.
const OPEN: Duration = Duration::from_secs(5);
/// The time between two attempts to renew a certificate.
const RENEW_AGAIN: Duration = Duration::from_secs(3600);

/// What a member does with the words of its server.
pub trait MemberEnd: Send + Sync + 'static {
    /// Returns the first message of a session.
    fn hello(&self) -> Hello;
    /// Takes a message of the server. Must be quick. Only messages of a control that may command are passed.
    fn receive(&self, message: ToMember);
    /// A session has begun.
    fn connected(&self, welcome: &Welcome);
    /// There is no session, for this reason. Called after each attempt.
    fn disconnected(&self, why: &LinkError);
    /// The certificate was renewed.
    fn renewed(&self, credentials: &Credentials);
}

/// A member's way to its server.
#[derive(Clone, Debug, Default)]
pub struct ToServer(Arc<Mutex<Option<Queue<FromMember>>>>);

impl ToServer {
    /// Sends a message if there is a session. Without one the message is dropped: when the next one begins,
    /// the server asks for everything again.
    pub fn send(&self, message: FromMember) {
        if let Some(queue) = &*self.queue() {
            queue.push(message);
        }
    }

    fn queue(&self) -> MutexGuard<'_, Option<Queue<FromMember>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A member with its identity and the addresses of its servers.
#[derive(Debug)]
pub struct Member {
    credentials: Credentials,
    servers: Vec<String>,
    times: SessionTimes,
    /// The control that was obeyed last.
    obeyed: Option<ControlRun>,
    to_server: ToServer,
    renewal: SystemTime,
}

/// The end of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberEnded {
    /// The member was removed from its fleet.
    Removed,
}

impl Member {
    /// Returns a member that connects to one of these servers (`HOST:PORT`). `obeyed` is the control that it
    /// obeyed before it was restarted.
    pub fn new(
        credentials: Credentials,
        servers: Vec<String>,
        obeyed: Option<ControlRun>,
        times: SessionTimes,
    ) -> Self {
        let renewal = credentials.own().validity.renewal();
        Self { credentials, servers, times, obeyed, to_server: ToServer::default(), renewal }
    }

    /// Returns the way to the server.
    pub fn to_server(&self) -> ToServer {
        self.to_server.clone()
    }

    /// Keeps a session until the member is removed from its fleet.
    pub async fn run(mut self, end: &dyn MemberEnd) -> MemberEnded {
        let mut bound = SHORTEST_PAUSE;
        let mut turn = 0_usize;
        loop {
            let server = match self.servers.len() {
                0 => String::new(),
                many => self.servers.get(turn % many).cloned().unwrap_or_default(),
            };
            turn = turn.wrapping_add(1);
            let began = std::time::Instant::now();
            let (why, removed) = self.session(&server, end).await;
            if removed {
                return MemberEnded::Removed;
            }
            end.disconnected(&why);
            if began.elapsed() > LONGEST_PAUSE {
                bound = SHORTEST_PAUSE;
            }
            sleep(drawn(bound)).await;
            bound = (bound * 2).min(LONGEST_PAUSE);
        }
    }

    /// Runs one session with a server. Returns its end, and whether the member was removed.
    async fn session(&mut self, server: &str, end: &dyn MemberEnd) -> (LinkError, bool) {
        if server.is_empty() {
            return (LinkError::NoServer, false);
        }
        self.renew_if_due(server, end).await;
        let socket = match self.open(server).await {
            Ok(socket) => socket,
            Err(error) => return (error, false),
        };
        let queue = Queue::new();
        queue.push(FromMember::Hello(Hello { obeyed: self.obeyed, ..end.hello() }));
        *self.to_server.queue() = Some(queue.clone());
        let mut removed = false;
        let renewal = self.renewal;
        let session = session::run(
            socket,
            &queue,
            || FromMember::Heartbeat,
            self.times,
            |heard| {
                let Heard::Message(message) = heard else { return };
                // A session ends for the renewal, and the next one begins with the new certificate.
                if SystemTime::now() > renewal + RENEW_AGAIN {
                    queue.close();
                }
                match message {
                    ToMember::Welcome(welcome) => self.welcomed(&welcome, &queue, end),
                    ToMember::Removed => {
                        removed = true;
                        queue.close();
                    }
                    ToMember::Heartbeat | ToMember::Unknown => {}
                    command @ (ToMember::Host { .. }
                    | ToMember::Prepare { .. }
                    | ToMember::Commit { .. }
                    | ToMember::Health { .. }
                    | ToMember::Settings { .. }
                    | ToMember::CookieKeys { .. }
                    | ToMember::Duty { .. }
                    | ToMember::Hosts { .. }
                    | ToMember::Reach { .. }
                    | ToMember::ReadLogs { .. }) => {
                        if self.may_command(&command) {
                            end.receive(command);
                        }
                    }
                }
            },
        );
        let ended = session.await;
        *self.to_server.queue() = None;
        (LinkError::Session { server: server.to_owned(), end: ended }, removed)
    }

    async fn open(
        &self,
        server: &str,
    ) -> Result<
        tokio_tungstenite::WebSocketStream<tokio_rustls::client::TlsStream<tokio::net::TcpStream>>,
        LinkError,
    > {
        let tls = Arc::new(identity::member(&self.credentials)?);
        let stream = connect(server, &tls).await?;
        let failed = |source| LinkError::Open { server: server.to_owned(), source };
        let key = tokio_tungstenite::tungstenite::handshake::client::generate_key();
        let request = Request::get(format!("wss://{SERVER_NAME}{LINK}"))
            .header("host", SERVER_NAME)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", key)
            .body(())
            .map_err(|error| failed(WebSocketError::HttpFormat(error)))?;
        let opened =
            timeout(OPEN, client_async_with_config(request, stream, Some(session::limits())));
        let late = || failed(WebSocketError::Io(std::io::ErrorKind::TimedOut.into()));
        let (socket, _) = opened.await.map_err(|_| late())?.map_err(failed)?;
        Ok(socket)
    }

    fn welcomed(&mut self, welcome: &Welcome, queue: &Queue<FromMember>, end: &dyn MemberEnd) {
        if !is_spoken(welcome.version) {
            let (theirs, ours) = (&welcome.segue, env!("CARGO_PKG_VERSION"));
            tracing::error!(
                "the server runs segue {theirs}, which segue {ours} does not understand"
            );
            queue.close();
            return;
        }
        if !welcome.servers.is_empty() && welcome.servers != self.servers {
            self.servers.clone_from(&welcome.servers);
        }
        end.connected(welcome);
    }

    /// Returns whether the message comes from a control that may command this member: of a higher term than
    /// all that it has obeyed, or the one that it obeys.
    fn may_command(&mut self, message: &ToMember) -> bool {
        let by = match message {
            ToMember::Host { by, .. }
            | ToMember::Prepare { by, .. }
            | ToMember::Commit { by, .. }
            | ToMember::Health { by, .. }
            | ToMember::Settings { by, .. }
            | ToMember::CookieKeys { by, .. }
            | ToMember::Duty { by, .. }
            | ToMember::Hosts { by, .. }
            | ToMember::Reach { by, .. } => *by,
            ToMember::ReadLogs { .. } => return true,
            ToMember::Welcome(_) | ToMember::Heartbeat | ToMember::Removed | ToMember::Unknown => {
                return false;
            }
        };
        match self.obeyed {
            Some(obeyed) if by.term < obeyed.term || (by.term == obeyed.term && by != obeyed) => {
                tracing::warn!(%by, %obeyed, "a command was refused: its control has been replaced");
                false
            }
            Some(_) | None => {
                self.obeyed = Some(by);
                true
            }
        }
    }

    async fn renew_if_due(&mut self, server: &str, end: &dyn MemberEnd) {
        let now = SystemTime::now();
        if now < self.renewal {
            return;
        }
        self.renewal = now + RENEW_AGAIN;
        match renew(server, &self.credentials).await.and_then(|new| self.credentials_of(new)) {
            Ok(new) => {
                self.renewal = new.own().validity.renewal();
                end.renewed(&new);
                self.credentials = new;
            }
            Err(error) => {
                tracing::warn!(%error, "the certificate is not renewed; it is tried again")
            }
        }
    }

    fn credentials_of(&self, new: Certified) -> Result<Credentials, LinkError> {
        Ok(self.credentials.renewed(new.certificate, new.authorities)?)
    }
}

/// Draws a pause between nothing and `bound`.
fn drawn(bound: Duration) -> Duration {
    let mut byte = [0; 4];
    // Without random numbers all wait as long as they may.
    let part = getrandom::fill(&mut byte).map_or(u32::MAX, |()| u32::from_ne_bytes(byte));
    bound.mul_f64(f64::from(part) / f64::from(u32::MAX))
}
