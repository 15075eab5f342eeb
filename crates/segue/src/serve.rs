//! `segue server`: the order in which the parts start and end. Traffic first, since it depends on
//! nothing else; then the journal, control, and the API.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cli::{Failure, ServerOptions};
use control::Inbox;
use model::{FromHost, HostId, Millis};
use sd_notify::NotifyState;
use server::{Guard, Parts};
use store::ReleaseStore;
use tokio::sync::watch;

use crate::api::{Bound, Missing};
use crate::brain::{self, Brain};
use crate::desk::{Board, Desk, End};
use crate::folder::Folder;
use crate::ports::{LocalFiles, LocalTraffic};
use crate::signals::{self, Signals, Wish};

/// What instances get between SIGTERM and SIGKILL when everything is stopped.
pub const GRACE: Millis = Millis::from_secs(30);
/// What requests in flight get when the server ends.
const DRAIN: Duration = Duration::from_secs(30);

const ACT: &str = "start the server";

/// Whether a listener on one address would take the other's connections.
fn meet(http: SocketAddr, api: SocketAddr) -> bool {
    http.port() == api.port()
        && http.port() != 0
        && (http.ip() == api.ip() || http.ip().is_unspecified())
}

/// Serves until a signal or `segue down`.
pub fn run(options: &ServerOptions) -> Result<(), Failure> {
    let open_files = agent::OpenFiles::for_apps();
    server::may_bind(options.api).map_err(|error| Failure::new(ACT, &error))?;
    if meet(options.http, options.api) {
        let cause = format!("--http and --api are both on port {}", options.api.port());
        let failure = Failure::because(ACT, cause).hint("give the API a port of its own");
        return Err(failure.exit(cli::Exit::Usage));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(ACT, &error))?;
    let signals = runtime.block_on(async { Signals::listen() });
    let signals = signals.map_err(|error| Failure::new(ACT, &error))?;
    // What no line below sets a mode for, a library may make: for segue alone, then.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let folder = Folder::open_or_create(&options.data)?;
    let _lock = folder.lock()?;
    let data = folder.path().to_owned();
    datadir::clear_unfinished(&data).map_err(|error| Failure::new(ACT, &error))?;
    let mut config = proxy::Config::new(vec![options.http]);
    config.workers = options.workers.map_or(config.workers, usize::from);
    config.access_log = options.access_log.clone().file();
    config.limits = crate::limits::of_proxy(&options.limits);
    config.trusted_proxies.clone_from(&options.trusted_proxies);
    config.trusted_networks.clone_from(&options.trusted_networks);
    let keys = data.join("affinity.keys");
    config.affinity_keys = crate::keys::load_or_create(&keys)
        .map_err(|error| Failure::new(format!("read {}", keys.display()), &error))?;
    let bound = proxy::Proxy::bind(config).map_err(|error| {
        Failure::new(ACT, &error).hint("another program listens there; choose another with --http")
    })?;
    let (inbox, mail) = Inbox::new();
    let saved = data.join("snapshot");
    let initial = proxy::saved::load(&saved).unwrap_or_else(|error| {
        tracing::warn!(%error, "traffic starts with an empty table");
        None
    });
    let mut initial = initial.unwrap_or_default();
    let strangers = crate::strangers::leave_out(&data, &mut initial);
    // A journal from a backup may be older than the snapshot: its terms must not be.
    let above = initial.generation.term;
    let reports = inbox.clone();
    let proxy = bound
        .start(&initial, move |report| reports.traffic(report))
        .map_err(|error| Failure::new(ACT, &error))?;
    strangers.tell(&proxy);
    for http in proxy.local_addrs() {
        tracing::info!("apps are served on http://{http}");
    }
    let token = server::load_or_create_token(&data).map_err(|error| Failure::new(ACT, &error))?;
    let missing = Missing::default();
    let bound = runtime.block_on(async {
        let mut bound = Bound::socket(&data);
        crate::api::notify(&[NotifyState::Ready, NotifyState::Status("serving")]);
        bound.port(options.api, &missing).await;
        bound
    });
    let begun = Begun { signals, token, bound, missing };
    let store = ReleaseStore::open(&data).map(Arc::new);
    let store = store
        .map_err(|error| Failure::new(format!("use the data folder {}", data.display()), &error))?;
    let agent = start_agent(&data, open_files, store.clone(), &inbox)?;
    let board = Arc::new(Board::default());
    let traffic = LocalTraffic { proxy: proxy.clone(), saved, prepared: None };
    let control = Brain {
        data: data.clone(),
        above,
        keep_releases: options.keep_releases,
        strangers: Some(strangers),
        inbox: inbox.clone(),
        traffic,
        agent,
        board: board.clone(),
    };
    let control = control.start(mail);
    if let Err(why) = &control {
        tracing::error!("nothing can be changed, traffic goes on: {why}");
    }
    let end = watch::Sender::new(End::NotYet);
    let inbox = control.as_ref().map(|_| inbox.clone()).map_err(Clone::clone);
    let desk = Arc::new(Desk {
        board,
        inbox: inbox.clone(),
        clock: brain::wall_clock,
        data: data.clone(),
        end,
    });
    let stop_control = move || {
        if let (Ok(inbox), Ok(thread)) = (inbox, control) {
            inbox.stop();
            let _ = thread.join();
        }
    };
    let ended = runtime.block_on(api(options, begun, desk, store, &proxy, stop_control));
    runtime.shutdown_timeout(Duration::from_secs(1));
    if ended == End::Server
        && let Ok(count @ 1..) = agent::running(&data)
    {
        let data = data.display();
        tracing::info!("{count} instances keep running; `segue down --data {data}` stops them");
    }
    Ok(())
}

