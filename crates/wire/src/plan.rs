//! The answer to `POST /v1/apps/{app}/plan`: what a deploy would do. The endpoint takes the body of a deploy
//! and changes nothing.

use model::{AppName, Gate, Label, PlannedHosts, Standby, Strategy, StrategyKind, Switch};
use serde::{Deserialize, Serialize};

use crate::{CommandAccepted, Problem};

/// A description of what a deploy would do. It names settings, and never the value of a variable.
///
/// The verdict, the strategy and its steps come from the engine's dry run of the deploy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployPlan {
    /// The app.
    pub app: AppName,
    /// The release that the deploy would bring in.
    pub release: PlannedRelease,
    /// The label of the live release.
    pub live: Option<Label>,
    /// The number of files of the release.
    pub files: u32,
    /// The number of contents that the server does not have.
    pub uploads: u32,
    /// The size of these contents, in bytes.
    pub upload_bytes: u64,
    /// The strategy's name.
    pub strategy: String,
    /// The steps of the rollout, one sentence each, in order; empty if no release would be rolled out.
    pub steps: Vec<String>,
    /// The hosts that get the release; `None` if the fleet has a single host, or no release would be rolled
    /// out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<PlannedHosts>,
    /// The names of the settings that differ from the live release's; `None` if this is not known.
    pub changes: Option<Vec<String>>,
    /// The number of the rollout under way.
    pub rollout: Option<u32>,
    /// The names of the settings that differ from the release that already has the label. If there are any,
    /// the deploy would be refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differs: Vec<String>,
    /// The answer to the deploy.
    pub verdict: DeployVerdict,
}

/// The answer that a deploy would get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeployVerdict {
    /// The deploy would be accepted.
    Accepted(Effect),
    /// The deploy would be refused for this reason.
    Refused(Problem),
}

/// The effect of an accepted deploy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// The kind of effect.
    pub kind: EffectKind,
    /// The rollout under way that would end because of the deploy.
    pub ends: Option<u32>,
    /// The answer to the deploy.
    pub answer: CommandAccepted,
}

/// The kind of an accepted deploy's effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EffectKind {
    /// A rollout of the release begins.
    Begins,
    /// The rollout under way already brings in the release. The command follows that rollout.
    Joins,
    /// The release is live with fewer instances than it should have. The missing instances are started.
    Starts,
    /// The rollout under way ends, and the release that was live before it stays live.
    Returns,
    /// The release is live already.
    Nothing,
}

/// The release a deploy would bring in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedRelease {
    /// The label that the release would have.
    pub label: Option<Label>,
    /// The kind of release: new, or existing already.
    pub kind: Planned,
}

/// The kind of release that a deploy would bring in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Planned {
    /// The deploy would create a new release.
    New,
    /// The release is stored.
    Stored,
    /// The release is live.
    Live,
    /// The label belongs to a release with other content.
    Taken,
}

/// Returns the steps of a rollout of `replicas` instances beside `live`, one sentence each. The first release
/// of an app comes in by one switch, whatever the strategy.
pub fn steps(strategy: &Strategy, replicas: u16, live: Option<&Label>) -> Vec<String> {
    let Strategy { kind, standby, watch: _, failure_budget: _ } = strategy;
    if live.is_none() {
        let by_hand = matches!(kind, StrategyKind::BlueGreen { switch: Switch::Manual });
        let on = if by_hand { " on `segue promote`" } else { "" };
        return vec![format!("start {replicas}, the first ones, then one switch{on}")];
    }
    let mut steps = match kind {
        StrategyKind::BlueGreen { switch: Switch::Auto } => {
            vec![format!("start {replicas} beside the live ones, then one switch")]
        }
        StrategyKind::BlueGreen { switch: Switch::Manual } => {
            vec![format!(
                "start {replicas} beside the live ones, then one switch on `segue promote`"
            )]
        }
        StrategyKind::Rolling { batch, order, pause, on_failure: _ } => {
            let at_a_time = batch.of(replicas);
            let count = replicas.div_ceil(at_a_time);
            let order = match order {
                model::Order::Surge => "new ones start before old ones leave",
                model::Order::InPlace => "old ones leave before new ones start",
            };
            let batches = if count == 1 { "1 batch".into() } else { format!("{count} batches") };
            let mut text = format!("{batches} of {at_a_time}: {order}");
            if pause.0 > 0 && count > 1 {
                text += &format!(", {pause} between two");
            }
            vec![text]
        }
        StrategyKind::Canary { steps, cohort: _, capacity: _ } => {
            let step = |step: &model::Step| match step.gate {
                Gate::After(time) => format!("{} of the users for {time}", step.share),
                Gate::Manual => format!("{} of the users until `segue promote`", step.share),
            };
            let mut texts: Vec<String> = steps.iter().map(step).collect();
            texts.push("everybody".into());
            texts
        }
        StrategyKind::Recreate { page: _ } => vec![
            "close the app: requests wait, then get the page".into(),
            format!("stop the old ones, start {replicas}, open it again"),
        ],
    };
    steps.push(match standby {
        Standby::Keep => "keep the release before it warm".into(),
        Standby::For(time) => format!("keep the release before it warm for {time}"),
        Standby::None => "stop the release before it".into(),
    });
    steps
}
