//! The agent: takes commands, keeps one task per instance, and passes their reports on. Its own
//! thread; never blocks whoever commands it, and never lets one instance wait for another.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use model::{HostAbilities, HostCommand, HostReport, InstanceId};
use store::ReleaseStore;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::delegation;
use crate::disk::on_disk;
use crate::keep;
use crate::layout::Layout;
use crate::life::{Ask, live};
use crate::ports;
use crate::release_files::ReleaseFiles;
use crate::socketfolder::socket_folders;
use crate::world::{Config, World};

/// Commands that may wait. More are dropped: every command is repeated until a report answers it.
const COMMANDS: usize = 4096;
/// What may wait for one instance's task.
const ASKS: usize = 16;

/// Why an agent could not be started.
#[derive(Debug, Error)]
#[error("cannot {act} {}", path.display())]
pub struct StartError {
    act: &'static str,
    path: PathBuf,
    source: std::io::Error,
}

/// A running agent. Dropping it ends the agent and leaves the instances running.
pub struct Agent {
    commands: Option<mpsc::Sender<(u64, HostCommand)>>,
    abilities: HostAbilities,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").finish_non_exhaustive()
    }
}

impl Agent {
    /// Starts the agent's thread. Files and values of releases come from `store`. `reports` is called on
    /// that thread, and has to be quick.
    ///
    /// # Errors
    /// If the data folder cannot be prepared or the thread cannot be started.
    pub fn start(
        config: Config,
        store: Arc<ReleaseStore>,
        reports: impl Fn(HostReport) + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let data = config.data.clone();
        let failed = |act| {
            let path = data.clone();
            move |source| StartError { act, path, source }
        };
        // Relative paths would mean something else to the shims, which work elsewhere.
        let absolute = std::path::absolute(&config.data).map_err(failed("find"))?;
        let config = Config { data: absolute, ..config };
        let layout = Layout::new(&config.data);
        layout.check().map_err(|unsafe_| failed("use")(std::io::Error::other(unsafe_)))?;
        datadir::private_folder(&layout.runs())
            .and_then(|()| datadir::clear_unfinished(&layout.runs()))
            .map_err(failed("create run folders in"))?;
        let files = ReleaseFiles::open(&config.data, Arc::clone(&store));
        let files = files.map_err(failed("lay out files in"))?;
        let abilities = HostAbilities {
            sockets: socket_folders(&config.data),
            limits: delegation::obstacles(&layout),
        };
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let world = World::new(config, layout, store, files, Box::new(reports));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .thread_name("agent-disk")
            .build()
            .map_err(failed("start the runtime for"))?;
        let thread = std::thread::Builder::new()
            .name("agent".to_owned())
            .spawn(move || {
                runtime.block_on(Actor::new(Arc::new(world)).run(inbox));
                // Work on the disk may be under way; nobody waits for its outcome any more.
                runtime.shutdown_background();
            })
            .map_err(failed("start the thread for"))?;
        Ok(Self { commands: Some(commands), abilities, thread: Some(thread) })
    }

    /// Takes a command of the control of that term. Never blocks; the answer comes as a report. A command
    /// of a lower term than one before is refused: that control has been replaced.
    pub fn handle(&self, term: u64, command: HostCommand) {
        let Some(commands) = &self.commands else { return };
        if let Err(e) = commands.try_send((term, command)) {
            tracing::warn!("a command to the agent was dropped, it will be repeated: {e}");
        }
    }

    /// What this host can do for instances, as it was when the agent started.
    pub fn abilities(&self) -> &HostAbilities {
        &self.abilities
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            // A panic on that thread was printed there; here it changes nothing.
            let _ = thread.join();
        }
    }
}

/// Hands each command to the task it belongs to.
struct Actor {
    world: Arc<World>,
    instances: BTreeMap<InstanceId, mpsc::Sender<Ask>>,
    tasks: JoinSet<()>,
    /// The highest term that has commanded.
    term: u64,
}

impl Actor {
    fn new(world: Arc<World>) -> Self {
        Self { world, instances: BTreeMap::new(), tasks: JoinSet::new(), term: 0 }
    }

    async fn run(mut self, mut inbox: mpsc::Receiver<(u64, HostCommand)>) {
        let world = Arc::clone(&self.world);
        let lookout = world.lookout.run();
        tokio::pin!(lookout);
        loop {
            tokio::select! {
                () = &mut lookout => {}
                command = inbox.recv() => match command {
                    Some((term, command)) => self.take(term, command),
                    None => return,
                },
                Some(ended) = self.tasks.join_next() => if let Err(e) = ended {
                    tracing::error!("a task of the agent broke off: {e}");
                },
            }
        }
    }

    fn take(&mut self, term: u64, command: HostCommand) {
        if term < self.term {
            let newest = self.term;
            tracing::warn!(term, newest, "a command was refused: its control has been replaced");
            return;
        }
        self.term = term;
        self.handle(command);
    }

    fn handle(&mut self, command: HostCommand) {
        match command {
            HostCommand::Run { launch, expect } => {
                self.ask(launch.id.clone(), Ask::Run(launch, expect));
            }
            HostCommand::Stop { id, grace } => self.ask(id, Ask::Stop(grace)),
            HostCommand::OfferPorts { except } => {
                let world = Arc::clone(&self.world);
                self.tasks.spawn(async move {
                    let free = on_disk(move || ports::offer(&except)).await;
                    (world.report)(HostReport::Ports { free: free.unwrap_or_default() });
                });
            }
            HostCommand::Keep(keep) => {
                // What is to go is found now, so that nothing a later command brings is in it.
                self.world.keeps(keep.clone());
                let doomed = keep::doomed(&self.world, keep, self.instances.keys());
                let lives = doomed
                    .instances
                    .iter()
                    .map(|id| (id.clone(), self.instances.remove(id)))
                    .collect();
                self.tasks.spawn(keep::clear(Arc::clone(&self.world), doomed, lives));
            }
        }
    }

    fn ask(&mut self, id: InstanceId, ask: Ask) {
        let ask = match self.instances.get(&id) {
            None => ask,
            Some(task) => match task.try_send(ask) {
                // A task that does not keep up drops the rest: it will be repeated.
                Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => return,
                // Its task broke off: a new one finds what is there.
                Err(mpsc::error::TrySendError::Closed(ask)) => ask,
            },
        };
        let (task, asks) = mpsc::channel(ASKS);
        // There is room: the channel is new.
        let _ = task.try_send(ask);
        self.tasks.spawn(live(Arc::clone(&self.world), id.clone(), asks));
        self.instances.insert(id, task);
    }
}
