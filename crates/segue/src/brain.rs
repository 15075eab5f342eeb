//! The part that decides and acts: control with its journal, and the agent. It can stop while traffic goes
//! on, and another one can start on the same data folder. When control has stepped down, it restarts from the
//! journal by itself.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use agent::Agent;
use cli::CommandError;
use control::{Engine, Inbox, Mail, Runner, RunnerConfig, SteadyClock};
use journal::sqlite::Journal;
use model::{FromHost, HostAbilities, HostHello, HostId, InstanceId, ProxyId, in_full};
use server::{AppViews, EngineHandle, Notices};
use store::ReleaseStore;

use crate::adapters::{AllHosts, AllProxies, LocalHost};
use crate::clock::{boot_time, wall_clock};
use crate::failure::cannot_start;
use crate::fleet::Members;
use crate::foreign_listeners::ForeignListeners;
use crate::front::Front;
use crate::local_host::LocalHostTerms;
use crate::saving_proxy::SavingProxy;
use crate::test_hooks;

/// Settings of a brain.
pub struct BrainConfig {
    /// The data folder.
    pub data: PathBuf,
    /// The store in the data folder.
    pub store: Arc<ReleaseStore>,
    /// The number of releases of each app that stay stored.
    pub keep_releases: u16,
    /// The terms of the server's own host.
    pub local: LocalHostTerms,
    /// The limit of open files for instances.
    pub open_files: agent::OpenFiles,
    /// The views that control publishes.
    pub board: Arc<AppViews>,
    /// The hosts on other machines, if the server has a door for them.
    pub fleet: Option<Arc<Members>>,
}

/// Control's thread, and the agent that it commands.
pub struct Brain {
    engine: Arc<EngineHandle>,
    control: Option<JoinHandle<()>>,
    /// Dropped after control, so that the agent takes control's last command.
    _agent: Arc<Agent>,
}

impl Brain {
    /// Starts the agent and control. If control cannot start, everything can be read all the same, and the
    /// engine returns the reason why changes are refused.
    pub fn start(
        config: BrainConfig,
        front: &mut Front,
        (inbox, mail): (Inbox, Mail),
    ) -> Result<Self, CommandError> {
        let BrainConfig { data, store, keep_releases, local, open_files, board, fleet } = config;
        let agent = Arc::new(start_agent(&data, store, open_files, &inbox)?);
        let leader = Leader {
            data,
            above: front.term(),
            keep_releases,
            local,
            foreign_at_start: front.take_foreign_listeners(),
            inbox: inbox.clone(),
            proxy: front.saving_proxy(),
            agent: agent.clone(),
            board: board.clone(),
            fleet,
        };
        let (control, inbox) = match leader.start(mail) {
            Ok(control) => (Some(control), Ok(inbox)),
            Err(why) => {
                tracing::error!("nothing can be changed, traffic goes on: {why}");
                (None, Err(why))
            }
        };
        let engine = Arc::new(EngineHandle { board, inbox, clock: wall_clock });
        Ok(Self { engine, control, _agent: agent })
    }

    /// Returns control as the API sees it. Its views can be read even after control has stopped.
    pub fn engine(&self) -> Arc<EngineHandle> {
        self.engine.clone()
    }

    /// Stops control and the agent, and closes the journal. Traffic and instances go on. Blocks.
    pub fn stop(self) {
        if let (Ok(inbox), Some(control)) = (&self.engine.inbox, self.control) {
            inbox.stop();
            // A panic on that thread has been printed already.
            let _ = control.join();
        }
    }
}

fn start_agent(
    data: &Path,
    store: Arc<ReleaseStore>,
    open_files: agent::OpenFiles,
    inbox: &Inbox,
) -> Result<Agent, CommandError> {
    let config = agent::AgentConfig {
        data: data.to_owned(),
        program: std::env::current_exe().map_err(|error| cannot_start(&error))?,
        boot_id: agent::boot_id(),
        open_files: Some(open_files),
    };
    let reports = inbox.clone();
    let agent = Agent::start(config, store, None, move |report| {
        reports.host(FromHost { host: HostId::local(), report });
    });
    agent.map_err(|error| cannot_start(&error))
}

