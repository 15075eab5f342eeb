//! The server's end of the link: the door. It lets members in by their certificates, keeps one session with
//! each, gives certificates to those who were invited, and serves the files of releases by digest.

use std::convert::Infallible;
use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use identity::{Authority, Credentials, PeerCertificate};
use model::MemberName;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::answers::{self, AnswerBody};
use crate::door_state::{DoorCaller, DoorEnd, DoorState, StrangerSeen};
use crate::message::ToMember;
use crate::newcomers::Newcomers;
use crate::session::SessionTimes;

/// Connections at the same time; the next one waits.
const CONNECTIONS: usize = 8_192;
/// The time for a TLS handshake, and for the head of a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// The keys and times of a door.
#[derive(Debug)]
pub struct DoorConfig {
    /// The fleet's authority, which signs members' certificates.
    pub authority: Authority,
    /// The server's own credentials.
    pub server: Credentials,
    /// The times of sessions.
    pub times: SessionTimes,
}

/// A running door. Dropping it ends all sessions.
pub struct FleetDoor {
    shared: Arc<DoorState>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl fmt::Debug for FleetDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetDoor").finish_non_exhaustive()
    }
}

impl FleetDoor {
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
        let shared = Arc::new(DoorState::new(authority, times, end));
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

impl Drop for FleetDoor {
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
pub struct ToMembers(Arc<DoorState>);

impl fmt::Debug for ToMembers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToMembers").finish_non_exhaustive()
    }
}

impl ToMembers {
    /// Sends a message to a member. One to a member without a session is dropped: when it connects, everything
    /// is said again.
    pub fn send(&self, to: &MemberName, message: ToMember) {
        self.0.send(to, message);
    }

    /// Ends the session with a member that was removed, after telling it so. Nothing that it says is heard
    /// from now on.
    pub fn dismiss(&self, member: &MemberName) {
        self.0.end_session(member, Some(ToMember::Removed));
    }

    /// Returns the members that are connected with a certificate of the fleet, and that nobody knows.
    pub fn strangers(&self) -> Vec<StrangerSeen> {
        self.0.strangers_here()
    }

    /// Lets a member connect again that was not known so far.
    pub fn admit(&self, stranger: &PeerCertificate) {
        self.0.end_stranger(&stranger.key);
    }

    /// Ends the session with a member, which will connect again.
    pub fn reconnect(&self, member: &MemberName) {
        self.0.end_session(member, None);
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<DoorState>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the fleet's door does not open"),
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let newcomers = Newcomers::default();
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
        let Some(newcomer) = newcomers.admit(from.ip()) else { continue };
        tokio::spawn(async move {
            let shaken = timeout(PATIENCE, acceptor.accept(stream)).await;
            drop(newcomer);
            if let Ok(Ok(stream)) = shaken {
                serve(stream, from, shared).await;
            }
            drop(place);
        });
    }
}

async fn serve(stream: TlsStream<TcpStream>, from: SocketAddr, shared: Arc<DoorState>) {
    let _ = stream.get_ref().0.set_nodelay(true);
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let certificate = match shown.map(PeerCertificate::of).transpose() {
        Ok(certificate) => certificate,
        Err(error) => return tracing::warn!(%from, %error, "a connection was refused"),
    };
    let caller = DoorCaller { certificate, from };
    let service = service_fn(move |request: Request<Incoming>| {
        let (shared, caller) = (Arc::clone(&shared), caller.clone());
        async move {
            Ok::<Response<AnswerBody>, Infallible>(answers::answer(shared, caller, request).await)
        }
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
