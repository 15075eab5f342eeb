//! `segue proxy`: fixed upstreams, no control plane. For measuring, for testing, and as a plain load
//! balancer. Its snapshot changes only when the name of an upstream resolves to other addresses.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use model::{
    AppLimits, AppName, Balance, HealthTable, InstanceId, Invalid, Label, LoneLimits, Millis,
    Network, Route, TrafficReport, Upstream, UpstreamPlace,
};

use crate::admin;
use crate::circle;
use crate::config::{Config, Limits};
use crate::error::Error;
use crate::handle::Proxy;
use crate::probe::{self, ProbeRecord};
use crate::process_signals::{SignalAction, Signals};
use crate::resolver::{Resolver, follow, known};

/// The options of `segue proxy`.
#[derive(Clone, Debug)]
pub struct Options {
    /// The addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// The upstreams; at least one.
    pub upstreams: Vec<Upstream>,
    /// The number of threads; by default the number of processors.
    pub workers: Option<usize>,
    /// The address that serves metrics and health.
    pub admin: Option<SocketAddr>,
    /// The path of a GET that a healthy upstream answers with 2xx. Without it, upstreams are not probed.
    pub health_path: Option<String>,
    /// The file that gets one line per request.
    pub access_log: Option<PathBuf>,
    /// Proxies before this one whose `X-Forwarded-For`, `-Proto` and `-Port` are believed.
    pub trusted_proxies: Vec<Network>,
    /// The algorithm by which an upstream is picked.
    pub balance: Balance,
    /// Bounds and time limits of the proxy.
    pub limits: Limits,
    /// Bounds and time limits of a request.
    pub request: AppLimits,
    /// Time that requests in flight may take after SIGTERM, and on an address that a name has left.
    pub drain: Millis,
    /// Time that a request waits when no upstream can take it.
    pub hold: Millis,
    /// Makes the allocator return free memory to the system: see [`Config::release_memory`].
    pub release_memory: fn(),
}

impl Options {
    /// Returns the defaults for these addresses.
    pub fn new(listen: Vec<SocketAddr>, upstreams: Vec<Upstream>) -> Self {
        let limits = LoneLimits::default();
        Self {
            listen,
            upstreams,
            workers: None,
            admin: None,
            health_path: None,
            access_log: None,
            trusted_proxies: Vec::new(),
            balance: Balance::default(),
            limits: limits.proxy.into(),
            request: limits.request,
            drain: limits.drain,
            hold: limits.hold,
            release_memory: || {},
        }
    }
}

/// Serves until SIGTERM, SIGINT or SIGQUIT, then drains. SIGHUP reopens the access log.
///
/// # Errors
/// If the options contradict each other, or an address or file cannot be opened.
pub fn run(options: Options) -> Result<(), Error> {
    let resolver = Arc::new(Mutex::new(resolver(&options)?));
    let mut config = Config::new(options.listen.clone());
    config.workers = options.workers.unwrap_or(config.workers);
    config.access_log.clone_from(&options.access_log);
    config.trusted_proxies.clone_from(&options.trusted_proxies);
    config.limits = options.limits;
    config.release_memory = options.release_memory;
    let bound = Proxy::bind(config)?;
    let own = circle::Own::new(bound.local_addrs());
    refuse_circle(&options.upstreams, &own)?;
    let admin = options.admin.map(admin::bind).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::System { act: "start the probes", source })?;
    runtime.block_on(async {
        let wrong = |source| Error::System { act: "listen for signals", source };
        let mut signals = Signals::listen().map_err(wrong)?;
        let proxy = bound.start(&known(&resolver).snapshot(), |_| {})?;
        let ready = Arc::new(AtomicBool::new(false));
        if let Some(listener) = admin {
            let ready = Arc::clone(&ready);
            admin::start(listener, proxy.clone(), move || ready.load(Ordering::Relaxed))?;
        }
        let mut follows = tokio::task::JoinSet::new();
        for (at, upstream) in options.upstreams.iter().enumerate() {
            if let UpstreamPlace::Named { host, port } = &upstream.place {
                let name = (host.clone(), *port);
                let resolver = Arc::clone(&resolver);
                follows.spawn(follow(at, name, own.clone(), resolver, proxy.clone()));
            }
        }
        tracing::info!(listen = ?proxy.local_addrs(), "the proxy serves");
        tokio::select! {
            () = asked_to_end(&mut signals, &proxy) => {}
            () = watch(&options, &resolver, &proxy, &ready) => {}
        }
        proxy.drain(options.drain.to_duration());
        proxy.join();
        Ok(())
    })
}

