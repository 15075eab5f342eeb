//! Deletes files that the server no longer needs. A command lists what is kept. When the command comes, each
//! unneeded folder is renamed, so that nothing created later is deleted. The folder is deleted only after the
//! instances that use it have ended.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use model::{AppName, HostReport, InstanceId, Keep, Millis, ReleaseNo, Timestamp};
use tokio::sync::{mpsc, oneshot};

use crate::context::Context;
use crate::disk::on_disk;
use crate::instance_task;
use crate::release_files::label_of;
use crate::task_command::TaskCommand;

/// Instances and folders that one command no longer keeps.
pub(crate) struct Garbage {
    pub keep: Box<Keep>,
    pub instances: BTreeSet<InstanceId>,
    /// The folders that were set aside.
    folders: Vec<PathBuf>,
    /// True if a folder could not be set aside. Then the command is not carried out.
    failed: bool,
}

/// Finds everything that the command does not keep, and sets its folders aside. `with_task` are the instances
/// that have a task.
pub(crate) fn find<'a>(
    context: &Context,
    keep: Box<Keep>,
    with_task: impl Iterator<Item = &'a InstanceId>,
) -> Garbage {
    let app = &keep.app;
    let folders = names(context.layout.runs()).into_iter().filter_map(|name| name.parse().ok());
    let instances: BTreeSet<InstanceId> = folders
        .chain(with_task.cloned())
        .filter(|id: &InstanceId| id.app == *app && !keep.instances.contains(id))
        .collect();
    let needed = |no: ReleaseNo| keep.releases.iter().any(|(kept, _)| *kept == no);
    let releases = context.layout.releases(app);
    let unneeded = names(releases.clone())
        .into_iter()
        .filter(|name| name.parse().is_ok_and(|number| !needed(ReleaseNo(number))))
        .map(|name| releases.join(name));
    let state = context.layout.state(app);
    let forget = keep.forget_state.is_some_and(|at| is_nothing_newer(&state, at));
    let unneeded: Vec<PathBuf> = unneeded.chain(forget.then_some(state)).collect();
    let mut garbage = Garbage { instances, folders: Vec::new(), failed: false, keep };
    for folder in unneeded {
        match set_aside(&folder) {
            Ok(aside) => garbage.folders.push(aside),
            Err(e) => {
                tracing::warn!("cannot delete {}: {e}", folder.display());
                garbage.failed = true;
            }
        }
    }
    garbage
}

/// Returns whether the folder existed at that time. A folder created later, from a backup or for another app
/// of the same name, is not the one the command means. A folder without a recorded creation time counts as
/// old.
fn is_nothing_newer(folder: &Path, at: Timestamp) -> bool {
    let made = fs::symlink_metadata(folder).and_then(|found| found.created());
    let limit = SystemTime::UNIX_EPOCH + Duration::from_millis(at.0);
    datadir::is_there(folder) && made.map_or(true, |made| made <= limit)
}

/// Renames a folder to a temporary name. Nothing reads that name, and the next start deletes the folder.
fn set_aside(folder: &Path) -> io::Result<PathBuf> {
    let aside = datadir::temporary(folder);
    fs::rename(folder, &aside)?;
    match fs::remove_file(label_of(folder)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        Ok(()) | Err(_) => Ok(aside),
    }
}

/// Ends the instances that still run, deletes the garbage, and sends the report. Control repeats the command
/// until it gets the report, so a failed deletion is tried again.
pub(crate) async fn collect(
    context: Arc<Context>,
    garbage: Garbage,
    tasks: BTreeMap<InstanceId, Option<mpsc::Sender<TaskCommand>>>,
) {
    let collecting = context.collecting(&garbage.keep.app);
    let _exclusive = collecting.lock().await;
    let mut done = !garbage.failed;
    for (id, task) in tasks {
        let folder = context.layout.run(&id);
        if task.is_none() && !datadir::is_there(&folder) {
            // An earlier command has deleted the folder in the meantime.
            continue;
        }
        end(&context, &id, task).await;
        done &= delete("a run folder", move || datadir::remove_folder(&folder)).await;
    }
    let (shared, app) = (Arc::clone(&context), garbage.keep.app.clone());
    done &= delete("files", move || delete_files(&shared, &app, &garbage.folders)).await;
    if done {
        (context.report)(HostReport::Kept(garbage.keep));
    }
}

/// Waits until the instance has ended. Most instances have ended long before.
async fn end(context: &Arc<Context>, id: &InstanceId, task: Option<mpsc::Sender<TaskCommand>>) {
    let (reply, ended) = oneshot::channel();
    let commands = [TaskCommand::Stop(Millis(0)), TaskCommand::Finish(reply)];
    match task {
        Some(task) => {
            for command in commands {
                // A task that has ended early supervises no running instance.
                let _ = task.send(command).await;
            }
            let _ = ended.await;
        }
        None => {
            let (task, inbox) = mpsc::channel(2);
            commands.into_iter().for_each(|command| drop(task.try_send(command)));
            instance_task::run(Arc::clone(context), id.clone(), inbox).await;
        }
    }
}

fn delete_files(context: &Context, app: &AppName, folders: &[PathBuf]) -> io::Result<()> {
    for folder in folders {
        match fs::remove_dir_all(folder) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            Ok(()) | Err(_) => {}
        }
    }
    // The latest command counts, not the one that started this collection: a deploy may have come since.
    let Some(mut keep) = context.kept(app) else { return Ok(()) };
    let mut contents: BTreeSet<_> =
        keep.releases.iter().filter_map(|(_, content)| *content).collect();
    // An instance may be told to run before the command that names its release comes.
    if let Some(fetcher) = &context.fetcher {
        let (lists, values) = fetcher.in_use(app);
        contents.extend(lists);
        keep.env.extend(values);
    }
    let store = &context.store;
    store.content.keep_manifests(app, &contents)?;
    store.content.delete_unneeded_blobs()?;
    store.secrets.keep_only(&keep)?;
    if keep.is_nothing() {
        // The system refuses to remove a folder that is not empty. This protects kept state and the files of
        // a new deploy.
        for folder in [context.layout.releases(app), context.layout.state(app)] {
            let _ = fs::remove_dir(folder);
        }
        store.content.forget_folder(app);
    }
    Ok(())
}

/// Runs `work`, and returns whether it deleted everything.
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
