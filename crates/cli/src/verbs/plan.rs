//! `segue plan`: shows the effect of a deploy with the same options. Sends the list of files, but no file.

use model::PlannedHosts;
use wire::{DeployPlan, DeployRequest, DeployVerdict, Effect, EffectKind, Planned, PlannedRelease};

use super::deploy::{Packed, find, pack, read};
use super::outside_paths::Outside;
use crate::args::{ConnectionOptions, PlanOptions};
use crate::style::{BAD, BOLD, DIM, GOOD, WARN};
use crate::text::{hang, size};
use crate::{CommandError, ExitStatus, Io};

pub(crate) fn run(
    connection: &ConnectionOptions,
    options: &PlanOptions,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    let PlanOptions { what, replace, json: as_json } = options;
    let path = find(what.file.as_deref())?;
    let file = read(&path, Outside::flag(what.outside))?;
    let app = file.spec.app.clone();
    let act = format!("plan a deploy of {app}");
    let client = connection.client(&act)?;
    let Packed { request, dir: _, warnings } = pack(&path, file, what)?;
    let request = DeployRequest { replace: *replace, ..request };
    let plan = client.plan(&app, &request).map_err(|error| CommandError::client(act, &error))?;
    for warning in warnings {
        io.say(warning);
    }
    let exit = match plan.verdict {
        DeployVerdict::Accepted(_) => ExitStatus::Done,
        DeployVerdict::Refused(_) => ExitStatus::Failed,
    };
    if *as_json {
        io.json(&plan);
        return Ok(exit);
    }
    for line in lines(&plan) {
        io.data(line);
    }
    Ok(exit)
}

fn lines(plan: &DeployPlan) -> Vec<String> {
    let DeployPlan {
        app,
        release,
        live,
        files,
        uploads,
        upload_bytes,
        strategy,
        steps,
        hosts,
        changes,
        rollout: _,
        differs: _,
        verdict,
    } = plan;
    let mut lines = vec![format!("{BOLD}{app}{BOLD:#}"), String::new()];
    lines.extend(hang("release", &release_words(release)));
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
    if let Some(PlannedHosts { instances, left_out, may_fail: _ }) = hosts {
        let each = instances.iter().map(|(host, count)| format!("{count} on {host}"));
        lines.extend(hang("hosts", &each.collect::<Vec<_>>().join(", ")));
        lines.extend(
            left_out.iter().flat_map(|out| hang("left out", &format!("{}: {}", out.host, out.why))),
        );
    }
    lines.extend(hang("deploy", &verdict_words(verdict)));
    let (name, notes) = match verdict {
        DeployVerdict::Accepted(effect) => ("note", &effect.answer.warnings[..]),
        DeployVerdict::Refused(problem) => ("hint", problem.hint.as_slice()),
    };
    lines.extend(notes.iter().flat_map(|note| hang(name, note)));
    lines
}

fn release_words(release: &PlannedRelease) -> String {
    let PlannedRelease { label, kind } = release;
    let label = label.as_ref().map_or_else(|| "without a name yet".into(), ToString::to_string);
    let words = match kind {
        Planned::New => format!("{GOOD}new{GOOD:#}"),
        Planned::Stored => "stored already".into(),
        Planned::Live => "live already".into(),
        Planned::Taken => format!("{WARN}the label of a release with other content{WARN:#}"),
    };
    format!("{BOLD}{label}{BOLD:#}, {words}")
}

/// Returns the effect and the answer of the deploy as text.
fn verdict_words(verdict: &DeployVerdict) -> String {
    let Effect { kind, ends, answer } = match verdict {
        DeployVerdict::Accepted(effect) => effect,
        DeployVerdict::Refused(problem) => {
            return format!("{BAD}refused{BAD:#}: {}", problem.message);
        }
    };
    let rollout = answer.rollout.map_or_else(String::new, |rollout| format!(" {rollout}"));
    let does = match kind {
        EffectKind::Begins | EffectKind::Starts => Some(format!("begins rollout{rollout}")),
        EffectKind::Joins => Some(format!("follows rollout{rollout}")),
        EffectKind::Returns => None,
        EffectKind::Nothing => Some("does nothing".into()),
    };
    let ends = ends.map(|rollout| format!("ends rollout {rollout}"));
    let does: Vec<String> = ends.into_iter().chain(does).collect();
    format!("{}: {}", does.join(", "), answer.note)
}
