//! `segue down` without a server: ends every instance of a data folder. Deletes nothing.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use model::{AppName, Exit, InstanceId, Millis};
use tokio::task::JoinSet;

use crate::disk::on_disk;
use crate::layout::InstanceLayout;
use crate::orphans::clean_up;
use crate::procfs;
use crate::runfolder::RunFolder;
use crate::stop;

/// An instance that was running and has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoppedInstance {
    /// The instance's name.
    pub id: InstanceId,
    /// How it ended.
    pub exit: Exit,
}

/// Ends all instances of a data folder at the same time, with their whole process trees: sends SIGTERM, and
/// SIGKILL after `grace`. For use while no server runs on the folder. Returns the instances that were
/// running. Blocks, and must be called outside of any runtime.
///
/// # Errors
/// If the run folders cannot be listed.
pub fn stop_all(data: &Path, grace: Millis) -> io::Result<Vec<StoppedInstance>> {
    let layout = InstanceLayout::new(&std::path::absolute(data)?);
    let ids = all(&layout)?;
    let boot_id = procfs::boot_id();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut ended: Vec<StoppedInstance> = runtime.block_on(async {
        let mut stops = JoinSet::new();
        for id in ids {
            stops.spawn(stop_one(layout.clone(), boot_id.clone(), id, grace));
        }
        stops.join_all().await.into_iter().flatten().collect()
    });
    ended.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(ended)
}

/// Returns the number of running instances of a data folder. An instance counts as running if a shim holds
/// the lock of its run folder.
///
/// # Errors
/// If the run folders cannot be listed.
pub fn running(data: &Path) -> io::Result<u32> {
    let layout = InstanceLayout::new(&std::path::absolute(data)?);
    let held = |id: &InstanceId| matches!(RunFolder::at(&layout.run(id)).lives(), Ok(true));
    let count = all(&layout)?.iter().filter(|id| held(id)).count();
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Returns the highest number of an instance of each app that the data folder has kept anything of.
///
/// # Errors
/// If the run folders cannot be listed.
pub fn numbers(data: &Path) -> io::Result<BTreeMap<AppName, u64>> {
    let layout = InstanceLayout::new(&std::path::absolute(data)?);
    // They are in order, so the highest comes last.
    Ok(all(&layout)?.into_iter().map(|id| (id.app, id.number)).collect())
}

/// Returns the instances that have a run folder, in order.
fn all(layout: &InstanceLayout) -> io::Result<Vec<InstanceId>> {
    let entries = match std::fs::read_dir(layout.runs()) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut ids: Vec<InstanceId> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    ids.sort();
    Ok(ids)
}

/// Stops one instance; returns `None` if it had ended before.
async fn stop_one(
    layout: InstanceLayout,
    boot_id: String,
    id: InstanceId,
    grace: Millis,
) -> Option<StoppedInstance> {
    let folder = RunFolder::at(&layout.run(&id));
    let was_told = stop::stop(&folder, grace).await;
    on_disk(move || {
        if !was_told {
            let over = folder.exit().is_ok_and(|exit| exit.is_some());
            let begun = folder.process().is_ok_and(|process| process.is_some());
            if over || !begun {
                return None;
            }
        }
        let exit = clean_up(&layout, &boot_id, &id).exit;
        Some(StoppedInstance { id, exit })
    })
    .await?
}
