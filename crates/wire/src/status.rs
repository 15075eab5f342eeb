//! The JSON of an app's state.

use model::{
    Address, AppName, AppView, ArmView, Digest, Health, InstanceId, InstanceView, Label, Readiness,
    ReleaseView, RolloutView, Service, Stage, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::ReceiptWithCause;

/// An app's state, exactly as `status APP --json` prints it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The app.
    pub app: AppName,
    /// The release that gets production traffic.
    pub live: Option<ReleaseStatus>,
    /// The previous one, kept warm.
    pub standby: Option<ReleaseStatus>,
    /// The one a rollout is bringing in.
    pub candidate: Option<ReleaseStatus>,
    /// The rollout under way.
    pub rollout: Option<RolloutStatus>,
    /// Whether requests get the maintenance page.
    pub maintenance: bool,
    /// Whether a rollback would work at once.
    pub rollback: Rollback,
}

/// A release on offer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReleaseStatus {
    /// Its number.
    pub release: u32,
    /// Its label.
    pub label: Label,
    /// Its part of the traffic, from 0 to 1.
    pub share: f64,
    /// Its instances that are not Gone.
    pub instances: Vec<InstanceStatus>,
}

/// An instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// The instance's name.
    pub id: InstanceId,
    /// Its process, once it runs.
    pub pid: Option<u32>,
    /// Where it listens.
    pub address: Address,
    /// Its stage.
    pub stage: Stage,
    /// Its health.
    pub health: Health,
    /// Requests and tunnels in flight on it.
    pub in_flight: u32,
    /// Since when it has been too busy with requests to answer its probes, if it is; in milliseconds
    /// since 1970 (UTC). Its health stands meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy_since: Option<u64>,
}

/// A rollout under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutStatus {
    /// Its number.
    pub id: u32,
    /// The strategy's name, or `rollback`.
    pub strategy: String,
    /// The phase's name.
    pub phase: String,
    /// The candidate's share, from 0 to 1.
    pub share: f64,
    /// The sentence that says what it waits for.
    pub waiting_for: Option<String>,
}

/// The state of a possible rollback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollback {
    /// Whether a rollback needs one switch alone.
    pub ready: bool,
    /// The label of the release it goes to.
    pub to: Option<Label>,
    /// Why it is not ready.
    pub reason: Option<String>,
}

/// The API's answer about an app: its status, and information for people alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppInfo {
    /// Counts the app's facts; a command that carries it loses to whoever came first.
    pub version: u64,
    /// The state.
    pub status: Status,
    /// More about the rollout under way.
    pub progress: Option<RolloutProgress>,
    /// Reasons for which the app waits besides the rollout, as sentences.
    pub waiting: Vec<String>,
    /// As many instances as `segue scale` asked for, if it did.
    #[serde(default)]
    pub scale: Option<u16>,
    /// Whether the app is being removed.
    pub removing: bool,
    /// The account of the last rollout that has ended.
    #[serde(default)]
    pub last: Option<ReceiptWithCause>,
    /// Why nothing can be changed, if nothing can: this is what was last known then.
    #[serde(default)]
    pub read_only: Option<String>,
    /// Warnings about what works but should be changed, as sentences.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// How far a rollout is, and why it is going back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutProgress {
    /// How long the phase has lasted.
    pub phase_ms: u64,
    /// How long the rollout has lasted.
    pub rollout_ms: u64,
    /// The least time it can take as a whole, as far as anything was measured.
    #[serde(default)]
    pub at_least_ms: Option<u64>,
    /// The number of the current step or batch, from 1 on.
    #[serde(default = "first")]
    pub step: u16,
    /// How many there are.
    #[serde(default = "first")]
    pub steps: u16,
    /// Whether a person or a failure holds the rollout where it is.
    #[serde(default)]
    pub paused: bool,
    /// Why it is being taken back, if it is.
    pub cause: Option<String>,
}

/// An older server's rollouts have one step.
fn first() -> u16 {
    1
}

/// A stored release, as `releases --json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRelease {
    /// Its number.
    pub release: u32,
    /// Its label.
    pub label: Label,
    /// Names everything that makes the release.
    pub digest: Digest,
    /// When it was first deployed, in milliseconds since 1970 (UTC).
    pub created_ms: u64,
    /// Why it is marked bad, if it is.
    pub bad: Option<String>,
    /// When it last got users or lost them, in milliseconds since 1970 (UTC); `None` if it has had none,
    /// or if nobody wrote it down.
    #[serde(default)]
    pub served_ms: Option<u64>,
    /// Whether its files are kept, so that a rollback to it is possible. Files of a release that never had users
    /// are not kept.
    #[serde(default = "kept")]
    pub files: bool,
    /// The last output of the instance because of which the release never had users.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_words: Vec<String>,
}

/// An older server keeps the files of all.
fn kept() -> bool {
    true
}

