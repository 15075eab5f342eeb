//! Waits until what an instance needs is fetched, before the instance is started. Meanwhile tells control how
//! far the fetch has come, and takes the instance's commands.

use std::sync::Arc;
use std::time::Duration;

use model::{Expect, HostReport, InstanceId, Launch, NotStarted};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::context::Context;
use crate::disk::on_disk;
use crate::fetch::{Fetch, Fetched, ReleaseFetcher, ReleaseNeeds};
use crate::orphans::final_report;
use crate::runfolder::RunFolder;
use crate::start::{is_to_be_started, not_started};
use crate::stop;
use crate::task_command::TaskCommand;

/// The time between two reports.
const REPORT: Duration = Duration::from_secs(2);

/// The outcome of the wait.
pub(crate) enum Awaited {
    /// Everything is here, or nothing is needed. What was fetched is not deleted while this exists.
    Here(Option<Fetch>),
    /// The instance's last report: something could not be fetched, or the instance was stopped.
    Over(HostReport),
    /// The agent itself ends.
    AgentEnds,
}

/// Waits until everything is here that is needed to start the instance. An instance that runs needs nothing.
pub(crate) async fn await_files(
    context: &Arc<Context>,
    launch: &Launch,
    expect: Expect,
    commands: &mut mpsc::Receiver<TaskCommand>,
    finish: &mut Option<oneshot::Sender<()>>,
) -> Awaited {
    let Some(fetcher) = &context.fetcher else { return Awaited::Here(None) };
    if !is_to_be_started(context, launch, expect).await {
        return Awaited::Here(None);
    }
    let fetch = fetcher.join(wanted(context, launch).await);
    let own = fetch.clone();
    let mut done = Box::pin(async move { own.done().await });
    let mut news = News { fetcher: Arc::clone(fetcher), received: fetcher.received(), said: None };
    let mut ticks = interval_at(Instant::now() + REPORT, REPORT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            outcome = &mut done => return match outcome {
                Ok(()) => Awaited::Here(Some(fetch)),
                Err(why) => {
                    let why = format!("cannot fetch what {} needs: {why}", launch.id);
                    Awaited::Over(not_started(context, launch, NotStarted::Refused(why)).await)
                }
            },
            _ = ticks.tick() => {
                if let Some(fetched) = news.look(&fetch) {
                    (context.report)(report(&launch.id, fetched));
                }
            }
            command = commands.recv() => match command {
                None => return Awaited::AgentEnds,
                Some(TaskCommand::Finish(reply)) => *finish = Some(reply),
                Some(TaskCommand::Run(..)) => (context.report)(report(&launch.id, fetch.fetched())),
                Some(TaskCommand::Stop(grace)) => {
                    drop(done);
                    fetch.settled().await;
                    stop::stop(&RunFolder::at(&context.layout.run(&launch.id)), grace).await;
                    return Awaited::Over(final_report(context, &launch.id, None).await);
                }
            },
        }
    }
}

/// Returns what the instance needs beside the files that are laid out.
async fn wanted(context: &Arc<Context>, launch: &Launch) -> ReleaseNeeds {
    let (app, release, content) = (launch.id.app.clone(), launch.release, launch.content);
    let shared = Arc::clone(context);
    let owned = app.clone();
    let laid_out = on_disk(move || shared.files.are_laid_out(&owned, release, content)).await;
    let content = content.filter(|_| laid_out != Some(true));
    ReleaseNeeds { app, release, content, values: launch.run.env.clone() }
}

fn report(id: &InstanceId, fetched: Fetched) -> HostReport {
    let Fetched { bytes, of, trouble } = fetched;
    HostReport::Fetching { id: id.clone(), bytes, of, trouble }
}

/// The news of a fetch.
struct News {
    fetcher: Arc<ReleaseFetcher>,
    /// The bytes that all fetches of this host had received at the last look.
    received: u64,
    /// The trouble that was reported last.
    said: Option<String>,
}

impl News {
    /// Returns how far the fetch has come, if bytes have come since the last look, or its trouble is a new one.
    /// Bytes of other fetches count, too, since this one may be waiting for them.
    fn look(&mut self, fetch: &Fetch) -> Option<Fetched> {
        let received = self.fetcher.received();
        let came = received != self.received;
        self.received = received;
        let fetched = fetch.fetched();
        let is_new = fetched.trouble != self.said;
        self.said.clone_from(&fetched.trouble);
        let is_news = if fetched.trouble.is_some() { is_new } else { came };
        is_news.then_some(fetched)
    }
}
