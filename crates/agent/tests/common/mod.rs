//! A host to try the agent on: a data folder, an agent, and the reports it gave. Every process that
//! is still there at the end is ended.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    dead_code,
    reason = "a test may fail by panicking, and not every test needs every helper"
)]

pub mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use agent::{Agent, AgentConfig, OpenFiles, ReleaseSource};
use model::{
    Address, Conventions, Exit, Expect, Health, HealthCheck, HostCommand, HostReport, InstanceId,
    Keep, Launch, Millis, NotStarted, Run, Serving,
};
use store::ReleaseStore;

/// Longer than anything here takes on the slowest machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Host {
    pub store: Arc<ReleaseStore>,
    pub agent: Option<Agent>,
    source: Option<Arc<dyn ReleaseSource>>,
    tell: Sender<HostReport>,
    reports: Receiver<HostReport>,
    folder: tempfile::TempDir,
    pub boot_id: String,
    /// What runs as the shim.
    pub program: PathBuf,
}

impl Host {
    /// The server's own host.
    pub fn new() -> Self {
        Self::start(None)
    }

    /// A host that fetches from this source.
    pub fn with_source(source: Arc<dyn ReleaseSource>) -> Self {
        Self::start(Some(source))
    }

    /// A host that fetches from this source, with its data on this disk.
    pub fn on_disk(disk: &Path, source: Arc<dyn ReleaseSource>) -> Self {
        Self::in_folder(tempfile::tempdir_in(disk).unwrap(), Some(source))
    }

    fn start(source: Option<Arc<dyn ReleaseSource>>) -> Self {
        Self::in_folder(tempfile::tempdir().unwrap(), source)
    }

    fn in_folder(folder: tempfile::TempDir, source: Option<Arc<dyn ReleaseSource>>) -> Self {
        // Longer than a socket's path may be.
        let data = folder.path().join("long".repeat(30));
        fs::create_dir_all(&data).unwrap();
        // An app that runs as its own user has to get through.
        let passable: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        for path in [folder.path(), &data] {
            fs::set_permissions(path, passable.clone()).unwrap();
        }
        let (tell, reports) = channel();
        let boot_id = agent::boot_id();
        let program = env!("CARGO_BIN_EXE_agent-shim-for-tests").into();
        let store = Arc::new(ReleaseStore::open(&data).unwrap());
        let agent = None;
        let mut host = Self { store, agent, source, tell, reports, folder, boot_id, program };
        host.restart();
        host
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("long".repeat(30))
    }

    /// Another agent on the same data, as after a kill of the server.
    pub fn restart(&mut self) {
        self.agent = None;
        self.store = Arc::new(ReleaseStore::open(&self.data()).unwrap());
        self.agent = Some(self.another());
    }

    pub fn another(&self) -> Agent {
        let config = AgentConfig {
            data: self.data(),
            program: self.program.clone(),
            boot_id: self.boot_id.clone(),
            open_files: Some(OpenFiles { soft: Some(777), hard: Some(1000) }),
        };
        let tell = self.tell.clone();
        let (store, source) = (Arc::clone(&self.store), self.source.clone());
        Agent::start(config, store, source, move |report| drop(tell.send(report))).unwrap()
    }

    pub fn agent(&self) -> &Agent {
        self.agent.as_ref().unwrap()
    }

    pub fn run_folder(&self, id: &InstanceId) -> PathBuf {
        self.data().join("run").join(id.to_string())
    }

    pub fn run(&self, launch: &Launch, expect: Expect) {
        let launch = Box::new(launch.clone());
        self.agent().handle(1, HostCommand::Run { launch, expect });
    }

    pub fn stop(&self, id: &InstanceId, grace_ms: u64) {
        self.agent().handle(1, HostCommand::Stop { id: id.clone(), grace: Millis(grace_ms) });
    }

    /// Says what an app still needs.
    pub fn keep(&self, keep: &Keep) {
        self.agent().handle(1, HostCommand::Keep(Box::new(keep.clone())));
    }

    /// Waits until everything else is deleted.
    pub fn kept(&self, wanted: &Keep) {
        self.wait("kept", |report| match report {
            HostReport::Kept(keep) => (**keep == *wanted).then_some(()),
            _ => None,
        });
    }

