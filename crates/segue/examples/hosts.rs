//! Many hosts of a fleet in one process, for the bench: `hosts --invites FOLDER [--start-ms N]
//! [--slowest-ms N]`.
//!
//! Each host joins with an invite, a file of FOLDER, and keeps a session of its own with the server. Its
//! instances are listeners that answer whatever they are asked. They take `--start-ms` to start, and those of
//! the last host `--slowest-ms`.

#![expect(clippy::print_stdout, reason = "the bench reads what it says")]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use identity::{Credentials, Invite, MemberKey};
use link::{
    FromMember, Hello, LinkError, Member, MemberEnd, Offers, SessionTimes, ToMember, ToServer,
    VERSION, Welcome,
};
use model::{
    Address, AppName, Exit, Health, HostAbilities, HostCommand, HostReport, InstanceId, Launch,
    Listeners,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// The one `segue` uses.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FIRST_PORT: u16 = 20_000;
const OFFERED: usize = 64;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

struct Options {
    invites: PathBuf,
    start: Duration,
    slowest: Duration,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = parse(std::env::args().skip(1))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(&options))
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Options, Box<dyn Error>> {
    let second = Duration::from_secs(1);
    let mut options = Options { invites: PathBuf::new(), start: second, slowest: second };
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--invites" => options.invites = value.into(),
            "--start-ms" => options.start = Duration::from_millis(value.parse()?),
            "--slowest-ms" => options.slowest = Duration::from_millis(value.parse()?),
            other => return Err(format!("unknown option {other:?}").into()),
        }
    }
    Ok(options)
}

async fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let entries = std::fs::read_dir(&options.invites)?;
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|end| end == "invite"));
    files.sort();
    let mut hosts = Vec::new();
    for (number, file) in files.iter().enumerate() {
        let start = match number + 1 == files.len() {
            true => options.slowest,
            false => options.start,
        };
        hosts.push(tokio::spawn(join(file, start).await?));
    }
    println!("{} hosts have joined", hosts.len());
    for host in hosts {
        host.await?;
    }
    Ok(())
}

/// Joins with the invite in `file`. Returns what the host does from then on.
async fn join(
    file: &Path,
    start: Duration,
) -> Result<impl Future<Output = ()> + use<>, Box<dyn Error>> {
    let invite: Invite = std::fs::read_to_string(file)?.parse()?;
    let key = MemberKey::open_or_create(&file.with_extension("pem"))?;
    let credentials = link::join(&invite, key).await?;
    let member = Member::new(credentials, invite.addresses, None, SessionTimes::default());
    let to_server = member.to_server();
    let end = SimulatedHost { start, to_server, state: Arc::default() };
    Ok(async move {
        member.run(&end).await;
    })
}

/// A host whose instances are listeners.
struct SimulatedHost {
    start: Duration,
    to_server: ToServer,
    state: Arc<Mutex<HostState>>,
}

#[derive(Default)]
struct HostState {
    instances: BTreeMap<InstanceId, JoinHandle<()>>,
    numbers: BTreeMap<AppName, u64>,
}

impl SimulatedHost {
    fn with<T>(&self, look: impl FnOnce(&mut HostState) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn report(&self, report: HostReport) {
        self.to_server.send(FromMember::Report { report });
    }

    /// Starts an instance, or says again that it runs.
    fn run(&self, launch: &Launch) {
        let Some(serving) = &launch.serving else { return };
        let Address::Tcp(address) = serving.address else { return };
        let id = launch.id.clone();
        let is_known = self.with(|state| {
            let last = state.numbers.entry(id.app.clone()).or_default();
            *last = (*last).max(id.number);
            state.instances.contains_key(&id)
        });
        let to_server = self.to_server.clone();
        if is_known {
            return tell_healthy(&to_server, &id);
        }
        let (pause, known) = (self.start, id.clone());
        let instance = tokio::spawn(async move {
            sleep(pause).await;
            match TcpListener::bind(address).await {
                Ok(listener) => {
                    tell_healthy(&to_server, &known);
                    serve(listener).await;
                }
                Err(error) => println!("cannot listen at {address}: {error}"),
            }
        });
        self.with(|state| state.instances.insert(id, instance));
    }
}

/// Reports that an instance runs and is healthy.
fn tell_healthy(to_server: &ToServer, id: &InstanceId) {
    let report = |report| to_server.send(FromMember::Report { report });
    report(HostReport::Running { id: id.clone(), pid: 1 });
    report(HostReport::Health {
        id: id.clone(),
        health: Health::Up,
        streak: 2,
        note: None,
        unanswered: false,
        listeners: Listeners::default(),
    });
}

impl MemberEnd for SimulatedHost {
    fn hello(&self) -> Hello {
        Hello {
            version: VERSION,
            segue: env!("CARGO_PKG_VERSION").into(),
            boot: "simulated".to_owned(),
            obeyed: None,
            offers: Offers::Host {
                abilities: HostAbilities::default(),
                numbers: self.with(|state| state.numbers.clone()),
                confirm: None,
            },
        }
    }

    fn receive(&self, message: ToMember) {
        let ToMember::Host { command, .. } = message else { return };
        match command {
            HostCommand::Run { launch, .. } => self.run(&launch),
            HostCommand::Stop { id, .. } => {
                if let Some(instance) = self.with(|state| state.instances.remove(&id)) {
                    instance.abort();
                }
                let (exit, tail) = (Exit::Code(0), Vec::new());
                self.report(HostReport::Exited { id, exit, address_in_use: false, tail });
            }
            HostCommand::OfferPorts { except } => {
                let except: BTreeSet<u16> = except.into_iter().collect();
                let free = (FIRST_PORT..).filter(|port| !except.contains(port)).take(OFFERED);
                self.report(HostReport::Ports { free: free.collect() });
            }
            HostCommand::Keep(keep) => self.report(HostReport::Kept(keep)),
        }
    }

    fn connected(&self, _: &Welcome) {}

    fn disconnected(&self, _: &LinkError) {}

    fn renewed(&self, _: &Credentials) {}
}

/// Answers every request that comes there.
async fn serve(listener: TcpListener) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(answer(stream));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Answers one request after another. Each is small enough to come in one piece.
async fn answer(mut stream: TcpStream) {
    let mut request = [0; 4096];
    while let Ok(1..) = stream.read(&mut request).await {
        if stream.write_all(ANSWER).await.is_err() {
            return;
        }
    }
}
