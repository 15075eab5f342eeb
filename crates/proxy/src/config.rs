//! What a proxy is started with. Inert: nothing is opened or read here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use http1::RequestLimits;
use model::{HeadSizes, Millis, Network, ProxyId, ProxyLimits};

use crate::clock::Clock;
use crate::signing::AffinityKey;

/// The configuration of a proxy.
#[derive(Clone, Debug)]
pub struct Config {
    /// The id of the proxy in reports.
    pub id: ProxyId,
    /// The number of this process in reports. A later process of the same proxy has a larger number. By
    /// default the milliseconds since 1970.
    pub epoch: u64,
    /// The addresses to listen on; port 0 takes a free port.
    pub listen: Vec<SocketAddr>,
    /// The number of threads, each with its own listening sockets and upstream connections; at least 1.
    pub workers: usize,
    /// Bounds and time limits.
    pub limits: Limits,
    /// The clock by which limits are measured.
    pub clock: Clock,
    /// The file that gets one line per request, if any.
    pub access_log: Option<PathBuf>,
    /// Proxies before this one whose `X-Forwarded-For`, `-Proto` and `-Port` are believed. The client is
    /// the first address from the right that is none of them. By default none is believed.
    pub trusted_proxies: Vec<Network>,
    /// Networks from which clients may put themselves into a cohort by what they send. A request that
    /// another proxy has passed on counts as coming from here only if that proxy is trusted, too.
    pub trusted_networks: Vec<Network>,
    /// The keys that seal users' cookies. The first key seals and all keys open, so that a key can be
    /// renewed while cookies of the one before are in use. With none, a random key is made that no other
    /// proxy and no later start knows.
    pub affinity_keys: Vec<AffinityKey>,
    /// Makes the allocator return free memory to the system. A worker calls it on its own thread when a
    /// burst of connections is over, because many allocators look for free memory only during
    /// allocations. Does nothing by default.
    pub release_memory: fn(),
}

impl Config {
    /// Returns the defaults, with one worker for each processor that this process may use.
    pub fn new(listen: Vec<SocketAddr>) -> Self {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            id: ProxyId::local(),
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

/// The settings of a proxy that may change while it runs: which sender is believed, and the limits.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Bounds and time limits: [`Config::limits`].
    pub limits: Limits,
    /// Proxies in front: [`Config::trusted_proxies`].
    pub trusted_proxies: Vec<Network>,
    /// Networks of cohorts: [`Config::trusted_networks`].
    pub trusted_networks: Vec<Network>,
}

impl Settings {
    /// Returns those that a proxy starts with.
    pub fn of(config: &Config) -> Self {
        Self {
            limits: config.limits,
            trusted_proxies: config.trusted_proxies.clone(),
            trusted_networks: config.trusted_networks.clone(),
        }
    }
}

/// Bounds and time limits of a proxy, as they are measured here. Their table is [`model::PROXY_LIMITS`].
/// Those of an app come with its route ([`model::AppLimits`]).
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time from the first byte of a request to the end of its head.
    pub head: Millis,
    /// Time that a kept-alive connection may be without a request.
    pub idle: Millis,
    /// Bounds on the size of a request's head.
    pub head_sizes: RequestLimits,
    /// The least bytes per second of a body whose length was declared, over all the time that the proxy
    /// waits for the body; 0 for none. While more than half of the connections are in use, the rate also
    /// applies to every body and every answer, over each `body_grace` that the proxy waits for the
    /// client.
    pub body_rate: u64,
    /// Time without progress that is allowed before `body_rate` applies.
    pub body_grace: Millis,
    /// Time without a byte taken by the receiver.
    pub write_stall: Millis,
    /// Time to connect to an instance.
    pub connect: Millis,
    /// Time that bytes are discarded after an early answer, so that clients that write first see the
    /// answer. None while the number of connections is near its limit.
    pub linger: Millis,
    /// Time that the proxy waits for a `100 Continue` from the instance before it sends one itself.
    pub continue_wait: Millis,
    /// Time that an upstream connection may be idle, unless the upstream declared another.
    pub upstream_idle: Millis,
    /// Number of idle upstream connections per instance, over all workers. For a moment there may be
    /// more.
    pub upstream_idle_max: u32,
    /// Number of requests held per app.
    pub hold_requests: u32,
    /// Bytes of held requests per app.
    pub hold_bytes: usize,
    /// Number of connections of clients.
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
