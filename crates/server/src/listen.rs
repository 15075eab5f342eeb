//! The API's listeners: a socket in the data folder that only the folder's owner can open, and a loopback
//! port. Limits the number of connections, and the time a connection may last without the token.

use std::fs::{self, File, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use axum::serve::{Listener, ListenerExt as _};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use wire::SOCKET;

use crate::connection_limit::{ApiConnection, ConnectionLimit};

/// The backlog of connections that wait to be accepted.
const QUEUE: u32 = 1_024;
/// A connection that has not sent a complete request head within this time is closed.
const HEAD: Duration = Duration::from_secs(30);

/// The reason why the API cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is not a loopback address, so the token would travel in clear text.
    #[error("the API cannot listen on {0}: without TLS only loopback addresses are allowed")]
    NotLoopback(SocketAddr),
    /// The address cannot be bound.
    #[error("the API cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// The socket cannot be created.
    #[error("the API cannot listen on {}", path.display())]
    Socket {
        /// The path of the socket.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Checks that the API may listen on this address. Only loopback addresses are allowed.
///
/// # Errors
/// If the address is not a loopback address.
pub fn may_bind(address: SocketAddr) -> Result<(), ListenError> {
    if address.ip().is_loopback() { Ok(()) } else { Err(ListenError::NotLoopback(address)) }
}

/// Binds the API's port, on loopback addresses only.
///
/// # Errors
/// If the address is not a loopback address, or cannot be bound.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    may_bind(address)?;
    TcpListener::bind(address).await.map_err(|source| ListenError::Bind { address, source })
}

/// Creates the API's socket in the data folder, for the folder's owner only. The caller holds the lock on the
/// folder. Must be called on the runtime.
///
/// # Errors
/// If the socket cannot be created.
pub fn bind_in_folder(data: &Path) -> Result<UnixListener, ListenError> {
    let make = || -> io::Result<UnixListener> {
        // The path of a socket has at most 107 bytes; the folder's own path may be longer.
        let folder = File::open(data)?;
        let path = format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let socket = UnixSocket::new_stream()?;
        socket.bind(&path)?;
        // Nobody can connect before the socket listens.
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        socket.listen(QUEUE)
    };
    make().map_err(|source| ListenError::Socket { path: data.join(SOCKET), source })
}

/// Serves the API on the port until `stop` becomes true, then lets requests in flight finish.
pub async fn serve_port(listener: TcpListener, router: Router, stop: watch::Receiver<bool>) {
    // The API's messages are small, and clients wait for them.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    serve(listener, router, stop).await;
}

/// Serves the API on the socket in the data folder until `stop` becomes true, then lets requests in flight
/// finish.
pub async fn serve_socket(listener: UnixListener, router: Router, stop: watch::Receiver<bool>) {
    serve(listener, router, stop).await;
}

async fn serve(mut listener: impl Listener, router: Router, mut stop: watch::Receiver<bool>) {
    let mut limit = ConnectionLimit::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            (stream, _) = listener.accept() => stream,
            Some(_) = connections.join_next() => continue,
            () = stopped(&mut stop) => break,
        };
        let connection = limit.enter();
        let router = router.clone().layer(Extension(connection.clone()));
        connections.spawn(answer(accepted, connection, router, stop.clone()));
        limit.make_room().await;
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Serves one connection to its end.
async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    slot: ApiConnection,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let service = TowerToHyperService::new(router);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    // The error of a broken connection is not logged: it concerns only the client.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = slot.has_to_leave() => {}
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which also means stop.
    let _ = stop.wait_for(|stop| *stop).await;
}
