//! Turns facts into sentences for people who follow a rollout.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use model::{BudgetSpent, HostId, Millis, Outcome, ReleaseNo, RolloutEvent, Share};

use crate::ladder::{rung, rungs};
use crate::reach::hosts;
use crate::{App, DrainCause, EndCause, Fact, ReleasedBy, RolloutKind, Spread};

/// Returns the event for `fact`, once the fact is applied to `app`.
pub fn event(app: &App, fact: &Fact) -> RolloutEvent {
    let ended = if let Fact::Ended { receipt, .. } = fact {
        Some((receipt.rollout, receipt.outcome))
    } else {
        None
    };
    let rollout = ended.map(|(id, _)| id).or(app.rollout.as_ref().map(|rollout| rollout.id));
    RolloutEvent {
        at: fact.at(),
        app: app.name.clone(),
        rollout,
        text: sentence(app, fact),
        outcome: ended.map(|(_, outcome)| outcome),
    }
}

fn sentence(app: &App, fact: &Fact) -> String {
    match fact {
        Fact::Started(started) => {
            let to = app.label(started.to);
            let from = started.from.map(|from| app.label(from));
            match (started.kind, from) {
                (RolloutKind::Deploy, None) => format!("deploying {to}, the first release"),
                (RolloutKind::Deploy, Some(from)) => format!("deploying {to} beside {from}"),
                (RolloutKind::Restart, _) => format!("restarting {to}"),
                (RolloutKind::Start, _) => format!("starting what {to} lacks"),
                (RolloutKind::Rollback, _) => {
                    format!("rolling back to {to} from {}", name(app, started.from))
                }
            }
        }
        Fact::Minted { release, instances, .. } => {
            let count = instances.len();
            let first = instances.first().map(|m| m.address.to_string()).unwrap_or_default();
            let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
            format!(
                "starting {} of {} on {first}{more}",
                counted(count, "instance"),
                app.label(*release)
            )
        }
        Fact::Serving { instance, probes, .. } => {
            format!(
                "{} is healthy ({} in a row)",
                app.id(*instance),
                counted(*probes as usize, "good probe")
            )
        }
        Fact::Doomed { instance, down: Millis(0), .. } => {
            format!("another takes the place of {}", app.id(*instance))
        }
        Fact::Doomed { instance, down, .. } => {
            format!("{} has been down for {down}: another takes its place", app.id(*instance))
        }
        Fact::Draining { instances, cause, .. } => {
            let why = match cause {
                DrainCause::NotNeeded => "they are not needed any more",
                DrainCause::NeverHealthy => "they were not healthy in time",
                DrainCause::Replaced => "others have taken their place",
                DrainCause::Restarted => "others start once they have ended",
                DrainCause::HostDrained => "their host is drained",
                DrainCause::HostAside => "the rollout goes on without their host",
            };
            format!("draining {}: {why}", counted(instances.len(), "instance"))
        }
        Fact::Released { instance, by: ReleasedBy::Idle, .. } => {
            format!("{} is idle, stopping it", app.id(*instance))
        }
        Fact::Released { instance, by: ReleasedBy::Deadline { in_flight }, .. } => {
            let id = app.id(*instance);
            format!("{id} has had its time, stopping it with {in_flight} requests in flight")
        }
        Fact::NumbersSkipped { to, .. } => {
            format!("going on behind {}: hosts know numbers that the journal does not", app.id(*to))
        }
        Fact::Owed { instances, .. } => {
            let count = counted(instances.len(), "instance");
            let hosts = listed(&hosts(instances.iter().filter_map(|n| app.instances.get(n))));
            format!("{count} on {hosts} will be stopped when the host is heard again")
        }
        Fact::Gone { instance, exit, address_in_use, .. } => {
            let id = app.id(*instance);
            match (exit, address_in_use) {
                (_, true) => format!("{id} found its port taken by another program"),
                (Some(exit), false) => format!("{id} {exit}"),
                (None, false) => format!("{id} could not be started"),
            }
        }
        Fact::AddressesFreed { instances, .. } => {
            format!("the addresses of {} are free", counted(instances.len(), "ended instance"))
        }
        Fact::Ready { ready, .. } => {
            format!(
                "ready: {} healthy; `segue promote` switches",
                counted(usize::from(*ready), "instance")
            )
        }
        Fact::Shifted { share: Share::NONE, .. } => {
            let back = name(app, app.live);
            format!("switching all of the traffic back to {back}")
        }
        Fact::Shifted { share, .. } => {
            let to = name(app, app.rollout.as_ref().map(|rollout| rollout.to));
            format!("switching {share} of the traffic to {to}")
        }
        Fact::Acknowledged { took, spread: None, .. } => {
            format!("switched in {took}, on every worker")
        }
        Fact::Acknowledged { took, spread: Some(Spread { proxies, skew, .. }), .. } => {
            format!("switched in {took}, on every worker of {proxies} proxies, {skew} apart")
        }
        Fact::Stepped { rung: number, .. } => match &app.rollout {
            Some(rollout) => {
                let (next, all) = (rung(app, rollout, *number).share, rungs(app, rollout));
                format!("step {number} of {all}: on to {next}")
            }
            None => format!("step {number}"),
        },
        Fact::Paused { because: None, .. } => "held: `segue resume` goes on".into(),
        Fact::Paused { because: Some(why), .. } => {
            format!("held: {why}\n`segue resume` goes on, `segue abort` goes back")
        }
        Fact::Resumed { .. } => "going on".into(),
        Fact::HostAside { aside, .. } => {
            let budget = app.rollout.as_ref().map(|rollout| rollout.budget.account());
            let BudgetSpent { spent, of } = budget.unwrap_or(BudgetSpent { spent: 0, of: 0 });
            format!("putting {aside} aside: {spent} of {of} hosts that may fail")
        }
        Fact::LossConfirmed { .. } => "the silent hosts count as lost".into(),
        Fact::Scaled { replicas: Some(count), .. } => {
            format!("scaled to {}", counted(usize::from(*count), "instance"))
        }
        Fact::Scaled { replicas: None, .. } => "as many instances as its file says".into(),
        Fact::Synced { .. } => {
            let live = name(app, app.live);
            format!("bringing the standby to {live}")
        }
        Fact::Maintained { on: Some(_), .. } => format!("{} is closed for its users", app.name),
        Fact::Maintained { on: None, .. } => format!("{} is open again", app.name),
        Fact::Settled { .. } if app.rollout.as_ref().is_some_and(|r| r.kind.renews()) => {
            let live = name(app, app.live);
            format!("{live} has all of its instances")
        }
        Fact::Settled { cause: Some(cause), .. } => {
            let live = name(app, app.live);
            let from = app.rollout.as_ref().and_then(|rollout| rollout.from);
            let no_better = from.map(|from| format!(", {} is no better", app.label(from)));
            format!("{live} stays live as it is{}: {cause}", no_better.unwrap_or_default())
        }
        Fact::Settled { cause: None, .. } => {
            let live = name(app, app.live);
            match app.standby {
                Some(standby) => {
                    format!("{live} stays; {} is kept warm as standby", app.label(standby.release))
                }
                None => format!("{live} stays; no standby is kept"),
            }
        }
        Fact::Reverting { cause, .. } => format!("taking it back: {cause}"),
        Fact::Kept { cause, .. } => {
            let live = name(app, app.live);
            format!("{live} stays live as it is: {cause}")
        }
        Fact::Ended { receipt, .. } => {
            let (to, outcome) = (&receipt.to, receipt.outcome);
            let ended = match (&receipt.cause, outcome) {
                (_, Outcome::Completed) => format!("{to} is live"),
                (Some(cause), _) => format!("{outcome}: {cause}"),
                (None, _) => outcome.to_string(),
            };
            let owed = (!receipt.owed.is_empty()).then(|| {
                let hosts = listed(&receipt.owed);
                format!("on {hosts}, instances are stopped when the host is heard again")
            });
            let parts: Vec<String> =
                [ended].into_iter().chain(owed).chain(receipt.elsewhere()).collect();
            parts.join("; ")
        }
        Fact::StandbyRetired { release, .. } => {
            format!("the time of the standby {} is up", app.label(*release))
        }
        Fact::WorkBegun(begun) => {
            format!("running {} as {} on {}", begun.task.name, app.id(begun.work), begun.host)
        }
        Fact::WorkRuns { work, .. } => format!("{} runs", app.id(*work)),
        Fact::WorkStopped { work, cause: EndCause::TimeUp, .. } => {
            format!("the time of {} is up, ending it", app.id(*work))
        }
        Fact::WorkStopped { work, cause: EndCause::AppRemoved, .. } => {
            format!("ending {} with its app", app.id(*work))
        }
        Fact::WorkEnded(ended) => match ended.exit {
            Some(exit) => format!("{} {exit}", app.id(ended.work)),
            None => format!("{} could not be started", app.id(ended.work)),
        },
        Fact::Removing { with_state: false, .. } => format!("removing {}", app.name),
        Fact::Removing { with_state: true, .. } => format!("removing {} with its state", app.name),
    }
}

/// Returns the label of a release, if there is one.
fn name(app: &App, release: Option<ReleaseNo>) -> String {
    release.map_or_else(|| "nothing".into(), |release| app.label(release).to_string())
}

/// Returns names with commas between them.
fn listed(hosts: &[HostId]) -> String {
    let names: Vec<&str> = hosts.iter().map(HostId::as_str).collect();
    names.join(", ")
}

fn counted(n: usize, noun: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {noun}{s}")
}
