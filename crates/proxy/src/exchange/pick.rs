//! Picks the arm and the instance for a request, by the worker's newest snapshot. Only returns the
//! choice: counts nothing, and sends nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use balance::{
    Bucket, Choice, Standing, choose_arm, pick, pick_for_user, pick_in_turn, pick_least,
};
use model::{Balance, ReleaseNo, Share};

use crate::exchange::known::Known;
use crate::exchange::own_answer::OwnAnswer;
use crate::exchange::tries::Tries;
use crate::instance::InstanceState;
use crate::pages::ErrorPage;
use crate::stats::{AppStats, ReleaseStats};
use crate::stopwatch::Stopwatch;
use crate::table::{AppEntry, ArmEntry};
use crate::turn::Turn;

/// The instance that was chosen for a request.
pub(super) struct Chosen {
    pub(super) instance: Arc<InstanceState>,
    pub(super) release: Arc<ReleaseStats>,
    pub(super) standing: Standing,
    /// True if the arm is not the user's own.
    pub(super) diverted: bool,
    pub(super) drain_ms: u64,
    /// Set if instances are picked by their latency.
    pub(super) stopwatch: Option<Stopwatch>,
    /// The backlog of held requests that go first. `None` if this request is let in where held ones are
    /// not.
    pub(super) behind: Option<Backlog>,
}

/// The instances that held requests wait for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backlog {
    pub(super) instances: usize,
    pub(super) hold_ms: u64,
}

/// The time that a request waits, and the answer that it gets if the wait is in vain.
#[derive(Debug)]
pub(super) struct HoldTerms {
    pub(super) hold_ms: u64,
    pub(super) instead: OwnAnswer,
}

/// The result of picking for a request.
pub(super) enum PickResult {
    Goes(Chosen),
    /// No instance can take the request, or none may.
    Waits(HoldTerms),
    /// The app is gone.
    Lost,
}

/// The properties of a request by which an instance is picked.
#[derive(Clone, Copy)]
pub(super) struct Seeker<'a> {
    pub(super) known: &'a Known,
    pub(super) tries: &'a Tries,
    /// The release that the request keeps, if it has been sent before.
    pub(super) kept: Option<ReleaseNo>,
}

impl Seeker<'_> {
    /// Picks an instance for the request.
    pub(super) fn judge(self, app: &AppStats, turn: &Turn<'_, '_>) -> PickResult {
        let table = turn.worker.table.borrow();
        let Some(entry) = table.app(app.key) else { return PickResult::Lost };
        if let Some(closed) = entry.closed.as_ref().filter(|it| !it.lets_in(turn.caller.whence)) {
            let instead = OwnAnswer::Closed(Arc::clone(closed));
            return PickResult::Waits(HoldTerms { hold_ms: closed.hold_ms, instead });
        }
        // Enough instances refused in this round: the rest of them are tried in the next round.
        let chosen = (!self.tries.are_used_up()).then(|| self.pick(entry, turn)).flatten();
        let instead = || OwnAnswer::Page(ErrorPage::UNAVAILABLE);
        let patience = || HoldTerms { hold_ms: entry.hold_ms, instead: instead() };
        chosen.map_or_else(|| PickResult::Waits(patience()), PickResult::Goes)
    }

    /// Returns whether another instance can take the request. Instances that are down do not count.
    pub(super) fn has_another(self, app: &AppStats, turn: &Turn<'_, '_>) -> bool {
        matches!(self.judge(app, turn), PickResult::Goes(it) if it.standing >= Standing::Doubtful)
    }

    /// Returns whether another instance of the same release can take the request.
    pub(super) fn has_another_of_its_release(self, app: &AppStats, turn: &Turn<'_, '_>) -> bool {
        matches!(
            self.judge(app, turn),
            PickResult::Goes(it) if it.standing >= Standing::Doubtful && !it.diverted
        )
    }

    /// Picks an instance in the kept arm while it exists (I5), else in the user's own arm, by load and
    /// health. If no instance there is healthy, picks one in another arm with a share whose instances
    /// are.
    fn pick(self, entry: &AppEntry, turn: &Turn<'_, '_>) -> Option<Chosen> {
        let own = self.kept_arm(entry).or_else(|| self.own_arm(entry, turn))?;
        let look = |arm: &ArmEntry| self.pick_in(arm, entry, turn);
        let chosen = |arm: &ArmEntry, choice: Choice, diverted: bool| Chosen {
            instance: Arc::clone(&arm.instances[choice.at]),
            release: Arc::clone(&arm.stats),
            standing: choice.standing,
            diverted,
            drain_ms: entry.drain_ms,
            stopwatch: (entry.balance == Balance::PeakEwma).then(Stopwatch::start),
            behind: entry
                .closed
                .is_none()
                .then_some(Backlog { instances: arm.instances.len(), hold_ms: entry.hold_ms }),
        };
        let first = look(&entry.arms[own]);
        if let Some(choice) = first.filter(|choice| choice.standing >= Standing::Doubtful) {
            return Some(chosen(&entry.arms[own], choice, false));
        }
        let others = entry.arms.iter().enumerate();
        let others = others.filter(|(at, arm)| *at != own && arm.share > Share::NONE);
        for (_, arm) in others {
            if let Some(choice) = look(arm).filter(|c| c.standing >= Standing::Doubtful) {
                return Some(chosen(arm, choice, true));
            }
        }
        first.map(|choice| chosen(&entry.arms[own], choice, false))
    }

    /// Picks an instance within an arm, with the algorithm that the app's file sets.
    fn pick_in(self, arm: &ArmEntry, entry: &AppEntry, turn: &Turn<'_, '_>) -> Option<Choice> {
        let (count, random) = (arm.turns(), turn.worker.random());
        let instance = |place: usize| &arm.instances[arm.turn_at(place).at];
        let look = |place: usize| {
            instance(place).candidate(turn.now_ms, entry.slow_start, self.tries.tried())
        };
        let choice = match (entry.balance, self.known.key()) {
            (Balance::LeastConnections, _) => pick_least(count, random, look),
            (Balance::PeakEwma, _) => pick(count, random, |place| {
                instance(place).candidate_by_cost(turn.now_ms, entry.slow_start, self.tries.tried())
            }),
            (Balance::RoundRobin, _) => {
                let turn = arm.turn.fetch_add(1, Ordering::Relaxed);
                pick_in_turn(count, turn, random, look)
            }
            (Balance::Hash, Some(user)) => {
                // An instance has as many names as it has turns: a heavier instance gets more users.
                let name =
                    |place| u64::from(arm.turn_at(place).nth) << 48 ^ instance(place).id.number;
                pick_for_user(count, user, name, look)
            }
            // An unknown user may go to any instance.
            (Balance::TwoChoices, _) | (Balance::Hash, None) => pick(count, random, look),
        };
        choice.map(|choice| Choice { at: arm.turn_at(choice.at).at, ..choice })
    }

    fn kept_arm(self, entry: &AppEntry) -> Option<usize> {
        let release = self.kept?;
        entry.arms.iter().position(|arm| arm.stats.release == release && !arm.instances.is_empty())
    }

    fn own_arm(self, entry: &AppEntry, turn: &Turn<'_, '_>) -> Option<usize> {
        let shares = entry.arms.iter().map(|arm| arm.share);
        let random = turn.worker.random();
        match &entry.split {
            Some(split) => split.choose(self.known.user(), turn.caller.whence, shares, random),
            None => choose_arm(shares, Bucket::of(random)),
        }
    }
}
