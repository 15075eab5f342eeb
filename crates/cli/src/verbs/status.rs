//! `segue status`: shows the live release, the rollout under way, and whether a rollback is ready.

use std::time::Duration;

use model::{AppName, Health, HostId, Millis, Outcome, Stage};
use wire::{
    ApiClient, AppInfo, InstanceStatus, LeftState, ReceiptWithCause, ReleaseStatus, Rollback,
    RolloutProgress, RolloutStatus, Status,
};

use crate::args::{ConnectionOptions, StatusOptions};
use crate::interrupt::Interrupt;
use crate::style::{BAD, BOLD, DIM, GOOD, WARN};
use crate::text::{TableCell, field, hang, own_words, percent, step_of, table, wrap};
use crate::{CommandError, ExitStatus, Io};

/// The time between two updates of `--watch`.
const EVERY: Duration = Duration::from_secs(1);
/// The time between two checks for Ctrl-C.
const LOOK: Duration = Duration::from_millis(50);

pub(crate) fn run(
    connection: &ConnectionOptions,
    options: &StatusOptions,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    let StatusOptions { app, watch, json } = options;
    let act = match app {
        Some(app) => format!("show {app}"),
        None => "show the apps".into(),
    };
    let client = connection.client(&act)?;
    let interrupt = if *watch { Interrupt::listen() } else { Interrupt::default() };
    loop {
        let seen = look(&client, app.as_ref()).map_err(|e| CommandError::client(&*act, &e))?;
        match (&seen, *json) {
            (Seen::All(apps, _), true) => {
                io.json(&apps.iter().map(|app| &app.status).collect::<Vec<_>>());
            }
            (Seen::One(app), true) => io.json(&app.status),
            (seen, false) => {
                if *watch {
                    io.anew();
                }
                io.data(match seen {
                    Seen::All(apps, states) => {
                        let mut lines = vec![list(apps)];
                        lines.extend(left(states));
                        lines.join("\n")
                    }
                    Seen::One(app) => one(app).join("\n"),
                });
            }
        }
        for _ in 0..EVERY.as_millis() / LOOK.as_millis() {
            if !*watch || interrupt.asked() {
                return Ok(ExitStatus::Done);
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// The answer of the API: all apps, or one.
enum Seen {
    All(Vec<AppInfo>, Vec<LeftState>),
    One(Box<AppInfo>),
}

fn look(client: &ApiClient, app: Option<&AppName>) -> Result<Seen, wire::ClientError> {
    match app {
        None => Ok(Seen::All(client.apps()?, client.left_state()?)),
        Some(app) => client.app(app).map(|app| Seen::One(Box::new(app))),
    }
}

/// Lists all apps, one line each.
fn list(apps: &[AppInfo]) -> String {
    if apps.is_empty() {
        return "no apps yet; `segue deploy` brings in the first".into();
    }
    let head = ["APP", "LIVE", "STANDBY", "UP", "ROLLOUT", "ROLLBACK"];
    let mut rows: Vec<Vec<TableCell>> =
        vec![head.map(|text| TableCell::new(text).style(DIM)).into()];
    for app in apps {
        let status = &app.status;
        let label = |arm: &Option<ReleaseStatus>| {
            arm.as_ref().map_or_else(|| "-".into(), |a| a.label.to_string())
        };
        let paused = app.progress.as_ref().is_some_and(|progress| progress.paused);
        let rollout = match &status.rollout {
            Some(rollout) if paused => format!("{} {}, paused", rollout.id, rollout.phase),
            Some(rollout) => format!("{} {}", rollout.id, rollout.phase),
            None if app.removing => "being removed".into(),
            None => "-".into(),
        };
        rows.push(vec![
            TableCell::new(status.app.to_string()).style(BOLD),
            label(&status.live).into(),
            label(&status.standby).into(),
            up(status.live.as_ref()),
            rollout.into(),
            if status.rollback.ready {
                TableCell::new("ready").style(GOOD)
            } else {
                TableCell::new("not ready").style(WARN)
            },
        ]);
    }
    let mut lines = table(0, &rows);
    lines.extend(apps.iter().find_map(|app| app.read_only.as_deref()).into_iter().flat_map(frozen));
    lines.join("\n")
}

/// Lists the state that removed apps have left behind. Lines are not wrapped, because people copy the paths
/// and commands.
fn left(states: &[LeftState]) -> Vec<String> {
    let line = |LeftState { app, path }: &LeftState| {
        field("state", &format!("{app}, which is removed: {}", path.display()))
    };
    let mut lines: Vec<String> = states.iter().map(line).collect();
    if let Some(LeftState { app, path: _ }) = states.first() {
        let text = format!("`segue remove {app} --with-state --yes` deletes it");
        lines.push(format!("{GOOD}hint:{GOOD:#} {text}"));
    }
    lines
}

/// Returns a warning that the state shown may be outdated.
fn frozen(why: &str) -> Vec<String> {
    let text =
        format!("{WARN}nothing can be changed, and this is what was last known{WARN:#}: {why}");
    hang("note", &text)
}

/// Returns the number of healthy instances of an arm.
fn up(arm: Option<&ReleaseStatus>) -> TableCell {
    let Some(arm) = arm else { return "-".into() };
    let well = arm.instances.iter().filter(|i| i.health == Health::Up).count();
    let style = if well == arm.instances.len() { GOOD } else { BAD };
    TableCell::new(format!("{well}/{}", arm.instances.len())).style(style)
}

/// Shows one app in full.
fn one(app: &AppInfo) -> Vec<String> {
    let AppInfo {
        version: _,
        status,
        progress,
        waiting,
        scale,
        removing,
        owed,
        last,
        read_only,
        warnings,
    } = app;
    let Status { app: name, live, standby, candidate, rollout, maintenance, rollback } = status;
    let mut lines = vec![headline(name, *scale, *removing, *maintenance)];
    for (role, arm) in [("live", live), ("standby", standby), ("candidate", candidate)] {
        match arm {
            Some(arm) => lines.extend(block(role, arm)),
            None if role == "live" => lines.extend(["".into(), field(role, "nothing yet")]),
            None => {}
        }
    }
    lines.push(String::new());
    if let Some(rollout) = rollout {
        lines.extend(progress_lines(rollout, progress.as_ref()));
    }
    lines.extend(way_back(rollback));
    lines.extend(last.iter().flat_map(last_failure));
    for sentence in waiting {
        lines.extend(hang("note", sentence));
    }
    if !owed.is_empty() {
        let hosts: Vec<String> = owed.iter().map(ToString::to_string).collect();
        let hosts = hosts.join(", ");
        lines.extend(hang("note", &format!("instances are stopped on {hosts} once heard again")));
    }
    for sentence in warnings {
        lines.extend(hang("warning", sentence));
    }
    lines.extend(read_only.as_deref().into_iter().flat_map(frozen));
    lines
}

fn headline(name: &AppName, scale: Option<u16>, removing: bool, maintenance: bool) -> String {
    let mut line = format!("{BOLD}{name}{BOLD:#}");
    if let Some(count) = scale {
        line += &format!("  scaled to {count}");
    }
    if removing {
        line += &format!("  {WARN}is being removed{WARN:#}");
    }
    if maintenance {
        line += &format!("  {WARN}in maintenance{WARN:#}");
    }
    line
}

/// Shows a release and its instances.
fn block(role: &str, arm: &ReleaseStatus) -> Vec<String> {
    let ReleaseStatus { release, label, share, instances } = arm;
    let share = percent(*share);
    let title = format!("{BOLD}{label}{BOLD:#} (#{release}), {share} of the traffic");
    let mut lines = vec![String::new(), field(role, &title)];
    if instances.is_empty() {
        lines.push(format!("{:11}{DIM}no instances{DIM:#}", ""));
        return lines;
    }
    let head = ["INSTANCE", "PID", "ADDRESS", "STAGE", "HEALTH"];
    let mut head: Vec<TableCell> = head.map(|text| TableCell::new(text).style(DIM)).into();
    head.push(TableCell::new("IN FLIGHT").style(DIM).right());
    let mut rows: Vec<Vec<TableCell>> =
        std::iter::once(head).chain(instances.iter().map(row)).collect();
    // Where all run on the server's own host, nobody need be told so.
    if instances.iter().any(|instance| instance.host != HostId::local()) {
        let hosts = instances.iter().map(|instance| TableCell::new(instance.host.to_string()));
        let hosts = std::iter::once(TableCell::new("HOST").style(DIM)).chain(hosts);
        rows.iter_mut().zip(hosts).for_each(|(row, host)| row.insert(1, host));
    }
    lines.extend(table(11, &rows));
    lines
}

fn row(instance: &InstanceStatus) -> Vec<TableCell> {
    let InstanceStatus { id, host: _, pid, address, stage, health, in_flight, busy_since } =
        instance;
    let (stage, stage_style) = match stage {
        Stage::Joining => ("joining", WARN),
        Stage::Serving => ("serving", GOOD),
        Stage::Draining => ("draining", WARN),
        Stage::Gone => ("gone", DIM),
    };
    let (health, health_style) = match health {
        Health::Up if busy_since.is_some() => ("up, busy", WARN),
        Health::Unknown if busy_since.is_some() => ("unknown, busy", WARN),
        Health::Unknown => ("unknown", WARN),
        Health::Up => ("up", GOOD),
        Health::Down => ("down", BAD),
    };
    vec![
        id.to_string().into(),
        pid.map_or_else(|| "-".into(), |pid| pid.to_string()).into(),
        address.to_string().into(),
        TableCell::new(stage).style(stage_style),
        TableCell::new(health).style(health_style),
        TableCell::new(in_flight.to_string()).right(),
    ]
}

fn progress_lines(rollout: &RolloutStatus, progress: Option<&RolloutProgress>) -> Vec<String> {
    let RolloutStatus { id, strategy, phase, share, waiting_for } = rollout;
    let mut text = format!("{id}, {strategy}, {BOLD}{phase}{BOLD:#}");
    if *share > 0.0 && *share < 1.0 {
        text += &format!(" at {}", percent(*share));
    }
    if let Some(RolloutProgress { phase_ms, rollout_ms, at_least_ms, .. }) = progress {
        text += &format!(" for {}, {} in all", Millis(*phase_ms), Millis(*rollout_ms));
        if let Some(ms) = at_least_ms {
            text += &format!(" ({} at least)", Millis(*ms));
        }
    }
    let mut lines = vec![field("rollout", &text)];
    if let Some(text) = progress.and_then(|progress| how_far(strategy, progress)) {
        lines.push(format!("{:11}{text}", ""));
    }
    if let Some(sentence) = waiting_for {
        lines.extend(wrap(11, sentence));
    }
    if let Some(cause) = progress.and_then(|progress| progress.cause.as_ref()) {
        lines.extend(hang("going back", cause));
    }
    lines
}

/// Returns the step or batch of a rollout that has several, and whether the rollout is held.
fn how_far(strategy: &str, progress: &RolloutProgress) -> Option<String> {
    let step = (progress.steps > 1).then(|| step_of(strategy, (progress.step, progress.steps)));
    let paused = progress.paused.then(|| format!("{WARN}paused{WARN:#}"));
    let parts: Vec<String> = step.into_iter().chain(paused).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Returns the reason why the last rollout did not complete, if it did not.
fn last_failure(last: &ReceiptWithCause) -> Vec<String> {
    let ReceiptWithCause { receipt, cause } = last;
    if receipt.outcome == Outcome::Completed {
        return Vec::new();
    }
    let (to, outcome) = (&receipt.to, receipt.outcome);
    let mut words = cause.as_deref().unwrap_or_default().lines();
    let first = words.next().unwrap_or_default();
    let mut lines = hang("last", &format!("{to} {outcome}: {first}"));
    lines.extend(words.map(|line| format!("{:11}| {}", "", own_words(line))));
    lines
}

fn way_back(rollback: &Rollback) -> Vec<String> {
    let Rollback { ready, to, reason } = rollback;
    let to = to.as_ref().map_or_else(|| "the release before".into(), ToString::to_string);
    if *ready {
        let without = reason.as_ref().map(|without| format!(", {without}")).unwrap_or_default();
        let text = format!("{GOOD}ready{GOOD:#}, one switch to {to}{without}");
        return vec![field("rollback", &text)];
    }
    let reason = reason.as_deref().unwrap_or("the reason is not known");
    hang("rollback", &format!("not ready: {reason}"))
}
