//! The server's end of the link: the door. It lets members in by their certificates, keeps one session with
//! each, gives certificates to those who were invited, and serves the files of releases by digest.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use identity::{Authority, Credentials, Fingerprint, MemberIdentity, PeerCertificate, Role};
use model::MemberName;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::answers::{self, Body};
use crate::content::{Content, ContentRefusal, Wanted};
use crate::message::{FromMember, Hello, ToMember, Welcome};
use crate::queue::Queue;
use crate::session::Times;

/// Connections at the same time; the next one waits.
const CONNECTIONS: usize = 8_192;
/// TLS handshakes at the same time; the next one waits.
const HANDSHAKES: usize = 64;
/// The time for a TLS handshake, and for the head of a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// A member's standing with the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It belongs to the fleet.
    Member,
    /// It was removed.
    Removed,
    /// The authority has certified it, and nobody here knows it: the server was restored from a backup.
    Unknown,
}

/// What a server does with the words of members, and what it knows of them.
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
    fn standing(&self, peer: &PeerCertificate) -> Standing;
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
        wanted: Wanted,
    ) -> BoxFuture<'a, Result<Content, ContentRefusal>>;
}

/// The keys and times of a door.
#[derive(Debug)]
pub struct DoorConfig {
    /// The fleet's authority, which signs members' certificates.
    pub authority: Authority,
    /// The server's own credentials.
    pub server: Credentials,
    /// The times of sessions.
    pub times: Times,
}

/// A running door. Dropping it ends all sessions.
pub struct Door {
    shared: Arc<Shared>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").finish_non_exhaustive()
    }
}

impl Door {
    /// Opens the door on a thread of its own.
    ///
    /// # Errors
    /// If TLS cannot be set up, or the thread cannot be started.
    pub fn open(
        listener: TcpListener,
        config: DoorConfig,
        end: Arc<dyn DoorEnd>,
    ) -> std::io::Result<Self> {
        let tls = identity::door(&config.server).map_err(std::io::Error::other)?;
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let DoorConfig { authority, server: _, times } = config;
        let shared = Arc::new(Shared { authority, times, end, sessions: Mutex::default() });
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .thread_name("fleet-files")
            .build()?;
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("fleet-door".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, acceptor, of_thread) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        })?;
        Ok(Self { shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Returns the way to the members.
    pub fn to_members(&self) -> ToMembers {
        ToMembers(Arc::clone(&self.shared))
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic on that thread has been printed already.
            let _ = thread.join();
        }
    }
}

/// The way from a server to the members that are connected.
#[derive(Clone)]
pub struct ToMembers(Arc<Shared>);

impl fmt::Debug for ToMembers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToMembers").finish_non_exhaustive()
    }
}

impl ToMembers {
    /// Sends a message to a member. One to a member without a session is dropped: when it connects, everything
    /// is said again.
    pub fn send(&self, to: &MemberName, message: ToMember) {
        if let Some(session) = self.0.sessions().get(to) {
            session.queue.push(message);
        }
    }

    /// Ends the session with a member that was removed, after telling it so. Nothing that it says is heard
    /// from now on.
    pub fn dismiss(&self, member: &MemberName) {
        if let Some(session) = self.0.sessions().remove(member) {
            session.queue.push(ToMember::Removed);
            session.queue.close();
        }
    }

    /// Ends the session with a member, which will connect again.
    pub fn reconnect(&self, member: &MemberName) {
        if let Some(session) = self.0.sessions().remove(member) {
            session.queue.close();
        }
    }
}

/// What all connections share.
pub(crate) struct Shared {
    pub authority: Authority,
    pub times: Times,
    pub end: Arc<dyn DoorEnd>,
    sessions: Mutex<BTreeMap<MemberName, Session>>,
}

/// The session with a member.
struct Session {
    /// Tells this session from the one after it.
    queue: Queue<ToMember>,
    number: u64,
}

impl Shared {
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

    /// Returns whether this is still the session with the member.
    pub fn is_current(&self, member: &MemberName, number: u64) -> bool {
        self.sessions().get(member).is_some_and(|session| session.number == number)
    }

    /// Ends a session. Returns whether it was still the one with the member.
    pub fn ends(&self, member: &MemberName, number: u64) -> bool {
        let current = self.is_current(member, number);
        if current {
            self.sessions().remove(member);
        }
        current
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<MemberName, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever is at the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The certificate; `None` for a client that may only join.
    pub certificate: Option<PeerCertificate>,
    pub from: SocketAddr,
}

impl Caller {
    /// Returns the certificate unless it has run out.
    pub fn valid(&self) -> Option<&PeerCertificate> {
        self.certificate.as_ref().filter(|it| !it.validity.is_over(SystemTime::now()))
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the fleet's door does not open"),
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the fleet's door cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        let handshakes = Arc::clone(&handshakes);
        tokio::spawn(async move {
            let shaken = async {
                let _turn = handshakes.acquire_owned().await.ok()?;
                timeout(PATIENCE, acceptor.accept(stream)).await.ok()?.ok()
            };
            if let Some(stream) = shaken.await {
                serve(stream, from, shared).await;
            }
            drop(place);
        });
    }
}

async fn serve(stream: TlsStream<TcpStream>, from: SocketAddr, shared: Arc<Shared>) {
    let _ = stream.get_ref().0.set_nodelay(true);
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let certificate = match shown.map(PeerCertificate::of).transpose() {
        Ok(certificate) => certificate,
        Err(error) => return tracing::warn!(%from, %error, "a connection was refused"),
    };
    let caller = Caller { certificate, from };
    let service = service_fn(move |request: Request<Incoming>| {
        let (shared, caller) = (Arc::clone(&shared), caller.clone());
        async move { Ok::<Response<Body>, Infallible>(answers::answer(shared, caller, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%from, %error, "a connection to the fleet's door ended");
    }
}
