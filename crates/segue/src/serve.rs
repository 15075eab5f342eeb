//! `segue server`: the order in which the parts start and end. Traffic first, since it depends on
//! nothing else; then the journal, control, and the API.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cli::{Failure, ServerOptions};
use control::{Clock, Inbox, Mail, Runner, RunnerConfig};
use journal::{Journal, Seq};
use model::{Millis, ProxyId, Timestamp};
use sd_notify::NotifyState;
use server::{Guard, Parts};
use store::ReleaseStore;
use tokio::sync::watch;

use crate::api::{Bound, Missing};
use crate::desk::{Board, Desk, End};
use crate::folder::Folder;
use crate::ports::{CrashAt, LocalFiles, LocalHost, LocalTraffic, Notices};
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
    let traffic = LocalTraffic { proxy: proxy.clone(), saved };
    let start = ControlStart { above, keep_releases: options.keep_releases, strangers };
    let control = start_control(&data, start, mail, &inbox, traffic, agent, board.clone());
    if let Err(why) = &control {
        tracing::error!("nothing can be changed, traffic goes on: {why}");
    }
    let end = watch::Sender::new(End::NotYet);
    let inbox = control.as_ref().map(|_| inbox.clone()).map_err(Clone::clone);
    let desk =
        Arc::new(Desk { board, inbox: inbox.clone(), clock: wall_clock, data: data.clone(), end });
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
    let agent = agent::Agent::start(config, store, move |report| reports.host(report));
    agent.map(Arc::new).map_err(|error| Failure::new(ACT, &error))
}

/// What control begins with.
struct ControlStart {
    /// The term of the snapshot that the proxy has begun with.
    above: u64,
    /// How many releases of each app stay stored.
    keep_releases: u16,
    /// To them nothing may be sent yet.
    strangers: crate::strangers::Strangers,
}

/// Control, from what the journal holds; or why it cannot start. Returns once the board shows every
/// app: nobody is told that an app is not there because it is not there yet.
fn start_control(
    data: &Path,
    start: ControlStart,
    mail: Mail,
    inbox: &Inbox,
    traffic: LocalTraffic,
    agent: Arc<agent::Agent>,
    board: Arc<Board>,
) -> Result<JoinHandle<()>, String> {
    let delay = std::env::var("SEGUE_TEST_FSYNC_DELAY_MS").ok().and_then(|ms| ms.parse().ok());
    let options = journal::Options {
        fsync_delay: Duration::from_millis(delay.unwrap_or(0)),
        ..journal::Options::default()
    };
    let path = data.join("journal.db");
    not_lost(data, &path)?;
    let (journal, recovered) =
        Journal::open(&path, options).map_err(|error| model::in_full(&error))?;
    let records = recovered.records.iter().map(|r| (r.seq.0, r.version, r.body.as_slice()));
    let checkpoint = recovered.checkpoint.as_ref().map(|c| (c.seq.0, c.version, c.body.as_slice()));
    let engine = control::Engine::recover(
        recovered.term.max(start.above + 1),
        &[ProxyId(0)],
        checkpoint,
        records,
    )
    .map_err(|error| model::in_full(&error))?
    .keeping(start.keep_releases)
    .with_abilities(agent.abilities().clone())
    .with_strangers(start.strangers);
    let last = recovered.records.last().map(|r| r.seq);
    let config = RunnerConfig {
        journal,
        last: last.or(recovered.checkpoint.map(|c| c.seq)).unwrap_or(Seq(0)),
        hosts: Box::new(LocalHost(agent)),
        traffic: Box::new(traffic),
        outbox: Box::new(Notices(board)),
        crash: CrashAt::from_env(),
        clock: Clock::new(wall_clock(), engine.last_fact(), crate::boot::boot_time()),
        boot_time: crate::boot::boot_time,
    };
    let runner = Runner::new(engine, config, inbox.clone());
    let (begun, wait) = std::sync::mpsc::sync_channel(1);
    let run = move || {
        runner.run(mail, move || {
            let _ = begun.send(());
        });
    };
    let thread = std::thread::Builder::new().name("control".into()).spawn(run);
    let thread = thread.map_err(|error| model::in_full(&error))?;
    // An error means that it has ended already, which the API tells.
    let _ = wait.recv();
    Ok(thread)
}

/// A new journal would give out numbers that instances of the lost one may still have, and would know
/// nothing of what answers users at this moment.
fn not_lost(data: &Path, journal: &Path) -> Result<(), String> {
    let has_run = fs::read_dir(data.join("run")).is_ok_and(|mut runs| runs.next().is_some());
    if !has_run || journal.exists() {
        return Ok(());
    }
    let (journal, data) = (journal.display(), data.display());
    Err(format!(
        "cannot open the journal {journal}: it is missing, though instances have run from {data}\n\
         hint: restore it from a backup; or stop them with `segue down --data {data}` and begin anew in \
         another data folder"
    ))
}

fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
