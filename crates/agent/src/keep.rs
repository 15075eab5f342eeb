//! Deleting what is no longer needed. What is to go is named when the command comes, so nothing that
//! comes later is among it; and nothing goes before its instances have ended.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use model::{AppName, Digest, InstanceId, Millis, ReleaseNo};
use tokio::sync::{mpsc, oneshot};

use crate::agent::World;
use crate::life::{Ask, live, on_disk};
use crate::materialise::{label_of, remove};

/// What is to go.
pub(crate) struct Doomed {
    pub instances: BTreeSet<InstanceId>,
    app: AppName,
    releases: Vec<PathBuf>,
    keep_releases: BTreeSet<u32>,
    keep_contents: BTreeSet<Digest>,
    /// Nothing of the app is kept.
    whole_app: bool,
}

/// Finds what is to go. `attended` are the instances that have a task.
pub(crate) fn doomed<'a>(
    world: &World,
    app: AppName,
    releases: Vec<(ReleaseNo, Option<Digest>)>,
    instances: &[InstanceId],
    attended: impl Iterator<Item = &'a InstanceId>,
) -> Doomed {
    let keep_releases: BTreeSet<u32> = releases.iter().map(|(no, _)| no.0).collect();
    let folders = names(world.layout.runs()).into_iter().filter_map(|name| name.parse().ok());
    let gone: BTreeSet<InstanceId> = folders
        .chain(attended.cloned())
        .filter(|id: &InstanceId| id.app == app && !instances.contains(id))
        .collect();
    let unneeded =
        |name: &String| name.parse::<u32>().is_ok_and(|number| !keep_releases.contains(&number));
    let folder = world.layout.releases(&app);
    Doomed {
        releases: names(folder.clone())
            .into_iter()
            .filter(unneeded)
            .map(|name| folder.join(name))
            .collect(),
        instances: gone,
        app,
        keep_contents: releases.iter().filter_map(|(_, content)| *content).collect(),
        whole_app: releases.is_empty() && instances.is_empty(),
        keep_releases,
    }
}

/// Ends what still runs, then deletes. What cannot be deleted now goes with the next command.
pub(crate) async fn clear(
    world: Arc<World>,
    doomed: Doomed,
    lives: BTreeMap<InstanceId, Option<mpsc::Sender<Ask>>>,
) {
    let _turn = world.clearing.lock().await;
    for (id, task) in lives {
        let folder = world.layout.run(&id);
        if task.is_none() && !folder.exists() {
            // An earlier command has deleted it in the meantime.
            continue;
        }
        end(&world, &id, task).await;
        delete("a run folder", move || remove(&folder)).await;
    }
    let shared = Arc::clone(&world);
    delete("files", move || delete_files(&shared, &doomed)).await;
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

fn delete_files(world: &World, doomed: &Doomed) -> io::Result<()> {
    let Doomed { app, .. } = doomed;
    for folder in &doomed.releases {
        remove(folder)?;
        match fs::remove_file(label_of(folder)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            Ok(()) | Err(_) => {}
        }
    }
    world.content.keep_manifests(app, &doomed.keep_contents)?;
    world.content.delete_unneeded_blobs()?;
    if !doomed.whole_app {
        return world.secrets.keep_only(app, &doomed.keep_releases);
    }
    world.secrets.forget(app)?;
    remove(&world.layout.state(app))?;
    // Refused by the system if there is something in them again: then a new deploy has begun.
    for folder in [world.layout.releases(app), world.layout.manifests(app), world.layout.app(app)] {
        let _ = fs::remove_dir(folder);
    }
    Ok(())
}

async fn delete(what: &'static str, work: impl FnOnce() -> io::Result<()> + Send + 'static) {
    if let Some(Err(e)) = on_disk(work).await {
        tracing::warn!("cannot delete {what} that nothing needs any more: {e}");
    }
}

fn names(folder: PathBuf) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}