impl AppInfo {
    /// The view as of `now`, which the sentences count from.
    pub fn new(view: &AppView, now: Timestamp) -> Self {
        let AppView {
            app,
            version,
            live,
            standby,
            candidate,
            rollout,
            rollback,
            waiting,
            releases: _, // asked for on their own
            receipts,
            maintenance,
            scale,
            removing,
        } = view;
        let status = Status {
            app: app.clone(),
            live: live.as_ref().map(ReleaseStatus::from),
            standby: standby.as_ref().map(ReleaseStatus::from),
            candidate: candidate.as_ref().map(ReleaseStatus::from),
            rollout: rollout.as_ref().map(|rollout| RolloutStatus::new(rollout, now)),
            maintenance: *maintenance,
            rollback: rollback.into(),
        };
        Self {
            version: *version,
            status,
            progress: rollout.as_ref().map(|rollout| RolloutProgress::new(rollout, now)),
            waiting: waiting.iter().map(|reason| reason.sentence(now)).collect(),
            scale: *scale,
            removing: *removing,
            last: receipts.last().map(ReceiptWithCause::from),
            read_only: None,
            warnings: Vec::new(),
        }
    }
}

impl From<&ArmView> for ReleaseStatus {
    fn from(arm: &ArmView) -> Self {
        let ArmView { release, label, share, instances } = arm;
        let instances = instances.iter().map(InstanceStatus::from).collect();
        Self { release: release.0, label: label.clone(), share: share.fraction(), instances }
    }
}

impl From<&InstanceView> for InstanceStatus {
    fn from(instance: &InstanceView) -> Self {
        let InstanceView { id, pid, address, stage, health, in_flight, busy_since } =
            instance.clone();
        let busy_since = busy_since.map(|since| since.0);
        Self { id, pid, address, stage, health, in_flight, busy_since }
    }
}

impl RolloutStatus {
    fn new(rollout: &RolloutView, now: Timestamp) -> Self {
        // The times, the step and the cause are in `RolloutProgress`.
        let RolloutView {
            id,
            strategy,
            phase,
            since: _,
            started: _,
            share,
            step: _,
            paused: _,
            at_least: _,
            waiting,
            cause: _,
        } = rollout;
        Self {
            id: id.0,
            strategy: strategy.clone(),
            phase: (*phase).to_owned(),
            share: share.fraction(),
            waiting_for: waiting.as_ref().map(|reason| reason.sentence(now)),
        }
    }
}

impl RolloutProgress {
    fn new(rollout: &RolloutView, now: Timestamp) -> Self {
        let (step, steps) = rollout.step;
        Self {
            phase_ms: now.since(rollout.since).0,
            rollout_ms: now.since(rollout.started).0,
            at_least_ms: rollout.at_least.map(|time| time.0),
            step,
            steps,
            paused: rollout.paused,
            cause: rollout.cause.clone(),
        }
    }
}

impl From<&Readiness> for Rollback {
    fn from(readiness: &Readiness) -> Self {
        match readiness {
            Readiness::Ready { to: _, label } => {
                Self { ready: true, to: Some(label.clone()), reason: None }
            }
            Readiness::NotReady(why) => {
                Self { ready: false, to: None, reason: Some(why.to_string()) }
            }
        }
    }
}

impl From<&ReleaseView> for StoredRelease {
    fn from(release: &ReleaseView) -> Self {
        let ReleaseView {
            no,
            label,
            digest,
            spec: _,
            content: _,
            created,
            bad,
            conventions: _,
            service,
        } = release.clone();
        let files = service.keeps_files();
        let (served_ms, last_words) = match service {
            Service::Unknown => (None, Vec::new()),
            Service::Served { last } => (Some(last.0), Vec::new()),
            Service::Never { last_words } => (None, last_words),
        };
        let (release, created_ms) = (no.0, created.0);
        Self { release, label, digest, created_ms, bad, served_ms, files, last_words }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Millis, Reason, ReleaseNo, RolloutId, Share, Waiting};

    #[test]
    fn the_status_has_the_shape_other_programs_rely_on() {
        let now = Timestamp(1_000_000);
        let instance = InstanceView {
            id: "web-3".parse().unwrap(),
            pid: Some(4711),
            address: "127.0.0.1:20003".parse().unwrap(),
            stage: Stage::Serving,
            health: Health::Up,
            in_flight: 2,
            busy_since: None,
        };
        let arm = |no, label: &str, share, instances| ArmView {
            release: ReleaseNo(no),
            label: label.parse().unwrap(),
            share,
            instances,
        };
        let view = AppView {
            app: "web".parse().unwrap(),
            version: 17,
            live: Some(arm(1, "v1", Share::ALL, vec![instance])),
            standby: None,
            candidate: Some(arm(2, "v2", Share::NONE, vec![])),
            rollout: Some(RolloutView {
                id: RolloutId(2),
                strategy: "blue-green".into(),
                phase: "starting",
                since: Timestamp(998_000),
                started: Timestamp(997_000),
                share: Share::NONE,
                step: (1, 1),
                paused: false,
                at_least: Some(Millis::from_secs(12)),
                waiting: Some(Reason {
                    waiting: Waiting::Instances {
                        release: "v2".parse().unwrap(),
                        ready: 0,
                        wanted: 1,
                        note: Some("GET /up answered 500".into()),
                    },
                    since: Timestamp(998_000),
                    until: Some(now.after(Millis::from_secs(28))),
                }),
                cause: None,
            }),
            rollback: Readiness::NotReady(model::NotReady::NoPrevious),
            waiting: vec![],
            releases: vec![],
            receipts: vec![],
            maintenance: false,
            scale: None,
            removing: false,
        };
        insta::assert_json_snapshot!(AppInfo::new(&view, now));
    }
}
