//! What can go wrong when a proxy is started, fed or run. Says what, to what, and why.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use model::{Address, Generation};

/// Why a proxy could not be started or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else listens there, or the address is not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The operating system gave no thread or no event queue.
    #[error("cannot start worker {worker}")]
    Worker {
        /// Which.
        worker: usize,
        /// Why.
        source: io::Error,
    },
    /// The access log cannot be written.
    #[error("cannot open the access log {}", path.display())]
    AccessLog {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The options contradict each other.
    #[error("the proxy cannot be set up: {0}")]
    Options(String),
    /// The proxy is its own upstream.
    #[error("its upstream {upstream} is the proxy itself, and requests would go round in a circle")]
    Circle {
        /// Where both are.
        upstream: Address,
    },
    /// Signals or the probes' runtime.
    #[error("cannot {act}")]
    System {
        /// What we were doing.
        act: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// A snapshot or health table that is older than the one in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("snapshot {offered} is refused: {current} is in use")]
pub struct Stale {
    /// Its generation.
    pub offered: Generation,
    /// The generation in use.
    pub current: Generation,
}
