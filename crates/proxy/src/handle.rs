//! The proxy as seen from outside: bound, started, given snapshots, drained. Never on the path of a
//! request.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use model::{
    AppName, Generation, HealthTable, ProxyId, ProxySettings, ReachTarget, Snapshot, TrafficReport,
};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};

use crate::access_log::RequestLog;
use crate::bind::{self, Sockets};
use crate::clock::Beat;
use crate::config::{Config, Limits, Settings};
use crate::deadline::Deadline;
use crate::error::{Error, Stale};
use crate::metrics;
use crate::reporter::{self, OnReport};
use crate::service::{LeavingConnections, ServiceMode};
use crate::shared::ProxyState;
use crate::signing::{AffinityKey, Keyring};
use crate::worker::event_loop;

/// A proxy whose ports are reserved and that accepts nothing yet. Connections wait in the kernel.
#[derive(Debug)]
pub struct Bound {
    config: Config,
    sockets: Sockets,
    addresses: Vec<SocketAddr>,
    access_log: Option<RequestLog>,
}

/// A running proxy. Clones are handles to one proxy, which goes on when all of them are dropped.
#[derive(Clone, Debug)]
pub struct Proxy {
    shared: Arc<ProxyState>,
    addresses: Arc<[SocketAddr]>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Proxy {
    /// Reserves the ports and opens the access log; starts no thread that serves. Raises this process's
    /// limit of open files to the maximum that the system allows, and keeps the number of connections
    /// below that.
    ///
    /// # Errors
    /// If another process listens on a port already, or the log cannot be opened.
    pub fn bind(mut config: Config) -> Result<Bound, Error> {
        config.workers = config.workers.max(1);
        if config.affinity_keys.is_empty() {
            let drawn = AffinityKey::random().map_err(|source| Error::System {
                act: "draw a key for users' cookies",
                source: std::io::Error::other(source.to_string()),
            })?;
            config.affinity_keys.push(drawn);
        }
        config.limits = possible(config.limits);
        let (sockets, addresses) = bind::listen(&config.listen, config.workers)?;
        let access_log = config.access_log.as_deref().map(RequestLog::open).transpose()?;
        Ok(Bound { config, sockets, addresses, access_log })
    }

    /// Puts `snapshot` into use. Returns when its table is built. The workers swap in the next moments,
    /// and the report that says so follows. Publishing the same generation again changes nothing.
    ///
    /// # Errors
    /// If the snapshot is older than the one in use, which stays. A newer one that was only prepared is dropped.
    pub fn publish(&self, snapshot: &Snapshot) -> Result<(), Stale> {
        self.shared.publish(snapshot)
    }

    /// Returns the proxy's id in reports.
    pub fn id(&self) -> ProxyId {
        self.shared.config.id.clone()
    }

    /// Builds the table of `snapshot` without using it. Returns when the table is built. The next report
    /// says so.
    ///
    /// # Errors
    /// If the snapshot is older than the newest one, which stays.
    pub fn prepare(&self, snapshot: &Snapshot) -> Result<(), Stale> {
        self.shared.prepare(snapshot)
    }

    /// Puts the snapshot into use that was prepared for that generation. Returns at once. The workers
    /// swap in the next moments, and the report that says so follows. Does nothing if none was prepared,
    /// or if it is in use already.
    pub fn commit(&self, generation: Generation) {
        self.shared.commit(generation);
    }

    /// Takes over the results of the probes. A table with a lower version than the last is ignored.
    pub fn set_health(&self, table: Arc<HealthTable>) {
        self.shared.set_health(table);
    }

    /// Replaces the settings. Limits of requests and connections under way change with their next step, but for
    /// the size of a head that is being read.
    pub fn set_settings(&self, settings: &ProxySettings) {
        let ProxySettings { limits, trusted_proxies, trusted_networks } = settings;
        self.shared.live.settings.store(Arc::new(Settings {
            limits: possible(Limits::from(*limits)),
            trusted_proxies: trusted_proxies.clone(),
            trusted_networks: trusted_networks.clone(),
        }));
        self.shared.wake_workers();
    }

    /// Replaces the keys that seal users' cookies: see [`Config::affinity_keys`].
    pub fn set_affinity_keys(&self, keys: &[AffinityKey]) {
        self.shared.live.keyring.store(Arc::new(Keyring::new(keys)));
    }

    /// Replaces the instances on other machines that the proxy asks whether it reaches them. What it finds is in
    /// its reports.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn ask_instances(&self, targets: &[ReachTarget]) -> Result<(), Error> {
        self.shared.live.reach.replace(targets)
    }