/// Everything that each start of control needs.
struct Leader {
    data: PathBuf,
    /// The highest term that proxies have seen.
    above: u64,
    keep_releases: u16,
    local: LocalHostTerms,
    /// The instances that get no requests when control starts for the first time.
    foreign_at_start: Option<ForeignListeners>,
    inbox: Inbox,
    proxy: SavingProxy,
    agent: Arc<Agent>,
    board: Arc<AppViews>,
    fleet: Option<Arc<Members>>,
}

impl Leader {
    /// Starts control's thread, or returns the reason why control cannot start. Returns only once the views
    /// contain every app, so that no client is told that an app does not exist merely because it is not
    /// loaded yet.
    fn start(mut self, mail: Mail) -> Result<JoinHandle<()>, String> {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let run = move || {
            control::lead(
                &mail,
                |foreign| self.runner(foreign),
                move |begun| {
                    // The receiver is gone only if this server has panicked.
                    let _ = tell.send(begun);
                },
            );
        };
        let thread = std::thread::Builder::new().name("control".into()).spawn(run);
        let thread = thread.map_err(|error| in_full(&error))?;
        match told.recv() {
            Ok(Err(why)) => Err(why),
            // An error means that the thread has ended already; the API reports that.
            Ok(Ok(())) | Err(_) => Ok(thread),
        }
    }

    /// Creates a runner with an engine recovered from the journal. `foreign` are the instances at whose
    /// addresses the previous engine found foreign listeners.
    fn runner(&mut self, foreign: &BTreeSet<InstanceId>) -> Result<Runner, String> {
        let path = self.data.join("journal.db");
        not_lost(&self.data, &path)?;
        let (journal, recovered) =
            Journal::open(&path, test_hooks::journal_options()).map_err(|error| in_full(&error))?;
        // A journal from a backup may be older than the terms that proxies and hosts have seen. The new term
        // must be higher than those.
        let heard = self.fleet.as_ref().map_or(0, |fleet| fleet.desk().highest_term());
        let term = recovered.term.max(self.above.max(heard) + 1);
        self.above = term;
        let found =
            |id: &InstanceId| (id.clone(), "somebody else listens at its address".to_owned());
        let at_start = self.foreign_at_start.take().into_iter().flatten();
        let LocalHostTerms { address, closed } = self.local.clone();
        let hello = HostHello {
            address,
            abilities: HostAbilities { closed, ..self.agent.abilities().clone() },
            numbers: agent::numbers(&self.data).unwrap_or_default(),
            boot: agent::boot_id(),
        };
        let engine = Engine::recover(term, &[ProxyId::local()], &recovered)
            .map_err(|error| in_full(&error))?
            .keeping(self.keep_releases)
            .with_host(HostId::local(), hello)
            .with_strangers(at_start.chain(foreign.iter().map(found)));
        let (remote, proxies) = self.fleet.as_ref().map(|fleet| fleet.begins(term)).unzip();
        let config = RunnerConfig {
            log: Box::new(journal),
            last: recovered.head(),
            hosts: Box::new(AllHosts { local: LocalHost(self.agent.clone()), remote }),
            proxies: Box::new(AllProxies { local: self.proxy.clone(), remote: proxies }),
            outbox: Box::new(Notices(self.board.clone())),
            crash: test_hooks::crash_point(),
            clock: SteadyClock::new(wall_clock(), engine.last_fact(), boot_time()),
            boot_time,
        };
        Ok(Runner::new(engine, config, self.inbox.clone()))
    }
}

/// Returns an error if instances have run from this data folder but its journal is missing. A new journal
/// would give out numbers that instances of the lost one may still have, and would not contain the instances
/// that serve users now.
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
