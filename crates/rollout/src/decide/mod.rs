//! Decides which facts to record next, given the observations, and when to decide again.

mod advance;
pub(crate) mod budget;
mod candidate;
mod guard;
mod instances;
mod placement;
mod reasons;
mod renew;
mod replicas;
mod revert;
mod works;

use alloc::borrow::Cow;
use alloc::vec::Vec;

use model::Timestamp;

use crate::reach::suspicion;
use crate::{App, Fact, Illegal, Observed, RolloutKind, apply};

pub(crate) use advance::ended;
pub(crate) use placement::{Placement, host_for_work};
pub use reasons::Reasons;

/// The result of [`decide`].
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Facts to be journaled together, then applied in this order.
    pub facts: Vec<Fact>,
    /// Time to decide again even without new observations.
    pub wake_at: Option<Timestamp>,
    /// The reasons why the app waits, once the facts are applied.
    pub reasons: Reasons,
}

/// Maximum rounds of one decision. Each round follows from the one before.
const ROUNDS: usize = 16;

/// Returns the facts to record next, for example that an instance is ready or a deadline has passed.
///
/// Facts that follow from one another are returned as one batch, so that a switch costs one commit. A
/// batch that is not finished after `ROUNDS` is continued at once by another call.
///
/// # Errors
///
/// Returns [`Illegal`] if a decided fact cannot follow the state. This is a defect: the state must not
/// be used any further.
pub fn decide(app: &App, seen: &Observed, now: Timestamp) -> Result<Decision, Illegal> {
    let mut draft = Cow::Borrowed(app);
    let mut facts = Vec::new();
    let mut timer = Timer { now, wake: None };
    for round in 0..=ROUNDS {
        if round == ROUNDS {
            timer.wake = Some(now);
            break;
        }
        timer.wake = None;
        let next = next(&draft, seen, &mut timer);
        if next.is_empty() {
            break;
        }
        for fact in next {
            apply(draft.to_mut(), &fact)?;
            facts.push(fact);
        }
    }
    let reasons = reasons::reasons(&draft, seen, now);
    Ok(Decision { facts, wake_at: timer.wake, reasons })
}

/// Returns the next facts, the most urgent kind first. A later kind is tried only if the earlier ones
/// yield none.
fn next(app: &App, seen: &Observed, timer: &mut Timer) -> Vec<Fact> {
    // While the server suspects its own network, only what is heard is recorded, and only a rollback goes on.
    let is_blind = suspicion(app, seen).is_some();
    let goes_back = app.rollout.as_ref().is_some_and(|r| r.kind == RolloutKind::Rollback);
    let mut facts = Vec::new();
    if !is_blind {
        facts = budget::put_aside(app, seen, timer);
    }
    if facts.is_empty() && !is_blind {
        facts = revert::revert(app, seen, timer);
    }
    if facts.is_empty() {
        facts = instances::ended(app, seen, timer.now);
    }
    if facts.is_empty() {
        facts = instances::serving(app, seen, timer);
    }
    if facts.is_empty() {
        facts = works::follow(app, seen, timer);
    }
    if facts.is_empty() && (!is_blind || goes_back) {
        facts = advance::step(app, seen, timer);
    }
    if facts.is_empty() && is_blind {
        facts = replicas::keep_live(app, seen, timer);
    }
    if facts.is_empty() && !is_blind {
        facts = replicas::upkeep(app, seen, timer);
    }
    facts
}

/// Tells whether given times have come, and remembers the nearest one that has not.
pub(crate) struct Timer {
    pub now: Timestamp,
    wake: Option<Timestamp>,
}

impl Timer {
    /// Returns whether `at` has come.
    pub fn due(&mut self, at: Timestamp) -> bool {
        if self.now >= at {
            return true;
        }
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
        false
    }
}
