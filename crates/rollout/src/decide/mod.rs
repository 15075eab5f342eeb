//! What must now be recorded, given what is seen, and when to ask again.

mod advance;
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

use crate::{App, Fact, Illegal, Observed, apply};

pub(crate) use advance::ended;
pub(crate) use placement::host_for_work;
pub use reasons::Reasons;

/// What [`decide`] says.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// To be journaled together, then applied in this order.
    pub facts: Vec<Fact>,
    /// When to ask again even if nothing new is seen.
    pub wake_at: Option<Timestamp>,
    /// What is waited for, once the facts are applied.
    pub reasons: Reasons,
}

/// Rounds of one decision at the most; each follows from the one before.
const ROUNDS: usize = 16;

/// What must now be recorded, given what is seen: readiness, drained, deadline passed, gate.
///
/// Facts that follow from one another come in one batch, so a switch costs one commit. A batch that
/// is not finished after [`ROUNDS`] is asked for again at once.
///
/// # Errors
/// When it decides what cannot be: a defect, after which nothing rests on this state.
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

/// The next facts, the most urgent first; a later kind is looked at when the earlier have none.
fn next(app: &App, seen: &Observed, timer: &mut Timer) -> Vec<Fact> {
    let mut facts = revert::revert(app, seen, timer);
    if facts.is_empty() {
        facts = instances::ended(app, seen, timer.now);
    }
    if facts.is_empty() {
        facts = instances::serving(app, seen, timer.now);
    }
    if facts.is_empty() {
        facts = works::follow(app, seen, timer);
    }
    if facts.is_empty() {
        facts = advance::step(app, seen, timer);
    }
    if facts.is_empty() {
        facts = replicas::upkeep(app, seen, timer);
    }
    facts
}

/// Asks whether moments have come, and remembers the nearest that has not.
pub(crate) struct Timer {
    pub now: Timestamp,
    wake: Option<Timestamp>,
}

impl Timer {
    /// Whether `at` has come.
    pub fn due(&mut self, at: Timestamp) -> bool {
        if self.now >= at {
            return true;
        }
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
        false
    }
}
