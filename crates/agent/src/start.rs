//! Starts an instance: adopts it if it runs, starts it if it may be started, and otherwise reports how it
//! ended. Never starts an instance a second time.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use model::{Address, Exit, Expect, HostReport, Launch, NotStarted, in_full};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;

use crate::context::Context;
use crate::delegation;
use crate::disk::on_disk;
use crate::environment;
use crate::identity::Access;
use crate::orphans::final_report;
use crate::ports;
use crate::protocol::{StartAnswer, StartOrder, VERSION};
use crate::runfolder::{ReleaseRecord, RunFolder};
use crate::shim_client::{ShimConnection, connect};
use crate::socketfolder;

/// The time in which a shim must read its order and answer; the disk may be slow.
const HANDSHAKE: Duration = Duration::from_secs(20);

/// The outcome of a start.
pub(crate) enum Begun {
    Running(ShimConnection),
    /// The instance's last report.
    Over(HostReport),
}

/// The state of a run folder that no shim has.
#[derive(PartialEq, Eq)]
enum Found {
    /// An instance was started or stopped here before.
    Used,
    /// Nothing has happened here yet.
    Blank,
}

/// Starts the instance, or adopts it if it runs.
pub(crate) async fn begin(context: &Arc<Context>, launch: &Launch, expect: Expect) -> Begun {
    let folder = RunFolder::at(&context.layout.run(&launch.id));
    if let Some(refused) = number_taken(recorded_release(&folder).await, launch) {
        return Begun::Over(refused);
    }
    let mut started = None;
    loop {
        // The order matters: a shim takes the lock before it marks the folder. If the mark exists and then no
        // shim is found, the shim has ended. In the other order, the code below would wait for a shim that
        // starts in between.
        let found = look(&folder).await;
        if let Some(shim) = connect(&folder).await {
            return Begun::Running(shim);
        }
        let answer = match (found, expect) {
            (Found::Used, _) => {
                // A command may end before anybody can connect to its shim. Control is still told that it ran.
                if let Some(pid) = started {
                    (context.report)(HostReport::Running { id: launch.id.clone(), pid });
                }
                return Begun::Over(final_report(context, &launch.id, None).await);
            }
            (Found::Blank, Expect::Running) => {
                let (id, tail) = (launch.id.clone(), Vec::new());
                let exit = Exit::Unknown;
                return Begun::Over(HostReport::Exited { id, exit, address_in_use: false, tail });
            }
            (Found::Blank, Expect::Fresh) => start(context, launch, &folder).await,
        };
        // After a start, by this agent or by another shim, either a shim answers or the folder records how it
        // ended.
        match answer {
            Ok(pid) => started = pid,
            Err(why) => return Begun::Over(not_started(context, launch, why).await),
        }
    }
}

/// Returns the release of the instance that the folder belongs to, if it is known.
async fn recorded_release(folder: &RunFolder) -> Option<ReleaseRecord> {
    let folder = folder.clone();
    on_disk(move || folder.release()).await.and_then(Result::ok).flatten()
}

/// Returns a report if the number of an instance is that of another release's on this host. What runs under
/// that number is left alone.
pub(crate) fn number_taken(by: Option<ReleaseRecord>, launch: &Launch) -> Option<HostReport> {
    let other = by.filter(|by| *by != release_of(launch))?;
    let (id, label) = (launch.id.clone(), other.label);
    let why = format!(
        "cannot start {id}: on its host that number belongs to an instance of {label}, which the server does \
         not know: was its data folder restored from a backup?"
    );
    Some(HostReport::NotStarted { id, why: NotStarted::Refused(why) })
}

/// Returns the release of the instance that is to be run.
pub(crate) fn release_of(launch: &Launch) -> ReleaseRecord {
    ReleaseRecord { label: launch.label.clone(), content: launch.content }
}

/// Returns whether [`begin`] is going to start the instance now, unless somebody else does.
pub(crate) async fn is_to_be_started(context: &Context, launch: &Launch, expect: Expect) -> bool {
    let folder = RunFolder::at(&context.layout.run(&launch.id));
    expect == Expect::Fresh
        && look(&folder).await == Found::Blank
        && connect(&folder).await.is_none()
        && launch.serving.iter().try_for_each(ports::check).is_ok()
}

/// Gives up an instance before it was started, and returns its last report.
pub(crate) async fn not_started(context: &Context, launch: &Launch, why: NotStarted) -> HostReport {
    refuse(&RunFolder::at(&context.layout.run(&launch.id))).await;
    HostReport::NotStarted { id: launch.id.clone(), why }
}

async fn look(folder: &RunFolder) -> Found {
    let folder = folder.clone();
    let used = on_disk(move || folder.is_used()).await;
    // If the check failed, nothing is started: no instance is better than two.
    if used == Some(false) { Found::Blank } else { Found::Used }
}

/// Leaves a tombstone, so that an instance that could not be started is not started later, when control has
/// given it up.
async fn refuse(folder: &RunFolder) {
    let folder = folder.clone();
    let _ = on_disk(move || {
        let left = folder.create().and_then(|()| folder.tombstone());
        socketfolder::remove_of(&folder);
        left
    })
    .await;
}