/// Waits for the signal to end. Meanwhile reopens the access log on each signal to reload.
async fn asked_to_end(signals: &mut Signals, proxy: &Proxy) {
    while signals.next().await == SignalAction::Reload {
        match proxy.reopen_access_log() {
            Ok(()) => tracing::info!("the access log is reopened"),
            Err(error) => tracing::error!(%error, "the access log stays where it is"),
        }
    }
}

/// Refuses an upstream that is the proxy's own address: each request would loop for ever.
fn refuse_circle(upstreams: &[Upstream], own: &circle::Own) -> Result<(), Error> {
    for upstream in upstreams {
        if let UpstreamPlace::Fixed(address) = &upstream.place
            && own.is(address)
        {
            return Err(Error::Circle { upstream: address.clone() });
        }
    }
    Ok(())
}

/// Probes all upstreams in turn, for ever, and records whether traffic is served well.
async fn watch(options: &Options, resolver: &Mutex<Resolver>, proxy: &Proxy, ready: &AtomicBool) {
    let mut records = BTreeMap::<InstanceId, ProbeRecord>::new();
    let mut table = HealthTable::default();
    let mut tick = tokio::time::interval(probe::INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let targets = known(resolver).targets();
        let Some(path) = &options.health_path else {
            ready.store(!targets.is_empty(), Ordering::Relaxed);
            continue;
        };
        let mut probes = tokio::task::JoinSet::new();
        for target in targets {
            let path = path.clone();
            probes.spawn(async move { (target.id, probe::probe(&target.address, &path).await) });
        }
        let mut seen = BTreeMap::new();
        let mut health = BTreeMap::new();
        while let Some(probed) = probes.join_next().await {
            if let Ok((id, probed)) = probed {
                let mut record = records.remove(&id).unwrap_or_default();
                let busy = is_busy(&id, &proxy.observe(), options);
                health.insert(id.clone(), record.add(probed, busy));
                seen.insert(id, record);
            }
        }
        records = seen;
        let up = health.values().any(|health| *health == model::Health::Up);
        ready.store(up, Ordering::Relaxed);
        if table.health != health {
            table = HealthTable { version: table.version.next(), health, ..HealthTable::default() };
            proxy.set_health(Arc::new(table.clone()));
        }
    }
}

/// Returns whether an upstream has requests of this proxy in flight and makes progress with them. A
/// single request makes no progress before its answer.
fn is_busy(id: &InstanceId, report: &TrafficReport, options: &Options) -> bool {
    let patience = match report.in_flight.on(id) {
        None | Some(0) => return false,
        Some(1) => options.request.first_byte,
        Some(_) => probe::BUSY,
    };
    report.quiet.get(id).is_some_and(|quiet| *quiet < patience)
}

fn resolver(options: &Options) -> Result<Resolver, Error> {
    if options.upstreams.is_empty() {
        return Err(Error::Options("at least one upstream is needed".to_owned()));
    }
    let wrong = |invalid: Invalid| Error::Options(invalid.to_string());
    let app: AppName = "default".parse().map_err(wrong)?;
    let label: Label = "fixed".parse().map_err(wrong)?;
    let (balance, limits) = (options.balance, options.request);
    let route = Route { balance, limits, ..Route::everything(options.hold) };
    Ok(Resolver::new((app, label), &options.upstreams, route, options.drain))
}
