//! The API's sockets: one in the data folder that its owner alone can open, and a port where nobody
//! outside can reach it. Bounds how many are connected, and for how long without the token.

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

/// Connections that wait to be accepted.
const QUEUE: u32 = 1_024;
/// A connection without a whole head of a request for so long is closed.
const HEAD: Duration = Duration::from_secs(30);

/// Why the API cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The token would travel in clear text.
    #[error("the API cannot listen on {0}: without TLS only loopback addresses are allowed")]
    NotLoopback(SocketAddr),
    /// The address cannot be bound.
    #[error("the API cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The socket cannot be made.
    #[error("the API cannot listen on {}", path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Whether the API may listen there: on loopback addresses alone.
///
/// # Errors
/// When it may not.
pub fn may_bind(address: SocketAddr) -> Result<(), ListenError> {
    if address.ip().is_loopback() { Ok(()) } else { Err(ListenError::NotLoopback(address)) }
}

/// Binds the API's port, loopback only.
///
/// # Errors
/// When the address is not loopback, or cannot be bound.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    may_bind(address)?;
    TcpListener::bind(address).await.map_err(|source| ListenError::Bind { address, source })
}

/// Makes the API's socket in the data folder, for the folder's user alone. The caller holds the lock on
/// the folder. Has to be called on the runtime.
///
/// # Errors
/// When it cannot be made there.
pub fn bind_in_folder(data: &Path) -> Result<UnixListener, ListenError> {
    let make = || -> io::Result<UnixListener> {
        // A socket's path has 107 bytes at most; the folder's own may be longer.
        let folder = File::open(data)?;
        let path = format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let socket = UnixSocket::new_stream()?;
        socket.bind(&path)?;
        // Nobody can connect before it listens.
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        socket.listen(QUEUE)
    };
    make().map_err(|source| ListenError::Socket { path: data.join(SOCKET), source })
}

/// Answers on the port until `stop` becomes true, then lets what is under way finish.
pub async fn serve_port(listener: TcpListener, router: Router, stop: watch::Receiver<bool>) {
    // The API's messages are small and waited for.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    serve(listener, router, stop).await;
}

/// Serves the API on the socket in the data folder, until `stop`.
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

/// One connection, to its end.
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
    // How a connection broke is its client's to know.
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
    // A sender that is gone means the same.
    let _ = stop.wait_for(|stop| *stop).await;
}
