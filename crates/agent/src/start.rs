//! Bringing an instance to life: adopts it if it runs, starts it if it may be started, and says what
//! became of it otherwise. Never starts one a second time.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use model::{Address, Exit, Expect, HostReport, Launch, NotStarted, in_full};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;

use crate::attach::{Link, reach};
use crate::delegation;
use crate::disk::on_disk;
use crate::environment;
use crate::identity::Access;
use crate::ports;
use crate::protocol::{Answer, Order, VERSION};
use crate::runfolder::RunFolder;
use crate::socketfolder;
use crate::survivors::finish;
use crate::world::World;

/// A shim takes its order and says what came of it within this time; the disk may be slow.
const HANDSHAKE: Duration = Duration::from_secs(20);

/// What came of it.
pub(crate) enum Begun {
    Running(Link),
    /// The instance's last report.
    Over(HostReport),
}

/// What a folder without a shim says.
#[derive(PartialEq, Eq)]
enum Found {
    /// An instance was begun or stopped here before.
    Used,
    /// Nothing has happened here yet.
    Blank,
}

/// Starts the instance, or adopts it if it runs.
pub(crate) async fn begin(world: &Arc<World>, launch: &Launch, expect: Expect) -> Begun {
    let folder = RunFolder::at(&world.layout.run(&launch.id));
    loop {
        if let Some(link) = reach(&folder).await {
            return Begun::Running(link);
        }
        let found = match (look(&folder).await, expect) {
            (Found::Used, _) => return Begun::Over(finish(world, &launch.id, None).await),
            (Found::Blank, Expect::Running) => {
                let (id, tail) = (launch.id.clone(), Vec::new());
                let exit = Exit::Unknown;
                return Begun::Over(HostReport::Exited { id, exit, address_in_use: false, tail });
            }
            (Found::Blank, Expect::Fresh) => start(world, launch, &folder).await,
        };
        // Started, or taken by somebody else: either way somebody answers now, or has left word.
        if let Err(why) = found {
            refuse(&folder).await;
            return Begun::Over(HostReport::NotStarted { id: launch.id.clone(), why });
        }
    }
}

async fn look(folder: &RunFolder) -> Found {
    let folder = folder.clone();
    let used = on_disk(move || folder.is_used()).await;
    // If looking failed, nothing is started: better none than two.
    if used == Some(false) { Found::Blank } else { Found::Used }
}

/// What could not be started once is not started later: control has moved on by then.
async fn refuse(folder: &RunFolder) {
    let folder = folder.clone();
    let _ = on_disk(move || {
        let left = folder.create().and_then(|()| folder.tombstone());
        socketfolder::remove_of(&folder);
        left
    })
    .await;
}

async fn start(world: &Arc<World>, launch: &Launch, folder: &RunFolder) -> Result<(), NotStarted> {
    let refused = |act: &str, why: &dyn std::fmt::Display| {
        NotStarted::Refused(format!("cannot {act} {}: {why}", launch.id))
    };
    let (shared, owned, run) = (Arc::clone(world), launch.clone(), folder.clone());
    let prepared = on_disk(move || prepare(&shared, &owned, &run)).await;
    let order = prepared
        .ok_or_else(|| refused("prepare", &"see the server's log"))?
        .map_err(|why| refused("prepare", &why))?;
    if !ports::is_free(&launch.address) {
        return Err(NotStarted::AddressInUse);
    }
    delegation::make_room(world, &launch.run.limits).await.map_err(|why| refused("limit", &why))?;
    let _starting = world.starting.read().await;
    match run_shim(world, folder, &order).await {
        Ok(Answer::Started { .. } | Answer::Taken) => Ok(()),
        Ok(Answer::Refused(why)) => Err(refused("start", &why)),
        Err(e) => Err(refused("start", &format!("{}: {e}", world.config.program.display()))),
    }
}

/// Everything the shim needs: the files, the folders, the environment.
fn prepare(world: &World, launch: &Launch, run: &RunFolder) -> Result<Order, String> {
    let order = order(world, launch)?;
    let state = world.layout.state(&launch.id.app);
    let access = Access::of(&launch.run)?;
    environment::make_state_folder(&state, access)
        .map_err(|e| format!("{}: {e}", state.display()))?;
    run.create().map_err(|e| format!("{}: {e}", run.path().display()))?;
    if let Address::Unix(path) = &launch.address {
        socketfolder::make(&world.config.data, run, &launch.id, Path::new(path), access)?;
    }
    Ok(order)
}

/// The release's command with its folder, its user and the instance's environment.
pub(crate) fn order(world: &World, launch: &Launch) -> Result<Order, String> {
    let app = &launch.id.app;
    let access = Access::of(&launch.run)?;
    let folder = world
        .files
        .lay_out(app, launch.release, launch.content, access)
        .map_err(|e| in_full(&e))?;
    let own = world.store.secrets.values(app, &launch.run.env).map_err(|e| in_full(&e))?;
    let env = environment::of(launch, &world.layout.state(app), own);
    Ok(Order {
        version: VERSION,
        id: launch.id.clone(),
        command: launch.run.command.clone(),
        folder,
        env,
        user: launch.run.user.clone(),
        group: launch.run.group.clone(),
        open_files: world.config.open_files,
        limits: launch.run.limits,
        timeout_ms: None,
    })
}

async fn run_shim(world: &World, folder: &RunFolder, order: &Order) -> io::Result<Answer> {
    let mut shim = Command::new(&world.config.program)
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
    // The shim is buried when it ends, however much later that is; it does not end with us.
    let buried = tokio::spawn(async move {
        tokio::select! {
            _ = shim.wait() => {}
            Ok(()) = given_up => drop(shim.kill().await),
        }
    });
    match tokio::time::timeout(HANDSHAKE, shake_hands(stdin, stdout, order)).await {
        Ok(answer) => answer,
        Err(_) => {
            let _ = give_up.send(());
            let _ = buried.await;
            // It may have come so far that something runs: then that is found, and ended.
            if look(folder).await == Found::Used {
                return Ok(Answer::Taken);
            }
            let why = format!("it did not answer within {} s", HANDSHAKE.as_secs());
            Err(io::Error::other(why))
        }
    }
}

/// Gives the order, and hears the answer.
async fn shake_hands(
    mut stdin: ChildStdin,
    stdout: ChildStdout,
    order: &Order,
) -> io::Result<Answer> {
    stdin.write_all(&serde_json::to_vec(order)?).await?;
    drop(stdin);
    let mut text = String::new();
    BufReader::new(stdout).read_line(&mut text).await?;
    if text.is_empty() {
        return Err(io::Error::other("it ended without a word"));
    }
    Ok(serde_json::from_str(&text)?)
}
