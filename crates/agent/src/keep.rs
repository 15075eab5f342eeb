//! Deletes what the server no longer needs. A command names what is to go, and each file or folder is moved out
//! of its place when the command comes, so that nothing made later is deleted. A file is deleted only after the
//! instances that use it have ended.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use model::{AppName, HostReport, InstanceId, Keep, Millis, ReleaseNo, Timestamp};
use tokio::sync::{mpsc, oneshot};

use crate::disk::on_disk;
use crate::life::{Ask, live};
use crate::release_files::label_of;
use crate::world::World;

/// The instances, folders and values that one command no longer keeps.
pub(crate) struct Doomed {
    pub keep: Box<Keep>,
    pub instances: BTreeSet<InstanceId>,
    /// Folders that have left their place.
    folders: Vec<PathBuf>,
    /// Something could not be taken out of its place: the command is not carried out.
    failed: bool,
}

/// Finds what the command does not keep. `attended` are the instances that have a task.
pub(crate) fn doomed<'a>(
    world: &World,
    keep: Box<Keep>,
    attended: impl Iterator<Item = &'a InstanceId>,
) -> Doomed {
    let app = &keep.app;
    let folders = names(world.layout.runs()).into_iter().filter_map(|name| name.parse().ok());
    let instances: BTreeSet<InstanceId> = folders
        .chain(attended.cloned())
        .filter(|id: &InstanceId| id.app == *app && !keep.instances.contains(id))
        .collect();
    let needed = |no: ReleaseNo| keep.releases.iter().any(|(kept, _)| *kept == no);
    let releases = world.layout.releases(app);
    let unneeded = names(releases.clone())
        .into_iter()
        .filter(|name| name.parse().is_ok_and(|number| !needed(ReleaseNo(number))))
        .map(|name| releases.join(name));
    let state = world.layout.state(app);
    let forget = keep.forget_state.is_some_and(|at| is_nothing_newer(&state, at));
    let unneeded: Vec<PathBuf> = unneeded.chain(forget.then_some(state)).collect();
    let mut doomed = Doomed { instances, folders: Vec::new(), failed: false, keep };
    for folder in unneeded {
        match take_away(&folder) {
            Ok(taken) => doomed.folders.push(taken),
            Err(e) => {
                tracing::warn!("cannot delete {}: {e}", folder.display());
                doomed.failed = true;
            }
        }
    }
    doomed
}

/// Returns whether the folder existed at that time. A folder made later, from a backup or for another app of that
/// name, is not the one the command means. A folder whose birth the file system does not record counts as old.
fn is_nothing_newer(folder: &Path, at: Timestamp) -> bool {
    let made = fs::symlink_metadata(folder).and_then(|found| found.created());
    let limit = SystemTime::UNIX_EPOCH + Duration::from_millis(at.0);
    datadir::is_there(folder) && made.map_or(true, |made| made <= limit)
}

/// Gives a folder a name under which nobody looks for it, and which a start clears away.
fn take_away(folder: &Path) -> io::Result<PathBuf> {
    let taken = datadir::temporary(folder);
    fs::rename(folder, &taken)?;
    match fs::remove_file(label_of(folder)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        Ok(()) | Err(_) => Ok(taken),
    }
}

/// Ends the instances that still run, deletes, and reports it. Control sends the command again until one report
/// says that it is done, so whatever fails is tried again.
pub(crate) async fn clear(
    world: Arc<World>,
    doomed: Doomed,
    lives: BTreeMap<InstanceId, Option<mpsc::Sender<Ask>>>,
) {
    let clearing = world.clearing(&doomed.keep.app);
    let _turn = clearing.lock().await;
    let mut done = !doomed.failed;
    for (id, task) in lives {
        let folder = world.layout.run(&id);
        if task.is_none() && !datadir::is_there(&folder) {
            // An earlier command has deleted it in the meantime.
            continue;
        }
        end(&world, &id, task).await;
        done &= delete("a run folder", move || datadir::remove_folder(&folder)).await;
    }
    let (shared, app) = (Arc::clone(&world), doomed.keep.app.clone());
    done &= delete("files", move || delete_files(&shared, &app, &doomed.folders)).await;
    if done {
        (world.report)(HostReport::Kept(doomed.keep));
    }
}

/// Waits until the instance has ended; most have long since.
async fn end(world: &Arc<World>, id: &InstanceId, task: Option<mpsc::Sender<Ask>>) {
    let (tell, told) = oneshot::channel();
    let asks = [Ask::Stop(Millis(0)), Ask::Leave(tell)];
    match task {
        Some(task) => {
            for ask in asks {
                // A task that broke off has nothing running that it knows of.
                let _ = task.send(ask).await;
            }
            let _ = told.await;
        }
        None => {
            let (task, inbox) = mpsc::channel(2);
            asks.into_iter().for_each(|ask| drop(task.try_send(ask)));
            live(Arc::clone(world), id.clone(), inbox).await;
        }
    }
}

fn delete_files(world: &World, app: &AppName, folders: &[PathBuf]) -> io::Result<()> {
    for folder in folders {
        match fs::remove_dir_all(folder) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            Ok(()) | Err(_) => {}
        }
    }
    // What the latest command says, not the one that began this: a deploy may have come since.
    let Some(keep) = world.kept(app) else { return Ok(()) };
    let contents = keep.releases.iter().filter_map(|(_, content)| *content).collect();
    let store = &world.store;
    store.content.keep_manifests(app, &contents)?;
    store.content.delete_unneeded_blobs()?;
    store.secrets.keep_only(&keep)?;
    if keep.is_nothing() {
        // Refused by the system if there is something in them: state that stays, or a new deploy.
        for folder in [world.layout.releases(app), world.layout.state(app)] {
            let _ = fs::remove_dir(folder);
        }
        store.content.forget_folder(app);
    }
    Ok(())
}

/// Deletes everything, and returns whether all of it is gone.
async fn delete(
    what: &'static str,
    work: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> bool {
    match on_disk(work).await {
        Some(Ok(())) => true,
        Some(Err(e)) => {
            tracing::warn!("cannot delete {what} that nothing needs any more: {e}");
            false
        }
        None => false,
    }
}

fn names(folder: PathBuf) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}
