//! `segue down` without a server: ends every instance of a data folder. Deletes nothing.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use model::{Exit, InstanceId, Millis};

use crate::attach::{KNOCK_AGAIN, socket_path};
use crate::hung::{LAST, PATIENCE, end_shim};
use crate::layout::Layout;
use crate::procfs;
use crate::protocol::{Request, line};
use crate::runfolder::RunFolder;
use crate::survivors::settle;

/// An instance that was running and has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub id: InstanceId,
    /// How.
    pub exit: Exit,
}

/// Ends all instances of a data folder at the same time, with their whole trees: SIGTERM, after
/// `grace` SIGKILL. For use while no server runs on the folder. Returns those that were running.
///
/// # Errors
/// If the run folders cannot be listed.
pub fn stop_all(data: &Path, grace: Millis) -> io::Result<Vec<Ended>> {
    let layout = Layout::new(&std::path::absolute(data)?);
    let ids = all(&layout)?;
    let boot_id = procfs::boot_id();
    let ended = std::thread::scope(|scope| {
        let stop = |id: InstanceId| {
            let (layout, boot_id) = (&layout, boot_id.as_str());
            scope.spawn(move || stop(layout, boot_id, id, grace))
        };
        let threads: Vec<_> = ids.into_iter().map(stop).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok().flatten()).collect()
    });
    Ok(ended)
}

/// How many instances of a data folder run, by their shims: each holds the lock of its run folder.
///
/// # Errors
/// If the run folders cannot be listed.
pub fn running(data: &Path) -> io::Result<u32> {
    let layout = Layout::new(&std::path::absolute(data)?);
    let held = |id: &InstanceId| matches!(RunFolder::at(&layout.run(id)).try_lock(), Ok(None));
    let count = all(&layout)?.iter().filter(|id| held(id)).count();
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The instances that have a run folder, in order.
fn all(layout: &Layout) -> io::Result<Vec<InstanceId>> {
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

/// `None` if it had ended before.
fn stop(layout: &Layout, boot_id: &str, id: InstanceId, grace: Millis) -> Option<Ended> {
    let folder = RunFolder::at(&layout.run(&id));
    // A shim that is just starting finds the tombstone; one that runs is told below.
    let _ = folder.tombstone();
    let mut since = Instant::now();
    loop {
        if tell(folder.path(), grace).is_ok() {
            break;
        }
        match folder.try_lock() {
            // Somebody is there, but does not answer yet, or not any more.
            Ok(None) => {
                if since.elapsed() >= PATIENCE {
                    end_shim(&folder);
                    since = Instant::now();
                }
                std::thread::sleep(KNOCK_AGAIN);
            }
            Ok(Some(_)) | Err(_) => {
                let over = folder.exit().is_ok_and(|exit| exit.is_some());
                let begun = folder.process().is_ok_and(|process| process.is_some());
                if over || !begun {
                    return None;
                }
                break;
            }
        }
    }
    let exit = settle(layout, boot_id, &id).exit;
    Some(Ended { id, exit })
}

/// Tells the shim, and waits until it hangs up. An error if it does not answer in time.
fn tell(folder: &Path, grace: Millis) -> io::Result<()> {
    let (path, _folder) = socket_path(folder)?;
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&line(&Request::Stop { grace_ms: grace.0 }))?;
    let mut lines = BufReader::new(stream);
    let mut text = String::new();
    // Its greeting, and that it has heard.
    for _ in 0..2 {
        lines.read_line(&mut text)?;
    }
    lines.get_ref().set_read_timeout(Some(grace.to_duration().saturating_add(LAST)))?;
    while lines.read_line(&mut text)? > 0 {
        text.clear();
    }
    Ok(())
}
