//! Which arm and which instance gets a request, by the worker's newest snapshot. Choosing and
//! counting happen in the same poll (I5).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use balance::{
    Bucket, Choice, Standing, choose_arm, pick, pick_for_user, pick_in_turn, pick_least,
};
use model::{Balance, Share};

use crate::exchange::Exchange;
use crate::exchange::attempt::MOST_ATTEMPTS;
use crate::exchange::hold::{Instead, Patience, Pool};
use crate::instance::Instance;
use crate::pages::Page;
use crate::stats::{AppStats, ReleaseStats};
use crate::stopwatch::Stopwatch;
use crate::table::{AppEntry, ArmEntry};
use crate::turn::Turn;

/// What was chosen.
struct Chosen {
    instance: Arc<Instance>,
    release: Arc<ReleaseStats>,
    standing: Standing,
    diverted: bool,
    drain_ms: u64,
    /// Set if instances are picked by the time they take.
    stopwatch: Option<Stopwatch>,
    /// Those it has to let go first have to go there too; `None` if it is let in where they are not.
    pool: Option<Pool>,
}

/// What the snapshot says of a request.
enum Verdict {
    Goes(Chosen),
    /// No instance can have it, or none may.
    Waits(Patience),
    /// Its app is gone.
    Lost,
}

impl Exchange {
    /// False if the request has to wait.
    pub(crate) fn choose(&mut self, turn: &mut Turn<'_, '_>) -> bool {
        let Some(app) = self.app.clone() else { return false };
        if self.held.looks_again(turn.now_ms) {
            self.tried.clear();
            self.attempts = 0;
        }
        if self.held.is_held() && self.presence.left(turn) {
            return false;
        }
        match self.judge(&app, turn) {
            Verdict::Goes(chosen) => {
                let pool = chosen.pool.as_ref();
                let goes = pool.is_none_or(|pool| !self.lets_others_go(&app, pool, turn));
                if goes {
                    self.go(chosen, &app, turn);
                }
                goes
            }
            Verdict::Waits(patience) => {
                self.wait(&app, patience, turn);
                false
            }
            Verdict::Lost => {
                self.answer_ourselves(Page::NO_APP, turn);
                false
            }
        }
    }

    /// Whether another instance can have it: not one that is down.
    pub(crate) fn has_another(&self, turn: &Turn<'_, '_>) -> bool {
        let verdict = self.app.as_ref().map(|app| self.judge(app, turn));
        matches!(verdict, Some(Verdict::Goes(it)) if it.standing >= Standing::Doubtful)
    }

    /// Whether another instance of its release can have it.
    pub(crate) fn has_another_of_its_release(&self, turn: &Turn<'_, '_>) -> bool {
        let verdict = self.app.as_ref().map(|app| self.judge(app, turn));
        matches!(
            verdict,
            Some(Verdict::Goes(it)) if it.standing >= Standing::Doubtful && !it.diverted
        )
    }

    fn judge(&self, app: &AppStats, turn: &Turn<'_, '_>) -> Verdict {
        let table = turn.worker.table.borrow();
        let Some(entry) = table.app(app.key) else { return Verdict::Lost };
        if let Some(closed) = entry.closed.as_ref().filter(|it| !it.lets_in(turn.client.whence)) {
            let instead = Instead::Closed(Arc::clone(closed));
            return Verdict::Waits(Patience { hold_ms: closed.hold_ms, instead });
        }
        // Enough refused for one look: the rest of the pool has to wait for the next.
        let chosen = (self.attempts < MOST_ATTEMPTS).then(|| self.pick(entry, turn)).flatten();
        let patience = || Patience { hold_ms: entry.hold_ms, instead: Instead::Unavailable };
        chosen.map_or_else(|| Verdict::Waits(patience()), Verdict::Goes)
    }

    fn go(&mut self, chosen: Chosen, app: &Arc<AppStats>, turn: &mut Turn<'_, '_>) {
        if self.attempts > 0 && !self.held.is_held() {
            turn.worker.count(app, |cells| &cells.retried);
        }
        if let Some(held_ms) = self.held.go(turn.now_ms) {
            self.note_held(held_ms);
        }
        if chosen.diverted {
            turn.worker.count(app, |cells| &cells.diverted);
        }
        if chosen.standing == Standing::FailOpen {
            turn.worker.count(app, |cells| &cells.failed_open);
        }
        self.arm = Some(chosen.release.release);
        self.release = Some(chosen.release);
        self.drain_ms = chosen.drain_ms;
        self.attempts += 1;
        self.pacing.moved(turn.now_ms);
        self.connect(chosen.instance, chosen.stopwatch, turn);
    }

    /// The arm kept while it exists (I5), else the user's; within it by load and health. If nobody
    /// there is well, an arm with a share whose instances are.
    fn pick(&self, entry: &AppEntry, turn: &Turn<'_, '_>) -> Option<Chosen> {
        let own = self.kept_arm(entry).or_else(|| self.own_arm(entry, turn))?;
        let look = |arm: &ArmEntry| self.pick_in(arm, entry, turn);
        let chosen = |arm: &ArmEntry, choice: Choice, diverted: bool| Chosen {
            instance: Arc::clone(&arm.instances[choice.at]),
            release: Arc::clone(&arm.stats),
            standing: choice.standing,
            diverted,
            drain_ms: entry.drain_ms,
            stopwatch: (entry.balance == Balance::PeakEwma).then(Stopwatch::start),
            pool: entry
                .closed
                .is_none()
                .then_some(Pool { instances: arm.instances.len(), hold_ms: entry.hold_ms }),
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
    fn pick_in(&self, arm: &ArmEntry, entry: &AppEntry, turn: &Turn<'_, '_>) -> Option<Choice> {
        let (count, random) = (arm.turns(), turn.worker.random());
        let instance = |place: usize| &arm.instances[arm.turn_at(place).at];
        let look =
            |place: usize| instance(place).candidate(turn.now_ms, entry.slow_start, &self.tried);
        let choice = match (entry.balance, self.known.key()) {
            (Balance::LeastConnections, _) => pick_least(count, random, look),
            (Balance::PeakEwma, _) => pick(count, random, |place| {
                instance(place).candidate_by_cost(turn.now_ms, entry.slow_start, &self.tried)
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

    fn kept_arm(&self, entry: &AppEntry) -> Option<usize> {
        let release = self.arm?;
        entry.arms.iter().position(|arm| arm.stats.release == release && !arm.instances.is_empty())
    }

    fn own_arm(&self, entry: &AppEntry, turn: &Turn<'_, '_>) -> Option<usize> {
        let shares = entry.arms.iter().map(|arm| arm.share);
        let random = turn.worker.random();
        match &entry.split {
            Some(split) => split.choose(self.known.user(), turn.client.whence, shares, random),
            None => choose_arm(shares, Bucket::of(random)),
        }
    }
}
