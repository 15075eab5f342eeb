//! The stream of an app's events: one JSON object per line.

use model::{AppName, AppView, Outcome, Timestamp};
use serde::{Deserialize, Serialize};

use crate::RolloutStanding;

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamEvent {
    /// Counts up while the server runs; anew after its restart.
    pub seq: u64,
    /// When, in milliseconds since 1970 (UTC).
    pub at_ms: u64,
    /// The app in which it happened.
    pub app: AppName,
    /// The rollout in which it happened, if any.
    pub rollout: Option<u32>,
    /// One sentence for people; more lines are an instance's own words.
    pub text: String,
    /// Set on the last event of a rollout.
    pub outcome: Option<Outcome>,
}

impl StreamEvent {
    /// Makes the event with its number in the stream.
    pub fn new(seq: u64, event: &model::RolloutEvent) -> Self {
        let model::RolloutEvent { at, app, rollout, text, outcome } = event.clone();
        Self { seq, at_ms: at.0, app, rollout: rollout.map(|r| r.0), text, outcome }
    }
}

/// Where the rollout is now. Sent once a second, so that a silent stream is a broken one.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct Now {
    /// The rollout under way.
    pub rollout: Option<u32>,
    /// Its phase.
    pub phase: Option<String>,
    /// The strategy's name, or `rollback`.
    #[serde(default)]
    pub strategy: Option<String>,
    /// The candidate's share, from 0 to 1.
    #[serde(default)]
    pub share: Option<f64>,
    /// The number of the current step or batch, from 1 on, and how many there are.
    #[serde(default)]
    pub step: Option<(u16, u16)>,
    /// Whether a person or a failure holds the rollout where it is.
    #[serde(default)]
    pub paused: bool,
    /// The sentence that says what it waits for.
    pub waiting_for: Option<String>,
    /// Whether it goes on by itself; `None` without a rollout, and from an older server.
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
    /// Nothing happened for a second; this is the state of the rollout.
    Now(Now),
    /// The reader was too slow, or came too late: this many events are lost.
    Lost(u64),
}
