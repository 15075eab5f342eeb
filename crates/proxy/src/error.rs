//! Errors of starting, feeding and running a proxy. Each says what the proxy was doing, to what, and why
//! it failed.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use model::{Address, Generation};

/// The reason why a proxy could not be started or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process listens there, or the address does not belong to this machine.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// The operating system gave no thread or no event queue.
    #[error("cannot start worker {worker}")]
    Worker {
        /// The number of the worker.
        worker: usize,
        /// The cause.
        source: io::Error,
    },
    /// The access log cannot be written.
    #[error("cannot open the access log {}", path.display())]
    AccessLog {
        /// The path of the file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The options contradict each other.
    #[error("the proxy cannot be set up: {0}")]
    Options(String),
    /// The proxy is its own upstream.
    #[error("its upstream {upstream} is the proxy itself, and requests would go round in a circle")]
    Circle {
        /// The address of both.
        upstream: Address,
    },
    /// Signals or the runtime of the probes could not be set up.
    #[error("cannot {act}")]
    System {
        /// The action that failed.
        act: &'static str,
        /// The cause.
        source: io::Error,
    },
}

/// A snapshot or health table that is older than the one in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("snapshot {offered} is refused: {current} is in use")]
pub struct Stale {
    /// The generation of the refused snapshot.
    pub offered: Generation,
    /// The generation in use.
    pub current: Generation,
}
