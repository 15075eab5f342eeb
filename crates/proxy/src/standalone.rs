//! `segue proxy`: fixed upstreams, no control plane. For measuring, testing, and as a plain load
//! balancer. Never changes its snapshot.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use model::{
    Address, AppName, AppSection, Arm, Generation, HealthTable, InstanceId, Invalid, Label, Millis,
    Network, ReleaseNo, Route, Share, Snapshot, Target,
};
use tokio::signal::unix::{SignalKind, signal};

use crate::admin;
use crate::config::Config;
use crate::error::Error;
use crate::handle::Proxy;
use crate::probe::{self, Record};

/// What `segue proxy` is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen.
    pub listen: Vec<SocketAddr>,
    /// The upstreams; at least one.
    pub upstreams: Vec<Address>,
    /// Threads; by default as many as there are processors.
    pub workers: Option<usize>,
    /// Where metrics and health are served.
    pub admin: Option<SocketAddr>,
    /// Path of a GET that a healthy upstream answers with 2xx; without it nothing is probed.
    pub health_path: Option<String>,
    /// The file that gets one line per request.
    pub access_log: Option<PathBuf>,
    /// Proxies before this one whose `X-Forwarded-For`, `-Proto` and `-Port` are believed.
    pub trusted_proxies: Vec<Network>,
    /// How long requests in flight may take after SIGTERM.
    pub drain: Duration,
    /// How long a request waits when no upstream can take it.
    pub hold: Duration,
}

impl Options {
    /// The defaults for these addresses.
    pub fn new(listen: Vec<SocketAddr>, upstreams: Vec<Address>) -> Self {
        Self {
            listen,
            upstreams,
            workers: None,
            admin: None,
            health_path: None,
            access_log: None,
            trusted_proxies: Vec::new(),
            drain: Duration::from_secs(30),
            hold: Duration::from_secs(5),
        }
    }
}

/// Serves until SIGTERM or SIGINT, then drains.
///
/// # Errors
/// If the options contradict each other, or an address or file cannot be opened.
pub fn run(options: Options) -> Result<(), Error> {
    let snapshot = snapshot(&options)?;
    let mut config = Config::new(options.listen.clone());
    config.workers = options.workers.unwrap_or(config.workers);
    config.access_log.clone_from(&options.access_log);
    config.trusted_proxies.clone_from(&options.trusted_proxies);
    let bound = Proxy::bind(config)?;
    let admin = options.admin.map(admin::bind).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::System { act: "start the probes", source })?;
    runtime.block_on(async {
        let wrong = |source| Error::System { act: "listen for signals", source };
        let mut terminate = signal(SignalKind::terminate()).map_err(wrong)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(wrong)?;
        let proxy = bound.start(&snapshot, |_| {})?;
        let ready = Arc::new(AtomicBool::new(options.health_path.is_none()));
        if let Some(listener) = admin {
            let ready = Arc::clone(&ready);
            admin::start(listener, proxy.clone(), move || ready.load(Ordering::Relaxed))?;
        }
        tracing::info!(listen = ?proxy.local_addrs(), "the proxy serves");
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = watch(&options, &snapshot, &proxy, &ready) => {}
        }
        proxy.drain(options.drain);
        proxy.join();
        Ok(())
    })
}

/// Probes all upstreams in turn, for ever.
async fn watch(options: &Options, snapshot: &Snapshot, proxy: &Proxy, ready: &AtomicBool) {
    let Some(path) = &options.health_path else { return std::future::pending().await };
    let targets: Vec<Target> = snapshot
        .apps
        .iter()
        .flat_map(|app| &app.arms)
        .flat_map(|arm| arm.instances.iter().cloned())
        .collect();
    let mut records = vec![Record::default(); targets.len()];
    let mut table = HealthTable::default();
    let mut tick = tokio::time::interval(probe::INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let mut probes = tokio::task::JoinSet::new();
        for (at, target) in targets.iter().enumerate() {
            let (address, path) = (target.address.clone(), path.clone());
            probes.spawn(async move { (at, probe::probe(&address, &path).await) });
        }
        let before = table.health.clone();
        while let Some(probed) = probes.join_next().await {
            if let Ok((at, good)) = probed {
                table.health.insert(targets[at].id.clone(), records[at].add(good));
            }
        }
        if table.health != before {
            table.version += 1;
            proxy.set_health(Arc::new(table.clone()));
        }
        let up = table.health.values().any(|health| *health == model::Health::Up);
        ready.store(up, Ordering::Relaxed);
    }
}

/// One app, one release, all upstreams.
fn snapshot(options: &Options) -> Result<Snapshot, Error> {
    if options.upstreams.is_empty() {
        return Err(Error::Options("at least one upstream is needed".to_owned()));
    }
    let wrong = |invalid: Invalid| Error::Options(invalid.to_string());
    let app: AppName = "default".parse().map_err(wrong)?;
    let label: Label = "fixed".parse().map_err(wrong)?;
    let numbered = options.upstreams.iter().zip(1..);
    let instances = numbered.map(|(address, number)| Target {
        id: InstanceId { app: app.clone(), number },
        address: address.clone(),
    });
    let millis = |time: Duration| Millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let arm =
        Arm { release: ReleaseNo(1), label, share: Share::ALL, instances: instances.collect() };
    let route = Route::everything(millis(options.hold));
    let drain_deadline = millis(options.drain);
    let section =
        AppSection { app, route, drain_deadline, split: None, maintenance: None, arms: vec![arm] };
    Ok(Snapshot { generation: Generation { term: 1, counter: 1 }, apps: vec![section] })
}
