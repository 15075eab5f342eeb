//! The JSON of an app's state.

use model::{
    Address, AppName, AppView, ArmView, Digest, Health, HostId, InstanceId, InstanceView, Label,
    Readiness, ReleaseView, RolloutView, Service, Stage, Timestamp,
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
    /// The previous release, kept running for a rollback.
    pub standby: Option<ReleaseStatus>,
    /// The release that a rollout brings in.
    pub candidate: Option<ReleaseStatus>,
    /// The rollout under way.
    pub rollout: Option<RolloutStatus>,
    /// True if requests get the maintenance page.
    pub maintenance: bool,
    /// The state of a possible rollback.
    pub rollback: Rollback,
}

/// A release with instances.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReleaseStatus {
    /// The release's number.
    pub release: u32,
    /// The release's label.
    pub label: Label,
    /// The release's share of the traffic, from 0 to 1.
    pub share: f64,
    /// The release's instances that are not Gone.
    pub instances: Vec<InstanceStatus>,
}

/// An instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// The instance's name.
    pub id: InstanceId,
    /// The host that the instance runs on.
    #[serde(default = "HostId::local")]
    pub host: HostId,
    /// The id of the instance's process, once it runs.
    pub pid: Option<u32>,
    /// The address at which the instance listens.
    pub address: Address,
    /// The instance's stage.
    pub stage: Stage,
    /// The instance's health.
    pub health: Health,
    /// The number of requests and tunnels in flight on the instance.
    pub in_flight: u32,
    /// The time since which the instance has been too busy with requests to answer its probes, in
    /// milliseconds since 1970 (UTC); `None` if it is not. Its health does not change meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy_since: Option<u64>,
}

/// A rollout under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutStatus {
    /// The rollout's number.
    pub id: u32,
    /// The strategy's name, or `rollback`.
    pub strategy: String,
    /// The name of the phase.
    pub phase: String,
    /// The candidate's share, from 0 to 1.
    pub share: f64,
    /// The sentence that says what the rollout waits for.
    pub waiting_for: Option<String>,
}

/// The state of a possible rollback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollback {
    /// True if a rollback needs only one switch.
    pub ready: bool,
    /// The label of the release to which a rollback would go.
    pub to: Option<Label>,
    /// The reason why the rollback is not ready, or the hosts without which it is.
    pub reason: Option<String>,
}

/// The API's answer about an app: its status, and information that is only for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppInfo {
    /// The version of the app, which counts its facts. A command with an older version is refused as a
    /// conflict.
    pub version: u64,
    /// The app's status.
    pub status: Status,
    /// More about the rollout under way.
    pub progress: Option<RolloutProgress>,
    /// Reasons for which the app waits besides the rollout, as sentences.
    pub waiting: Vec<String>,
    /// The number of instances that `segue scale` has set, if it has.
    #[serde(default)]
    pub scale: Option<u16>,
    /// True if the app is being removed.
    pub removing: bool,
    /// The lost hosts on which instances are stopped as soon as the hosts are heard again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owed: Vec<HostId>,
    /// The receipt of the last rollout that has ended.
    #[serde(default)]
    pub last: Option<ReceiptWithCause>,
    /// The reason why changes are refused; `None` if they are accepted. The other fields are then the last
    /// known state.
    #[serde(default)]
    pub read_only: Option<String>,
    /// Warnings about settings that work but should be changed, as sentences.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// The progress of a rollout, and the reason why it is being reverted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutProgress {
    /// The time since the phase began, in milliseconds.
    pub phase_ms: u64,
    /// The time since the rollout began, in milliseconds.
    pub rollout_ms: u64,
    /// The least time that the whole rollout can take, in milliseconds; `None` if nothing was measured yet.
    #[serde(default)]
    pub at_least_ms: Option<u64>,
    /// The number of the current step or batch, from 1 on.
    #[serde(default = "first")]
    pub step: u16,
    /// The number of steps or batches.
    #[serde(default = "first")]
    pub steps: u16,
    /// True if a person or a failure holds the rollout where it is.
    #[serde(default)]
    pub paused: bool,
    /// The reason why the rollout is being reverted, if it is.
    pub cause: Option<String>,
}

/// Returns the only step that an older server's rollouts have.
fn first() -> u16 {
    1
}

/// A stored release, as `releases --json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRelease {
    /// The release's number.
    pub release: u32,
    /// The release's label.
    pub label: Label,
    /// The digest of everything that makes the release.
    pub digest: Digest,
    /// The time of its first deploy, in milliseconds since 1970 (UTC).
    pub created_ms: u64,
    /// The reason why the release is marked bad, if it is.
    pub bad: Option<String>,
    /// The last time at which the release got users or lost them, in milliseconds since 1970 (UTC); `None` if
    /// it has had no users, or if the time was not recorded.
    #[serde(default)]
    pub served_ms: Option<u64>,
    /// True if the release's files are kept, so that a rollback to it is possible. Files of a release that
    /// never had users are not kept.
    #[serde(default = "kept")]
    pub files: bool,
    /// The last output of the instance because of which the release never had users.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_words: Vec<String>,
}

/// Returns true: an older server keeps the files of all releases.
fn kept() -> bool {
    true
}

impl AppInfo {
    /// Creates the status from a view. Times in sentences count up to `now`.
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
            owed,
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
            owed: owed.clone(),
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
        let InstanceView { id, host, pid, address, stage, health, in_flight, busy_since } =
            instance.clone();
        let busy_since = busy_since.map(|since| since.0);
        Self { id, host, pid, address, stage, health, in_flight, busy_since }
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
            Readiness::Ready { to: _, label, without } => {
                let names: Vec<&str> = without.iter().map(HostId::as_str).collect();
                let reason = (!names.is_empty()).then(|| format!("without {}", names.join(", ")));
                Self { ready: true, to: Some(label.clone()), reason }
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
            host: HostId::local(),
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
            owed: Vec::new(),
        };
        insta::assert_json_snapshot!(AppInfo::new(&view, now));
    }
}