    /// The next report that this picks.
    pub fn wait<T>(&self, what: &str, pick: impl Fn(&HostReport) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(report) = self.reports.recv_timeout(left) else {
                panic!("waited for {what}, saw {seen:?}");
            };
            if let Some(found) = pick(&report) {
                return found;
            }
            seen.push(report);
        }
    }

    pub fn running(&self, wanted: &InstanceId) -> u32 {
        self.wait("running", |report| match report {
            HostReport::Running { id, pid } if id == wanted => Some(*pid),
            _ => None,
        })
    }

    /// The reason why this instance is refused.
    pub fn refused(&self, wanted: &InstanceId) -> String {
        self.wait("a refusal", |report| match report {
            HostReport::NotStarted { id, why: NotStarted::Refused(why) } if id == wanted => {
                Some(why.clone())
            }
            _ => None,
        })
    }

    pub fn health(&self, wanted: &InstanceId, health: Health) -> Option<String> {
        self.wait(&format!("{health:?}"), |report| match report {
            HostReport::Health { id, health: found, note, .. } if id == wanted => {
                (*found == health).then(|| note.clone())
            }
            _ => None,
        })
    }

    pub fn exited(&self, wanted: &InstanceId) -> (Exit, bool, Vec<String>) {
        self.wait("exited", |report| match report {
            HostReport::Exited { id, exit, address_in_use, tail } if id == wanted => {
                Some((*exit, *address_in_use, tail.clone()))
            }
            _ => None,
        })
    }

    /// What is told until nothing more is under way.
    pub fn told_by_now(&self) -> Vec<HostReport> {
        self.agent().handle(1, HostCommand::OfferPorts { except: Vec::new() });
        let mut told = Vec::new();
        loop {
            match self.reports.recv_timeout(PATIENCE).unwrap() {
                HostReport::Ports { .. } => return told,
                report => told.push(report),
            }
        }
    }

    /// Loses the reports that nobody has read, as a broken connection does.
    pub fn forget_reports(&self) {
        while self.reports.try_recv().is_ok() {}
    }

    pub fn free_port(&self) -> u16 {
        self.agent().handle(1, HostCommand::OfferPorts { except: Vec::new() });
        self.wait("ports", |report| match report {
            HostReport::Ports { free } => free.first().copied(),
            _ => None,
        })
    }

    /// An instance that runs a shell script.
    pub fn shell(&self, id: &str, script: &str) -> Launch {
        launch(id, self.free_port(), &["sh", "-c", script])
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.agent = None;
        let _ = agent::stop_all(&self.data(), Millis(0));
    }
}

/// Nothing of the app `web` is needed.
pub fn nothing() -> Keep {
    Keep {
        app: "web".parse().unwrap(),
        releases: Vec::new(),
        env: std::collections::BTreeSet::new(),
        instances: Vec::new(),
        forget_state: None,
        last_rollout: model::RolloutId(0),
    }
}

pub fn launch(id: &str, port: u16, command: &[&str]) -> Launch {
    Launch {
        id: id.parse().unwrap(),
        release: model::ReleaseNo(1),
        label: "v1".parse().unwrap(),
        content: None,
        run: Run::of_command(command.iter().map(|&part| part.to_owned())),
        serving: Some(Serving {
            address: Address::Tcp(([127, 0, 0, 1], port).into()),
            health_address: None,
            probe_host: None,
            conventions: Conventions::NOW,
            health: HealthCheck {
                path: "/up".to_owned(),
                interval: Millis(50),
                timeout: Millis(2_000),
                rise: 2,
                fall: 3,
                start_deadline: Millis(30_000),
                host: None,
                headers: std::collections::BTreeMap::new(),
                port: model::ProbePort::Same,
                command: None,
                busy: HealthCheck::BUSY,
            },
        }),
        token: None,
    }
}

/// How the instance is reached and probed.
pub fn serving(launch: &mut Launch) -> &mut Serving {
    launch.serving.as_mut().expect("it is an instance")
}

/// Where the instance has to listen.
pub fn listens_at(launch: &Launch) -> Address {
    launch.serving.as_ref().expect("it is an instance").address.clone()
}

/// Waits until this holds.
pub fn until(what: &str, holds: impl Fn() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < give_up, "waited for {what}");
        // it waits: for real processes and their files
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The content of a file, once it ends in a newline.
pub fn line_in(path: &Path) -> String {
    let read = || fs::read_to_string(path).unwrap_or_default();
    until(&path.display().to_string(), || read().ends_with('\n'));
    read().trim().to_owned()
}

/// Whether a process runs; a zombie does not.
pub fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z') && !rest.starts_with('X'))
}

/// The shim of a running instance: its parent.
pub fn shim_of(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse().unwrap()
}

/// From now on this process buries orphans, or rather: leaves them as zombies.
pub fn keep_orphans_as_zombies() {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
}

/// Living processes that carry the name of this instance of this host.
pub fn processes_of(host: &Host, id: &InstanceId) -> Vec<u32> {
    let state = host.data().join("apps").join(id.app.as_str()).join("state");
    let marks = [format!("SEGUE_INSTANCE={id}"), format!("SEGUE_STATE_DIR={}", state.display())];
    let carries = |pid: &u32| {
        let env = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        marks.iter().all(|mark| env.split(|b| *b == 0).any(|one| one == mark.as_bytes()))
    };
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| carries(pid) && lives(*pid))
        .collect()
}

pub fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
