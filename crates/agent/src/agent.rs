//! The agent: takes commands, runs one task per instance, and passes their reports on. It has a thread of
//! its own, never blocks its caller, and never lets one instance wait for another.

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

use crate::context::{AgentConfig, Context};
use crate::delegation;
use crate::disk::on_disk;
use crate::fetch::ReleaseFetcher;
use crate::garbage_collection;
use crate::instance_task;
use crate::layout::InstanceLayout;
use crate::ports;
use crate::release_files::ReleaseFiles;
use crate::socketfolder::socket_folders;
use crate::source::ReleaseSource;
use crate::task_command::TaskCommand;

/// Capacity of the queue of commands. Further commands are dropped: control repeats each until a report
/// answers it.
const COMMANDS: usize = 4096;
/// Capacity of the queue of commands to one instance's task.
const TASK_COMMANDS: usize = 16;

/// The reason why an agent could not be started.
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
    /// Starts the agent's thread. Files and values of releases come from `store`; what it lacks is fetched from
    /// `source`. Without a source, as on the server's host, an instance whose release is not stored completely
    /// is not started. The thread calls `reports`, which has to be quick.
    ///
    /// # Errors
    /// If the data folder cannot be prepared or the thread cannot be started.
    pub fn start(
        config: AgentConfig,
        store: Arc<ReleaseStore>,
        source: Option<Arc<dyn ReleaseSource>>,
        reports: impl Fn(HostReport) + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let data = config.data.clone();
        let failed = |act| {
            let path = data.clone();
            move |source| StartError { act, path, source }
        };
        // The shims work in other folders, where a relative path would name another file.
        let absolute = std::path::absolute(&config.data).map_err(failed("find"))?;
        let config = AgentConfig { data: absolute, ..config };
        let layout = InstanceLayout::new(&config.data);
        layout.check().map_err(|unsafe_| failed("use")(std::io::Error::other(unsafe_)))?;
        datadir::private_folder(&layout.runs())
            .and_then(|()| datadir::clear_unfinished(&layout.runs()))
            .map_err(failed("create run folders in"))?;
        let files = ReleaseFiles::open(&config.data, Arc::clone(&store));
        let files = files.map_err(failed("lay out files in"))?;
        let abilities = HostAbilities {
            sockets: socket_folders(&config.data),
            limits: delegation::obstacles(&layout),
            closed: None,
        };
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let fetcher = source.map(|source| {
            Arc::new(ReleaseFetcher::new(source, Arc::clone(&store), config.data.clone()))
        });
        let context = Context::new(config, layout, store, fetcher, files, Box::new(reports));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .thread_name("agent-disk")
            .build()
            .map_err(failed("start the runtime for"))?;
        let thread = std::thread::Builder::new()
            .name("agent".to_owned())
            .spawn(move || {
                runtime.block_on(Actor::new(Arc::new(context)).run(inbox));
                // Work on the disk may be under way; nothing waits for its outcome any more.
                runtime.shutdown_background();
            })
            .map_err(failed("start the thread for"))?;
        Ok(Self { commands: Some(commands), abilities, thread: Some(thread) })
    }

    /// Queues a command from the control with this term. Never blocks; the answer comes as a report. A
    /// command with a lower term than an earlier one is refused, because its control has been replaced.
    pub fn handle(&self, term: u64, command: HostCommand) {
        let Some(commands) = &self.commands else { return };
        if let Err(e) = commands.try_send((term, command)) {
            tracing::warn!("a command to the agent was dropped, it will be repeated: {e}");
        }
    }

    /// Returns the abilities that this host had when the agent started.
    pub fn abilities(&self) -> &HostAbilities {
        &self.abilities
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            // A panic on that thread has been printed already.
            let _ = thread.join();
        }
    }
}

/// Passes each command to the task of its instance.
struct Actor {
    context: Arc<Context>,
    instances: BTreeMap<InstanceId, mpsc::Sender<TaskCommand>>,
    tasks: JoinSet<()>,
    /// The highest term of the commands so far.
    term: u64,
}

impl Actor {
    fn new(context: Arc<Context>) -> Self {
        Self { context, instances: BTreeMap::new(), tasks: JoinSet::new(), term: 0 }
    }

    async fn run(mut self, mut inbox: mpsc::Receiver<(u64, HostCommand)>) {
        let context = Arc::clone(&self.context);
        let sockets = context.sockets.run();
        tokio::pin!(sockets);
        loop {
            tokio::select! {
                () = &mut sockets => {}
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
                self.send(launch.id.clone(), TaskCommand::Run(launch, expect));
            }
            HostCommand::Stop { id, grace } => self.send(id, TaskCommand::Stop(grace)),
            HostCommand::OfferPorts { except } => {
                let context = Arc::clone(&self.context);
                self.tasks.spawn(async move {
                    let free = on_disk(move || ports::offer(&except)).await;
                    (context.report)(HostReport::Ports { free: free.unwrap_or_default() });
                });
            }
            HostCommand::Keep(keep) => {
                // The garbage is found now, so that it cannot contain anything that a later command creates.
                self.context.keeps(keep.clone());
                let garbage = garbage_collection::find(&self.context, keep, self.instances.keys());
                let tasks = garbage
                    .instances
                    .iter()
                    .map(|id| (id.clone(), self.instances.remove(id)))
                    .collect();
                let context = Arc::clone(&self.context);
                self.tasks.spawn(garbage_collection::collect(context, garbage, tasks));
            }
        }
    }

    fn send(&mut self, id: InstanceId, command: TaskCommand) {
        let command = match self.instances.get(&id) {
            None => command,
            Some(task) => match task.try_send(command) {
                // A command to a task that does not keep up is dropped; control repeats the command.
                Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => return,
                // The task has ended early. A new one finds the state on the disk.
                Err(mpsc::error::TrySendError::Closed(command)) => command,
            },
        };
        let (task, commands) = mpsc::channel(TASK_COMMANDS);
        // The channel is new, so it has room.
        let _ = task.try_send(command);
        self.tasks.spawn(instance_task::run(Arc::clone(&self.context), id.clone(), commands));
        self.instances.insert(id, task);
    }
}