    /// Returns a numbered report for control on the present state and counts.
    pub fn report(&self) -> TrafficReport {
        self.shared.report()
    }

    /// Returns the present state and counts, for readers that change nothing. Gaps are those of the
    /// reports so far, and the number is that of the last report.
    pub fn observe(&self) -> TrafficReport {
        self.shared.observe()
    }

    /// Returns the counters as Prometheus text.
    pub fn metrics(&self) -> String {
        metrics::render(&self.shared)
    }

    /// Returns a sentence on a problem with an app's traffic that can be fixed: an unnamed proxy sends
    /// fields that are dropped. `None` if no such field came in the last hour.
    pub fn warning(&self, app: &AppName) -> Option<String> {
        let stats = self.shared.ledger().directory.apps.get(app).cloned();
        stats.and_then(|stats| stats.dropped.told(self.shared.now_ms()))
    }

    /// Reopens the access log under its name, after it was renamed. Does nothing without a log. Blocks
    /// for as long as opening the file takes.
    ///
    /// # Errors
    /// If the file cannot be opened. The one in use stays.
    pub fn reopen_access_log(&self) -> Result<(), Error> {
        self.shared.access_log.as_ref().map_or(Ok(()), RequestLog::reopen)
    }

    /// Returns the listening addresses in the order of the configuration, with real ports.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Returns whether the proxy still accepts connections.
    pub fn is_accepting(&self) -> bool {
        !self.shared.is_draining()
    }

    /// Changes how the proxy takes part in service. Returns at once; the workers follow in the next moments.
    pub fn set_service(&self, service: ServiceMode) {
        self.shared.service.set(service, self.shared.now_ms());
        self.shared.wake_workers();
    }

    /// Returns the connections of a proxy that leaves service. `None` until every worker has counted them since the
    /// service changed.
    pub fn leaving_connections(&self) -> Option<LeavingConnections> {
        self.shared.leaving_connections()
    }

    /// Returns the number of open connections.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Acquire)
    }

    /// Cuts all connections. Returns at once.
    pub fn cut_connections(&self) {
        self.shared.service.cut(self.shared.now_ms().saturating_add(1));
        self.shared.wake_workers();
    }

    /// Cuts the connections that were opened while the proxy was in full service. Returns at once.
    pub fn cut_left_over(&self) {
        if let Some(before_ms) = self.shared.service.left_over_before_ms() {
            self.shared.service.cut(before_ms);
            self.shared.wake_workers();
        }
    }

    /// Returns how many connections were cut by the two functions above while they had a request or a stream,
    /// since the proxy was started.
    pub fn cut(&self) -> u64 {
        self.shared.service.cut.load(Ordering::Relaxed)
    }

    /// Returns the time since each worker last looked at its deadlines, for the one that has been silent longest. A
    /// worker does so every 50 ms unless it hangs.
    pub fn silent_for(&self) -> Duration {
        Duration::from_millis(self.shared.silent_ms())
    }

    /// Stops accepting, says `Connection: close` on answers, lets requests in flight finish until the
    /// deadline, and then cuts off the rest. Returns at once; see [`Proxy::join`].
    pub fn drain(&self, deadline: Duration) {
        let deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        let until = Deadline::at(self.shared.now_ms().saturating_add(deadline_ms));
        self.shared.service.ends_at.set(until);
        self.shared.live.reach.end();
        self.shared.wake_workers();
    }

    /// Waits until every worker has ended after [`Proxy::drain`] and the access log is written. Blocks.
    pub fn join(&self) {
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a worker ended in a panic");
            }
        }
        if let Some(log) = &self.shared.access_log {
            log.flush();
        }
    }
}

