//! What a proxy is started with. Inert: nothing is opened or read here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use http1::RequestLimits;
use model::{HeadSizes, Millis, Network, ProxyId, ProxyLimits};

use crate::clock::Clock;
use crate::signing::AffinityKey;

/// What a proxy is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its name in reports.
    pub id: ProxyId,
    /// Numbers this process in reports: a later one of the same proxy has a larger number. By default the
    /// milliseconds since 1970.
    pub epoch: u64,
    /// Where it listens; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Threads, each with its own listening sockets and upstream connections; at least 1.
    pub workers: usize,
    /// Bounds and time limits.
    pub limits: Limits,
    /// What they are measured on.
    pub clock: Clock,
    /// The file that gets one line per request, if any.
    pub access_log: Option<PathBuf>,
    /// Proxies before this one whose `X-Forwarded-For`, `-Proto` and `-Port` are believed. The client
    /// is the first address from the right that is none of them. By default nobody is.
    pub trusted_proxies: Vec<Network>,
    /// Where clients may pick themselves for a cohort by what they send. A request that another proxy
    /// has passed on comes from here only if that proxy is trusted, too.
    pub trusted_networks: Vec<Network>,
    /// The keys that seal users' cookies: the first seals, all open, so that a key can be renewed
    /// while cookies of the one before are about. With none, a key is drawn that no other proxy and
    /// no later start knows.
    pub affinity_keys: Vec<AffinityKey>,
    /// Has the allocator return free memory to the system. A worker calls it on its own thread when a burst
    /// of connections is over: many allocators look for free memory only while they allocate. By default
    /// nothing is done.
    pub release_memory: fn(),
}

impl Config {
    /// The defaults, with as many workers as this process may use processors.
    pub fn new(listen: Vec<SocketAddr>) -> Self {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            id: ProxyId(0),
            epoch: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
            listen,
            workers,
            limits: Limits::default(),
            clock: Clock::system(),
            access_log: None,
            trusted_proxies: Vec::new(),
            trusted_networks: Vec::new(),
            affinity_keys: Vec::new(),
            release_memory: || {},
        }
    }
}

/// Bounds and time limits of a proxy, as they are measured here. Their table is [`model::PROXY_LIMITS`];
/// those of an app come with its route ([`model::AppLimits`]).
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the first byte of a request to the end of its head, in all.
    pub head: Millis,
    /// A kept-alive connection without a request.
    pub idle: Millis,
    /// How large a request's head may be.
    pub head_sizes: RequestLimits,
    /// The least bytes per second of a body whose length was declared, over all the time that we
    /// wait for it; 0 for none. While more than half of the connections are in use, of every body and
    /// every answer, over each `body_grace` that we wait for the client.
    pub body_rate: u64,
    /// The time without progress that is forgiven before `body_rate` applies.
    pub body_grace: Millis,
    /// Without a byte taken by the receiver.
    pub write_stall: Millis,
    /// Connecting to an instance.
    pub connect: Millis,
    /// How long bytes are discarded after an early answer, so that clients see it that write first.
    /// Not at all while there are nearly too many connections.
    pub linger: Millis,
    /// How long we wait for a `100 Continue` from upstream before we send one.
    pub continue_wait: Millis,
    /// An idle upstream connection, unless the upstream said otherwise.
    pub upstream_idle: Millis,
    /// Idle upstream connections per instance, over all workers; for a moment there may be more.
    pub upstream_idle_max: u32,
    /// Requests held per app.
    pub hold_requests: u32,
    /// Bytes of held requests per app.
    pub hold_bytes: usize,
    /// Connections of clients.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        ProxyLimits::default().into()
    }
}

impl From<ProxyLimits> for Limits {
    fn from(limits: ProxyLimits) -> Self {
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let ProxyLimits {
            connections,
            head,
            head_sizes: HeadSizes { head: head_bytes, fields, target },
            idle,
            body_rate,
            body_grace,
            write_stall,
            connect,
            continue_wait,
            linger,
            upstream_idle,
            upstream_idle_max,
            hold_requests,
            hold_bytes,
        } = limits;
        let head_sizes = RequestLimits {
            head: size(head_bytes),
            fields: size(fields.into()),
            target: size(target),
            ..RequestLimits::default()
        };
        Self {
            head,
            idle,
            head_sizes,
            body_rate,
            body_grace,
            write_stall,
            connect,
            linger,
            continue_wait,
            upstream_idle,
            upstream_idle_max,
            hold_requests,
            hold_bytes: size(hold_bytes),
            connections: size(connections.into()),
        }
    }
}