/// What was there before anybody was told that the server is ready.
struct Begun {
    signals: Signals,
    token: wire::Secret,
    bound: Bound,
    missing: Missing,
}

/// The API, until the end; and the end of traffic, so that the API can tell of it.
async fn api(
    options: &ServerOptions,
    begun: Begun,
    desk: Arc<Desk>,
    store: Arc<ReleaseStore>,
    proxy: &proxy::Proxy,
    stop_control: impl FnOnce() + Send + 'static,
) -> End {
    let data = &desk.data;
    let Begun { mut signals, token, bound, missing } = begun;
    let (stop, stopped) = watch::channel(false);
    let (metrics, traffic) = (proxy.clone(), proxy.clone());
    let (ready, amiss) = (proxy.clone(), missing.clone());
    let parts = Parts {
        as_root: rustix::process::geteuid().is_root(),
        engine: desk.clone(),
        store: store.clone(),
        host: Arc::new(LocalFiles { data: data.to_owned() }),
        shutdown: desk.clone(),
        metrics: Arc::new(move || metrics.metrics()),
        traffic_warning: Arc::new(move |app| traffic.warning(app)),
        ready: Arc::new(move || {
            ready.is_accepting().then(|| amiss.why()).ok_or_else(|| "it is ending".to_owned())
        }),
        stop: stopped.clone(),
    };
    let guard = Guard::new(token, options.api_hosts.clone());
    let router = server::router(parts, guard.clone());
    let mut serving = crate::api::open(bound, (data, options.api), router, &stopped, &missing);
    let pid = format!("{}\n", std::process::id());
    if let Err(error) = datadir::replace(&data.join("server.pid"), pid.as_bytes()) {
        tracing::warn!(%error, "server.pid is not written");
    }
    let end = tokio::select! {
        end = wait_for_end(&desk, &mut signals, || signals::reload(data, &guard, proxy)) => end,
        () = server::collect_uploads(desk.clone(), store) => End::Server,
    };
    tracing::info!("ending: requests in flight get {} s", DRAIN.as_secs());
    proxy.drain(DRAIN);
    let (draining, data) = (proxy.clone(), data.to_owned());
    let finish = move || {
        draining.join();
        // Before instances are stopped: control would start others in their place.
        stop_control();
        if end == End::Everything
            && let Err(error) = agent::stop_all(&data, GRACE)
        {
            tracing::error!(%error, "cannot stop the instances");
        }
    };
    let _ = tokio::task::spawn_blocking(finish).await;
    stop.send_replace(true);
    while serving.join_next().await.is_some() {}
    end
}

async fn wait_for_end<F: Future<Output = ()>>(
    desk: &Desk,
    signals: &mut Signals,
    reload: impl Fn() -> F,
) -> End {
    let mut asked = desk.end.subscribe();
    loop {
        tokio::select! {
            wish = signals.next() => match wish {
                Wish::End => return End::Server,
                Wish::Reload => reload().await,
            },
            end = asked.wait_for(|end| *end != End::NotYet) => {
                return end.map_or(End::Server, |end| *end);
            }
        }
    }
}

fn start_agent(
    data: &Path,
    open_files: agent::OpenFiles,
    store: Arc<ReleaseStore>,
    inbox: &Inbox,
) -> Result<Arc<agent::Agent>, Failure> {
    let config = agent::Config {
        data: data.to_owned(),
        program: std::env::current_exe().map_err(|error| Failure::new(ACT, &error))?,
        boot_id: agent::boot_id(),
        open_files: Some(open_files),
    };
    let reports = inbox.clone();
    let agent = agent::Agent::start(config, store, move |report| {
        reports.host(FromHost { host: HostId::local(), report });
    });
    agent.map(Arc::new).map_err(|error| Failure::new(ACT, &error))
}
