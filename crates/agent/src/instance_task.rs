//! The task of one instance, from its first command to its last report. The task answers a command that comes
//! after the last report with that report again.

use std::sync::{Arc, PoisonError};

use model::{Expect, HostReport, InstanceId, Launch, Serving};
use tokio::sync::{mpsc, oneshot};

use crate::await_files::{Awaited, await_files};
use crate::context::Context;
use crate::orphans::final_report;
use crate::probe::{self, LastHealth, Prober};
use crate::protocol::ShimEvent;
use crate::runfolder::RunFolder;
use crate::shim_client::{ShimConnection, connect, kill_unresponsive};
use crate::start::{Begun, begin, number_taken, release_of};
use crate::stop::{self, Stopping};
use crate::task_command::TaskCommand;

/// Runs the task of an instance until it is told to finish, or the agent ends.
pub(crate) async fn run(
    context: Arc<Context>,
    id: InstanceId,
    mut commands: mpsc::Receiver<TaskCommand>,
) {
    let mut finish = None;
    let last = loop {
        match commands.recv().await {
            None => return,
            Some(TaskCommand::Finish(reply)) => finish = Some(reply),
            Some(TaskCommand::Run(launch, expect)) => {
                let waited = await_files(&context, &launch, expect, &mut commands, &mut finish);
                // What was fetched is not deleted before it is laid out.
                let fetch = match waited.await {
                    Awaited::Here(fetch) => fetch,
                    Awaited::Over(last) => break last,
                    Awaited::AgentEnds => return,
                };
                let shim = match begin(&context, &launch, expect).await {
                    Begun::Running(shim) => shim,
                    Begun::Over(last) => break last,
                };
                drop(fetch);
                match supervise(&context, &launch, expect, shim, &mut commands, &mut finish).await {
                    Some(last) => break last,
                    None => return,
                }
            }
            Some(TaskCommand::Stop(grace)) => {
                stop::stop(&RunFolder::at(&context.layout.run(&id)), grace).await;
                break final_report(&context, &id, None).await;
            }
        }
    };
    (context.report)(last.clone());
    loop {
        if let Some(reply) = finish.take() {
            // The receiver may be gone.
            let _ = reply.send(());
            return;
        }
        match commands.recv().await {
            None => return,
            Some(TaskCommand::Finish(reply)) => finish = Some(reply),
            Some(TaskCommand::Run(..) | TaskCommand::Stop(_)) => (context.report)(last.clone()),
        }
    }
}

/// Supervises a running instance: probes it if it serves requests, passes commands on to its shim, and waits
/// for its end. Returns its last report, or `None` if the agent itself ends.
async fn supervise(
    context: &Arc<Context>,
    launch: &Launch,
    expect: Expect,
    mut shim: ShimConnection,
    commands: &mut mpsc::Receiver<TaskCommand>,
    finish: &mut Option<oneshot::Sender<()>>,
) -> Option<HostReport> {
    let folder = RunFolder::at(&context.layout.run(&launch.id));
    let running = HostReport::Running { id: launch.id.clone(), pid: shim.pid() };
    (context.report)(running.clone());
    let health = LastHealth::default();
    let probed = |serving: &Serving| {
        let (context, launch, last) = (Arc::clone(context), launch.clone(), Arc::clone(&health));
        probe::start(context, launch, serving.clone(), expect, last)
    };
    let prober = launch.serving.as_ref().map(probed);
    let mut stopping = None::<Stopping>;
    loop {
        tokio::select! {
            event = shim.next() => match event {
                Some(ShimEvent::Hello { .. } | ShimEvent::Status { .. } | ShimEvent::Unknown) => {
                    stopping.iter_mut().for_each(Stopping::answered);
                }
                Some(ShimEvent::Exited { .. }) => break,
                // The connection is closed. Either the shim has ended, or only the connection.
                None => match connect(&folder).await {
                    Some(again) => shim = again,
                    None => break,
                },
            },
            () = Stopping::overdue(&mut stopping) => kill_unresponsive(&folder).await,
            command = commands.recv() => match command {
                None => return None,
                Some(TaskCommand::Finish(reply)) => *finish = Some(reply),
                Some(TaskCommand::Run(again, _)) => {
                    if let Some(refused) = number_taken(Some(release_of(launch)), &again) {
                        (context.report)(refused);
                        continue;
                    }
                    (context.report)(running.clone());
                    let last = health.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    last.into_iter().for_each(&*context.report);
                }
                Some(TaskCommand::Stop(grace)) => {
                    // A process that shuts down refuses probes. That says nothing about its health.
                    prober.iter().for_each(Prober::abort);
                    stopping = Some(Stopping::told(stopping, grace));
                    stop::tell(&folder, &mut shim, grace).await;
                }
            },
        }
    }
    if let Some(prober) = prober {
        prober.end().await;
    }
    let address = launch.serving.as_ref().map(|serving| &serving.address);
    Some(final_report(context, &launch.id, address).await)
}
