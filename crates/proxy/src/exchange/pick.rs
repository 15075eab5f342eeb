//! Which arm and which instance gets a request, by the worker's newest snapshot. Says what would be
//! chosen; never counts, and never sends anything.

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

/// What was chosen.
pub(super) struct Chosen {
    pub(super) instance: Arc<InstanceState>,
    pub(super) release: Arc<ReleaseStats>,
    pub(super) standing: Standing,
    /// Another arm than the user's own.
    pub(super) diverted: bool,
    pub(super) drain_ms: u64,
    /// Set if instances are picked by the time they take.
    pub(super) stopwatch: Option<Stopwatch>,
    /// The requests that came before go first. `None` if this one is let in where they are not.
    pub(super) behind: Option<Backlog>,
}

/// The instances that held requests wait for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backlog {
    pub(super) instances: usize,
    pub(super) hold_ms: u64,
}

/// How long a request waits, and what it gets if that is in vain.
#[derive(Debug)]
pub(super) struct HoldTerms {
    pub(super) hold_ms: u64,
    pub(super) instead: OwnAnswer,
}

/// What the snapshot says of a request.
pub(super) enum PickResult {
    Goes(Chosen),
    /// No instance can have it, or none may.
    Waits(HoldTerms),
    /// Its app is gone.
    Lost,
}

/// What a request is chosen for by.
#[derive(Clone, Copy)]
pub(super) struct Seeker<'a> {
    pub(super) known: &'a Known,
    pub(super) tries: &'a Tries,
    /// The release that it keeps, if it has been sent before.
    pub(super) kept: Option<ReleaseNo>,
}

impl Seeker<'_> {
    /// Where the request goes.
    pub(super) fn judge(self, app: &AppStats, turn: &Turn<'_, '_>) -> PickResult {
        let table = turn.worker.table.borrow();
        let Some(entry) = table.app(app.key) else { return PickResult::Lost };
        if let Some(closed) = entry.closed.as_ref().filter(|it| !it.lets_in(turn.caller.whence)) {
            let instead = OwnAnswer::Closed(Arc::clone(closed));
            return PickResult::Waits(HoldTerms { hold_ms: closed.hold_ms, instead });
        }
        // Enough refused for one look: the rest of the pool has to wait for the next.
        let chosen = (!self.tries.are_used_up()).then(|| self.pick(entry, turn)).flatten();
        let instead = || OwnAnswer::Page(ErrorPage::UNAVAILABLE);
        let patience = || HoldTerms { hold_ms: entry.hold_ms, instead: instead() };
        chosen.map_or_else(|| PickResult::Waits(patience()), PickResult::Goes)
    }

    /// Whether another instance can have it: not one that is down.
    pub(super) fn has_another(self, app: &AppStats, turn: &Turn<'_, '_>) -> bool {
        matches!(self.judge(app, turn), PickResult::Goes(it) if it.standing >= Standing::Doubtful)
    }

    /// Whether another instance of its release can have it.
    pub(super) fn has_another_of_its_release(self, app: &AppStats, turn: &Turn<'_, '_>) -> bool {
        matches!(
            self.judge(app, turn),
            PickResult::Goes(it) if it.standing >= Standing::Doubtful && !it.diverted
        )
    }

    /// The arm kept while it exists (I5), else the user's; within it by load and health. If nobody
    /// there is well, an arm with a share whose instances are.
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

    /// Within an arm, as the app's file says.
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
                // A heavy one has as many names as it has turns: so many users are its own.
                let name =
                    |place| u64::from(arm.turn_at(place).nth) << 48 ^ instance(place).id.number;
                pick_for_user(count, user, name, look)
            }
            // Somebody unknown goes anywhere.
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
