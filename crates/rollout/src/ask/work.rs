//! Begins a work: a task of the live release on one of the hosts.

use alloc::boxed::Box;
use alloc::format;

use super::batch::FactBatch;
use super::{Answer, Desk};
use crate::decide::host_for_work;
use crate::{App, Fact, Task, WorkBegun};

/// Runs `task` once, with the files, the user and the variables of the live release.
pub(super) fn begin(desk: &Desk, task: &Task) -> Answer {
    let app = desk.app;
    let Some(release) = app.live.and_then(|live| app.releases.get(&live)) else {
        return Err(desk.refused("no release is live", "deploy one first"));
    };
    if task.command.is_empty() {
        return Err(desk.refused("the task has no command", "name one"));
    }
    if app.works.len() >= App::WORKS {
        let why = format!("{} tasks of it run already", App::WORKS);
        return Err(desk.refused(&why, "try again when one of them has ended"));
    }
    if let Some(holder) = app.holder(&task.name).filter(|_| task.needs_lease) {
        let why = format!("{} runs already, as {}", task.name, app.id(holder));
        return Err(desk.refused(&why, "try again when it has ended"));
    }
    let Some(host) = host_for_work(app, desk.seen, release) else {
        return Err(desk.refused("no host is there", "try again later"));
    };
    let token = task.needs_lease.then(|| app.last_token.next());
    let work = app.last_instance + 1;
    let begun = WorkBegun {
        work,
        release: release.no,
        host: host.clone(),
        task: task.clone(),
        token,
        at: desk.now,
    };
    let mut batch = FactBatch::new(app);
    batch.push(Fact::WorkBegun(Box::new(begun)))?;
    let note = format!("{} runs as {} on {host}", task.name, app.id(work));
    Ok(batch.accepted(None, Some(release.no), note))
}