impl Bound {
    /// Returns the addresses that the proxy will listen on, with real ports.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Starts the workers with `initial`. `on_report` is called on a thread of its own: at once when the
    /// last worker has acknowledged a snapshot or an instance that left has no request in flight any
    /// more, and about once a second.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(
        self,
        initial: &Snapshot,
        on_report: impl Fn(TrafficReport) + Send + 'static,
    ) -> Result<Proxy, Error> {
        let Self { config, sockets, addresses, access_log } = self;
        let shared = Arc::new(ProxyState::new(config, access_log, initial));
        let mut threads = Vec::new();
        for (index, listeners) in sockets.into_iter().enumerate() {
            let shared = Arc::clone(&shared);
            let beat = shared.config.clock.beat();
            let run = move || serve(index, shared, listeners, beat);
            let thread = thread::Builder::new().name(format!("proxy-{index}")).spawn(run);
            threads.push(thread.map_err(|source| Error::Worker { worker: index, source })?);
        }
        reporter::start(Arc::clone(&shared), Box::new(on_report) as OnReport)?;
        let threads = Arc::new(Mutex::new(threads));
        Ok(Proxy { shared, addresses: addresses.into(), threads })
    }
}

/// Returns the limits with no more connections than open files allow.
fn possible(limits: Limits) -> Limits {
    let enough = bind::raise_file_limit();
    let wanted = limits.connections;
    if wanted > enough {
        tracing::warn!(wanted, enough, "the limit of open files allows fewer connections");
    }
    Limits { connections: wanted.min(enough), ..limits }
}

fn serve(index: usize, shared: Arc<ProxyState>, listeners: Vec<std::net::TcpListener>, beat: Beat) {
    /// Marks the worker as ended on drop, even after a panic.
    struct Ended(Arc<ProxyState>, usize);
    impl Drop for Ended {
        fn drop(&mut self) {
            self.0.workers[self.1].ended.store(true, Ordering::Release);
            self.0.signal.ring();
        }
    }
    let _ended = Ended(Arc::clone(&shared), index);
    let run =
        runtime().and_then(|runtime| event_loop::run(runtime, index, shared, listeners, beat));
    if let Err(error) = run {
        tracing::error!(%error, index, "cannot start a worker");
    }
}

/// Returns a runtime on one thread. Tasks do not move, so futures need not be `Send`.
fn runtime() -> std::io::Result<LocalRuntime> {
    Builder::new_current_thread().enable_io().enable_time().build_local(LocalOptions::default())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_worker_serves_and_catches_up_while_somebody_makes_the_next_snapshot() {
        let mut config = Config::new(vec!["127.0.0.1:0".parse().expect("an address")]);
        config.workers = 1;
        let bound = Proxy::bind(config).expect("a free port");
        let proxy = bound.start(&Snapshot::default(), |_| {}).expect("started");
        let ledger = proxy.shared.ledger();
        proxy.shared.wake_workers();
        let mut client = TcpStream::connect(proxy.local_addrs()[0]).expect("connected");
        client.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        for _ in 0..3 {
            client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
            let mut start = [0; 12];
            client.read_exact(&mut start).expect("an answer while the ledger is held");
            assert_eq!(&start, b"HTTP/1.1 503");
            proxy.shared.wake_workers();
            // Reads the rest of the page.
            let read = client.read(&mut [0; 4096]).expect("the rest");
            assert!(read > 0);
        }
        drop(ledger);
        proxy.drain(Duration::ZERO);
        proxy.join();
    }
}
