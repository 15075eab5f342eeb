//! Control's surroundings in this server: opens the journal, recovers an engine from it, and fits it to
//! agent, proxy and API. It does so again when control has stepped down.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use control::{Clock, Engine, Inbox, Mail, Runner, RunnerConfig, Traffic as _};
use journal::sqlite::{Journal, Options};
use model::{HostId, InstanceId, Timestamp};

use crate::desk::Board;
use crate::ports::{CrashAt, LocalHost, LocalTraffic, Notices};
use crate::strangers::Strangers;

/// What control begins with, each time.
pub struct Brain {
    /// The data folder.
    pub data: PathBuf,
    /// The highest term that proxies have seen.
    pub above: u64,
    /// How many releases of each app stay stored.
    pub keep_releases: u16,
    /// To them nothing may be sent when control begins for the first time.
    pub strangers: Option<Strangers>,
    pub inbox: Inbox,
    pub traffic: LocalTraffic,
    pub agent: Arc<agent::Agent>,
    pub board: Arc<Board>,
}

impl Brain {
    /// Starts control's thread; or says why control cannot start. Returns once the board shows every app:
    /// nobody is told that an app is not there because it is not there yet.
    pub fn start(mut self, mail: Mail) -> Result<JoinHandle<()>, String> {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let run = move || {
            control::lead(
                &mail,
                |foreign| self.runner(foreign),
                move |begun| {
                    // Nobody waits any more only if this server has panicked.
                    let _ = tell.send(begun);
                },
            );
        };
        let thread = std::thread::Builder::new().name("control".into()).spawn(run);
        let thread = thread.map_err(|error| model::in_full(&error))?;
        match told.recv() {
            Ok(Err(why)) => Err(why),
            // An error means that it has ended already, which the API tells.
            Ok(Ok(())) | Err(_) => Ok(thread),
        }
    }

    /// An engine from what the journal holds. `foreign` are instances at whose address the engine before has
    /// found somebody else.
    fn runner(&mut self, foreign: &BTreeSet<InstanceId>) -> Result<Runner, String> {
        let delay = std::env::var("SEGUE_TEST_FSYNC_DELAY_MS").ok().and_then(|ms| ms.parse().ok());
        let options = Options {
            fsync_delay: Duration::from_millis(delay.unwrap_or(0)),
            ..Options::default()
        };
        let path = self.data.join("journal.db");
        not_lost(&self.data, &path)?;
        let (journal, recovered) =
            Journal::open(&path, options).map_err(|error| model::in_full(&error))?;
        // A journal from a backup may be older than what proxies have seen: its terms must not be.
        let term = recovered.term.max(self.above + 1);
        self.above = term;
        let found =
            |id: &InstanceId| (id.clone(), "somebody else listens at its address".to_owned());
        let strangers = self.strangers.take().into_iter().flatten();
        let proxies = [self.traffic.id()];
        let engine = Engine::recover(term, &proxies, &recovered)
            .map_err(|error| model::in_full(&error))?
            .keeping(self.keep_releases)
            .with_host(HostId::local(), Ipv4Addr::LOCALHOST.into(), self.agent.abilities().clone())
            .with_strangers(strangers.chain(foreign.iter().map(found)));
        let config = RunnerConfig {
            log: Box::new(journal),
            last: recovered.head(),
            hosts: Box::new(LocalHost(self.agent.clone())),
            traffic: vec![Box::new(self.traffic.clone())],
            outbox: Box::new(Notices(self.board.clone())),
            crash: CrashAt::from_env(),
            clock: Clock::new(wall_clock(), engine.last_fact(), crate::boot::boot_time()),
            boot_time: crate::boot::boot_time,
        };
        Ok(Runner::new(engine, config, self.inbox.clone()))
    }
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

pub fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
