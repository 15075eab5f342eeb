//! `segue plan`: what a deploy of the same words would do. Sends the list of files, and no file.

use wire::{Plan, Planned, PlannedRelease};

use super::deploy::{Packed, find, pack, read};
use super::inside::Outside;
use crate::args::{Connection, PlanOptions};
use crate::io::{BAD, BOLD, DIM, GOOD, WARN};
use crate::text::{hang, size};
use crate::{Exit, Failure, Io};

pub(crate) fn run(
    connection: &Connection,
    options: &PlanOptions,
    io: &mut Io<'_>,
) -> Result<Exit, Failure> {
    let PlanOptions { what, json: as_json } = options;
    let path = find(what.file.as_deref())?;
    let file = read(&path, Outside::flag(what.outside))?;
    let app = file.spec.app.clone();
    let act = format!("plan a deploy of {app}");
    let client = connection.client(&act)?;
    let Packed { request, dir: _, warnings } = pack(&path, file, what)?;
    let plan = client.plan(&app, &request).map_err(|error| Failure::client(act, &error))?;
    for warning in warnings {
        io.say(warning);
    }
    let exit = if refused(&plan) { Exit::Failed } else { Exit::Done };
    if *as_json {
        io.json(&plan);
        return Ok(exit);
    }
    for line in lines(&plan) {
        io.data(line);
    }
    Ok(exit)
}

/// Whether the deploy would be.
fn refused(plan: &Plan) -> bool {
    plan.release.kind == Planned::Taken || plan.conflict.is_some()
}

fn lines(plan: &Plan) -> Vec<String> {
    let Plan {
        app,
        release,
        live,
        files,
        uploads,
        upload_bytes,
        strategy,
        steps,
        changes,
        rollout,
        conflict,
        differs,
    } = plan;
    let mut lines = vec![format!("{BOLD}{app}{BOLD:#}"), String::new()];
    lines.extend(hang("release", &release_words(release, differs)));
    let live = live.as_ref().map_or_else(|| "nothing yet".into(), ToString::to_string);
    lines.extend(hang("live", &live));
    let sent = match uploads {
        0 => "the server has them all".into(),
        count => format!("{count} to upload, {}", size(*upload_bytes)),
    };
    lines.extend(hang("files", &format!("{files}, {sent}")));
    let differ = match changes.as_deref() {
        None => "not known: there is nothing to compare with".into(),
        Some([]) => "none".into(),
        Some(names) => names.join(", "),
    };
    lines.extend(hang("changes", &differ));
    lines.extend(hang("strategy", strategy));
    let steps = steps.iter().enumerate();
    lines.extend(steps.map(|(at, step)| format!("{:11}{DIM}{}.{DIM:#} {step}", "", at + 1)));
    if let Some(rollout) = rollout {
        let why = format!("rollout {rollout} is under way; a deploy would need --replace");
        lines.extend(hang("note", &format!("{WARN}{why}{WARN:#}")));
    }
    if let Some(conflict) = conflict {
        lines.extend(hang("note", &format!("{BAD}refused{BAD:#}: {conflict}")));
    }
    lines
}

fn release_words(release: &PlannedRelease, differs: &[String]) -> String {
    let PlannedRelease { label, kind } = release;
    let label = label.as_ref().map_or_else(|| "without a name yet".into(), ToString::to_string);
    let words = match kind {
        Planned::New => format!("{GOOD}new{GOOD:#}"),
        Planned::Stored => "stored already, would be started anew".into(),
        Planned::Live => format!("{GOOD}live already{GOOD:#}, there would be nothing to do"),
        Planned::Taken => {
            let differs = if differs.is_empty() { "content".into() } else { differs.join(", ") };
            format!("{BAD}refused{BAD:#}: the label belongs to a release with other {differs}")
        }
    };
    format!("{BOLD}{label}{BOLD:#}, {words}")
}
