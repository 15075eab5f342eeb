//! The API's socket: bound where nobody outside can reach it, with a bound on connections and on the
//! time that a client takes to say what it wants.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// More connections wait to be accepted.
const CONNECTIONS: usize = 256;
/// A connection without a whole head of a request for so long is closed.
const HEAD: Duration = Duration::from_secs(30);
/// After an accept that failed, the next.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

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
}

/// Binds the API's socket, loopback only.
///
/// # Errors
/// When the address is not loopback, or cannot be bound.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    if !address.ip().is_loopback() {
        return Err(ListenError::NotLoopback(address));
    }
    TcpListener::bind(address).await.map_err(|source| ListenError::Bind { address, source })
}

/// Answers until `stop` becomes true, then lets what is under way finish.
///
/// # Errors
/// When the socket fails.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        // It is never closed, so there is always a permit to come.
        let Ok(permit) = free.clone().acquire_owned().await else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = stopped(&mut stop) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let (router, stop) = (router.clone(), stop.clone());
                connections.spawn(async move {
                    answer(stream, router, stop).await;
                    drop(permit);
                });
            }
            // The client went away, or descriptors have run out: that passes.
            Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// One connection, to its end.
async fn answer(stream: TcpStream, router: Router, mut stop: watch::Receiver<bool>) {
    // The API's messages are small and waited for.
    let _ = stream.set_nodelay(true);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let service = TowerToHyperService::new(router);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    // How a connection broke is its client's to know.
    tokio::select! {
        _ = connection.as_mut() => {}
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
