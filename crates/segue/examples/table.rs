//! The proxy with a large routing table, for the bench: `table --listen ADDR --admin ADDR --port P
//! [--apps N] [--instances N] [--workers N] [--swap-every MS [--publisher-core N]]`.
//!
//! App `n` is `app-n.test`, or with one app every host; its instances are
//! `127.0.{n + 1}.1:P`, `127.0.{n + 1}.2:P` and so on. With `--swap-every` an app in turn gets new
//! instances at the old addresses, as if a rollout of it had ended, and a line says how long it took
//! until every worker had the new table: `applied by all 2 workers in 431 µs`. With `--publisher-core`
//! the thread that makes the tables runs on that core, as one of control does on a server that has a
//! core to spare.

#![expect(clippy::print_stdout, reason = "the bench reads what it says")]

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use model::{
    Address, AppSection, Arm, Generation, InstanceId, Millis, ReleaseNo, Route, Share, Snapshot,
    Target, TrafficReport,
};
use proxy::{Config, Proxy, admin};

/// The one `segue` uses.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long workers may take for a table before the bench is told that something is wrong.
const PATIENCE: Duration = Duration::from_secs(5);

struct Options {
    listen: Option<SocketAddr>,
    admin: Option<SocketAddr>,
    workers: usize,
    apps: u8,
    instances: u8,
    port: u16,
    swap_every: Option<Duration>,
    publisher_core: Option<usize>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = parse(std::env::args().skip(1))?;
    let listen = options.listen.ok_or("--listen is needed")?;
    let listener = options.admin.map(admin::bind).transpose()?;
    let mut config = Config::new(vec![listen]);
    config.workers = options.workers;
    let (sender, reports) = channel();
    let proxy = Proxy::bind(config)?.start(&snapshot(&options, 0)?, move |report| {
        // Nobody reads them when the table stays the same.
        let _unread = sender.send(report);
    })?;
    if let Some(listener) = listener {
        admin::start(listener, proxy.clone(), || true)?;
    }
    let Some(every) = options.swap_every else {
        drop(reports);
        proxy.join();
        return Ok(());
    };
    if let Some(core) = options.publisher_core {
        let mut only = rustix::thread::CpuSet::new();
        only.set(core);
        // The workers were started before, and stay where they are.
        rustix::thread::sched_setaffinity(None, &only)?;
    }
    for swaps in 1.. {
        std::thread::sleep(every);
        let took = swap(&proxy, &snapshot(&options, swaps)?, &reports)?;
        println!("applied by all {} workers in {} µs", options.workers, took.as_micros());
    }
    Ok(())
}

/// Publishes, and waits until every worker has said that it decides by the new table.
fn swap(
    proxy: &Proxy,
    snapshot: &Snapshot,
    reports: &Receiver<TrafficReport>,
) -> Result<Duration, Box<dyn Error>> {
    let start = Instant::now();
    proxy.publish(snapshot)?;
    loop {
        let left = PATIENCE.saturating_sub(start.elapsed());
        let report = reports.recv_timeout(left).map_err(|error| match error {
            RecvTimeoutError::Timeout => format!("no worker's word within {PATIENCE:?}"),
            RecvTimeoutError::Disconnected => "the proxy has ended".to_owned(),
        })?;
        if report.acknowledged >= snapshot.generation {
            return Ok(start.elapsed());
        }
    }
}

/// The table after so many swaps.
fn snapshot(options: &Options, swaps: u64) -> Result<Snapshot, Box<dyn Error>> {
    let apps = (0..options.apps).map(|app| section(options, app, swaps));
    let generation = Generation { term: 1, counter: swaps + 1 };
    Ok(Snapshot { generation, apps: apps.collect::<Result<_, _>>()? })
}

fn section(options: &Options, number: u8, swaps: u64) -> Result<AppSection, Box<dyn Error>> {
    let app: model::AppName = format!("app-{number}").parse()?;
    let (apps, place) = (u64::from(options.apps), u64::from(number));
    // Apps take turns: this one has come up so often.
    let renewed = (swaps + apps - 1 - place) / apps;
    let instances = (0..options.instances).map(|instance| {
        let nth = renewed * u64::from(options.instances) + u64::from(instance);
        let at = (Ipv4Addr::new(127, 0, number + 1, instance + 1), options.port).into();
        Target::new(InstanceId { app: app.clone(), number: nth }, Address::Tcp(at))
    });
    let instances = instances.collect();
    let everything = Route::everything(Millis::from_secs(5));
    let hosts = if options.apps == 1 { Vec::new() } else { vec![format!("{app}.test")] };
    let (release, label, share) = (ReleaseNo(1), "v1".parse()?, Share::ALL);
    Ok(AppSection {
        app,
        route: Route { hosts, ..everything },
        drain_deadline: Millis::from_secs(30),
        split: None,
        maintenance: None,
        arms: vec![Arm { release, label, share, instances }],
    })
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        listen: None,
        admin: None,
        workers: 1,
        apps: 1,
        instances: 1,
        port: 0,
        swap_every: None,
        publisher_core: None,
    };
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--listen" => options.listen = Some(value.parse()?),
            "--admin" => options.admin = Some(value.parse()?),
            "--workers" => options.workers = value.parse()?,
            "--apps" => options.apps = value.parse()?,
            "--instances" => options.instances = value.parse()?,
            "--port" => options.port = value.parse()?,
            "--swap-every" => options.swap_every = Some(Duration::from_millis(value.parse()?)),
            "--publisher-core" => options.publisher_core = Some(value.parse()?),
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    let range = 1..=254;
    if !range.contains(&options.apps) || !range.contains(&options.instances) || options.port == 0 {
        return Err("--port, and from 1 to 254 --apps and --instances, are needed".into());
    }
    Ok(options)
}
