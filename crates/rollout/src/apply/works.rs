//! Folds events of works: begun, running, told to end, ended. Touches no instance and no rollout.

use model::Timestamp;

use super::Folded;
use super::stored::forget_if_removed;
use crate::{App, Work, WorkBegun, WorkEnded, WorkStage};

pub(super) fn begin(app: &mut App, begun: &WorkBegun) -> Folded {
    let WorkBegun { work, release, host, task, token, at } = begun.clone();
    if !app.releases.contains_key(&release) {
        return Err("the release is not stored");
    }
    if app.removing.is_some() {
        return Err("the app is being removed");
    }
    if work != app.last_instance + 1 {
        return Err("a work's number does not follow the last one");
    }
    if task.needs_lease != token.is_some() {
        return Err("a lease was granted that nobody needs, or not granted");
    }
    if let Some(token) = token {
        if token != app.last_token.next() {
            return Err("a lease's number does not follow the last one");
        }
        if app.holder(&task.name).is_some() {
            return Err("the lease is held by another work");
        }
        app.last_token = token;
    }
    app.last_instance = work;
    let stage = WorkStage::Starting;
    app.works.insert(work, Work { release, host, task, token, stage, since: at });
    Ok(())
}

pub(super) fn runs(app: &mut App, number: u64, at: Timestamp) -> Folded {
    move_on(app, number, WorkStage::Running, at)
}

pub(super) fn stop(app: &mut App, number: u64, at: Timestamp) -> Folded {
    move_on(app, number, WorkStage::Ending, at)
}

pub(super) fn end(app: &mut App, ended: &WorkEnded) -> Folded {
    app.works.remove(&ended.work).ok_or("there is no such work")?;
    app.remembered_works.push_back(ended.work);
    while app.remembered_works.len() > App::REMEMBERED {
        app.remembered_works.pop_front();
    }
    forget_if_removed(app);
    Ok(())
}

fn move_on(app: &mut App, number: u64, stage: WorkStage, at: Timestamp) -> Folded {
    let work = app.works.get_mut(&number).ok_or("there is no such work")?;
    if work.stage >= stage {
        return Err("the work is at a later stage");
    }
    (work.stage, work.since) = (stage, at);
    Ok(())
}
