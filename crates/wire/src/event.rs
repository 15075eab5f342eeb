//! The stream of an app's events: one JSON object per line.

use model::{AppName, AppView, Outcome, Timestamp};
use serde::{Deserialize, Serialize};

use crate::RolloutStanding;

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamEvent {
    /// The number of the event. It increases while the server runs, and starts anew after a restart.
    pub seq: u64,
    /// The time of the event, in milliseconds since 1970 (UTC).
    pub at_ms: u64,
    /// The app that the event belongs to.
    pub app: AppName,
    /// The rollout that the event belongs to, if any.
    pub rollout: Option<u32>,
    /// One sentence for people. Further lines are an instance's last words.
    pub text: String,
    /// The outcome, on the last event of a rollout.
    pub outcome: Option<Outcome>,
}

impl StreamEvent {
    /// Creates the event with its number in the stream.
    pub fn new(seq: u64, event: &model::RolloutEvent) -> Self {
        let model::RolloutEvent { at, app, rollout, text, outcome } = event.clone();
        Self { seq, at_ms: at.0, app, rollout: rollout.map(|r| r.0), text, outcome }
    }
}

/// The current state of the rollout. It is sent once a second, so that a silent stream is a broken one.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct Now {
    /// The rollout under way.
    pub rollout: Option<u32>,
    /// The name of the phase.
    pub phase: Option<String>,
    /// The strategy's name, or `rollback`.
    #[serde(default)]
    pub strategy: Option<String>,
    /// The candidate's share, from 0 to 1.
    #[serde(default)]
    pub share: Option<f64>,
    /// The number of the current step or batch, from 1 on, and the number of steps or batches.
    #[serde(default)]
    pub step: Option<(u16, u16)>,
    /// True if a person or a failure holds the rollout where it is.
    #[serde(default)]
    pub paused: bool,
    /// The sentence that says what the rollout waits for.
    pub waiting_for: Option<String>,
    /// The standing of the rollout; `None` without a rollout, and from an older server.
    #[serde(default)]
    pub standing: Option<RolloutStanding>,
}

impl Now {
    /// Returns the state of the app's rollout; every field is `None` if there is none.
    pub fn new(view: Option<&AppView>, now: Timestamp) -> Self {
        let Some(rollout) = view.and_then(|view| view.rollout.as_ref()) else {
            return Self::default();
        };
        Self {
            rollout: Some(rollout.id.0),
            phase: Some(rollout.phase.to_owned()),
            strategy: Some(rollout.strategy.clone()),
            share: Some(rollout.share.fraction()),
            step: Some(rollout.step),
            paused: rollout.paused,
            waiting_for: rollout.waiting.as_ref().map(|reason| reason.sentence(now)),
            standing: Some(RolloutStanding::of(rollout)),
        }
    }
}

/// One line of the stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// An event happened.
    Event(StreamEvent),
    /// No event happened for a second. This is the state of the rollout.
    Now(Now),
    /// The reader was too slow or came too late. This number of events is lost.
    Lost(u64),
}