/// Starts a shim. Returns the process id of the command, or `None` if another shim has the run folder.
async fn start(
    context: &Arc<Context>,
    launch: &Launch,
    folder: &RunFolder,
) -> Result<Option<u32>, NotStarted> {
    let refused = |act: &str, why: &dyn std::fmt::Display| {
        NotStarted::Refused(format!("cannot {act} {}: {why}", launch.id))
    };
    launch.serving.iter().try_for_each(ports::check).map_err(|why| refused("start", &why))?;
    let (shared, owned, run) = (Arc::clone(context), launch.clone(), folder.clone());
    let prepared = on_disk(move || prepare(&shared, &owned, &run)).await;
    let order = prepared
        .ok_or_else(|| refused("prepare", &"see the server's log"))?
        .map_err(|why| refused("prepare", &why))?;
    if launch.serving.as_ref().is_some_and(|serving| !ports::is_free(&serving.address)) {
        return Err(NotStarted::AddressInUse);
    }
    delegation::make_room(context, &launch.run.limits)
        .await
        .map_err(|why| refused("limit", &why))?;
    let _starting = context.starting.read().await;
    match run_shim(context, folder, &order).await {
        Ok(StartAnswer::Started { pid }) => Ok(Some(pid)),
        Ok(StartAnswer::Taken) => Ok(None),
        Ok(StartAnswer::Refused(why)) => Err(refused("start", &why)),
        Err(e) => Err(refused("start", &format!("{}: {e}", context.config.program.display()))),
    }
}

/// Prepares everything that the shim needs: files, folders, environment.
fn prepare(context: &Context, launch: &Launch, run: &RunFolder) -> Result<StartOrder, String> {
    let order = order(context, launch)?;
    let state = context.layout.state(&launch.id.app);
    let access = Access::of(&launch.run)?;
    environment::make_state_folder(&state, access)
        .map_err(|e| format!("{}: {e}", state.display()))?;
    run.create()
        .and_then(|()| run.record_release(&release_of(launch)))
        .map_err(|e| format!("{}: {e}", run.path().display()))?;
    let address = launch.serving.as_ref().map(|serving| &serving.address);
    if let Some(Address::Unix(path)) = address {
        socketfolder::make(&context.config.data, run, &launch.id, Path::new(path), access)?;
    }
    Ok(order)
}

/// Creates the order: the release's command, folder and user, and the instance's environment.
pub(crate) fn order(context: &Context, launch: &Launch) -> Result<StartOrder, String> {
    let app = &launch.id.app;
    let access = Access::of(&launch.run)?;
    let folder = context
        .files
        .lay_out(app, launch.release, launch.content, access)
        .map_err(|e| in_full(&e))?;
    let own = context.store.secrets.values(app, &launch.run.env).map_err(|e| in_full(&e))?;
    let env = environment::of(launch, &context.layout.state(app), own);
    Ok(StartOrder {
        version: VERSION,
        id: launch.id.clone(),
        command: launch.run.command.clone(),
        folder,
        env,
        user: launch.run.user.clone(),
        group: launch.run.group.clone(),
        open_files: context.config.open_files,
        limits: launch.run.limits,
        timeout_ms: None,
    })
}

async fn run_shim(
    context: &Context,
    folder: &RunFolder,
    order: &StartOrder,
) -> io::Result<StartAnswer> {
    let mut shim = Command::new(&context.config.program)
        .arg("__shim")
        .arg(folder.path())
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(false)
        .spawn()?;
    let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
    let stdin = shim.stdin.take().ok_or_else(closed)?;
    let stdout = shim.stdout.take().ok_or_else(closed)?;
    let (give_up, given_up) = oneshot::channel();
    // Reaps the shim when it ends, however much later. The shim does not end with this process.
    let reaped = tokio::spawn(async move {
        tokio::select! {
            _ = shim.wait() => {}
            Ok(()) = given_up => drop(shim.kill().await),
        }
    });
    match tokio::time::timeout(HANDSHAKE, shake_hands(stdin, stdout, order)).await {
        Ok(answer) => answer,
        Err(_) => {
            let _ = give_up.send(());
            let _ = reaped.await;
            // The shim may already have started a process. That process is then found and ended.
            if look(folder).await == Found::Used {
                return Ok(StartAnswer::Taken);
            }
            let why = format!("it did not answer within {} s", HANDSHAKE.as_secs());
            Err(io::Error::other(why))
        }
    }
}

/// Sends the order and reads the answer.
async fn shake_hands(
    mut stdin: ChildStdin,
    stdout: ChildStdout,
    order: &StartOrder,
) -> io::Result<StartAnswer> {
    stdin.write_all(&serde_json::to_vec(order)?).await?;
    drop(stdin);
    let mut text = String::new();
    BufReader::new(stdout).read_line(&mut text).await?;
    if text.is_empty() {
        return Err(io::Error::other("it ended without a word"));
    }
    Ok(serde_json::from_str(&text)?)
}
