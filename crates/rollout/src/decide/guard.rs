//! The guard of every rollout: whether the candidate answers mostly with errors while live does not. It
//! looks at the answers of the last minutes, and at nothing that was counted before the rollout began.

use model::{ReleaseNo, Timestamp};

use crate::{Cause, Minute, Observed, Rollout, Tally};

/// Answers that are judged at the least.
const ANSWERS: u64 = 20;
/// Minutes that are looked at, at the most.
const MINUTES: usize = 10;
/// This many addresses with failed requests are enough, however many have asked.
const ADDRESSES: u32 = 5;

/// More than half of the candidate's last answers were bad, the bad ones went to at least half of the
/// addresses that asked, or to five, and fewer than a quarter of live's own answers were bad.
pub(super) fn mostly_errors(rollout: &Rollout, seen: &Observed) -> Option<Cause> {
    let judged = last_answers(seen, rollout.to, rollout.started)?;
    let Tally { answers, bad, askers } = judged.tally;
    let (asked, failing) = (askers.asked.count(), askers.failing.count());
    let one_client_alone = failing < ADDRESSES && failing * 2 < asked;
    if bad * 2 <= answers || one_client_alone {
        return None;
    }
    // Without live's own there is nothing to compare with: the first release, or one without users.
    let live = rollout.from.map(|live| of_live(seen, live, judged.since)).unwrap_or_default();
    let live_too = live.bad * 4 >= live.answers && live.answers > 0;
    (!live_too).then_some(Cause::MostlyErrors { answers, errors: bad })
}

/// The last minutes in which a release has given enough answers to be judged.
struct Judged {
    tally: Tally,
    since: Timestamp,
}

fn last_answers(seen: &Observed, release: ReleaseNo, from: Timestamp) -> Option<Judged> {
    let mut tally = Tally::default();
    let minutes = seen.minutes.iter().rev().filter(|minute| minute.began >= from);
    for Minute { began, releases } in minutes.take(MINUTES) {
        releases.get(&release).into_iter().for_each(|more| tally.add(more));
        if tally.answers >= ANSWERS {
            return Some(Judged { tally, since: *began });
        }
    }
    None
}

/// What live has answered in the minutes since then or, where that is too little because its traffic has
/// moved, in the last ten.
fn of_live(seen: &Observed, live: ReleaseNo, since: Timestamp) -> Tally {
    let sum = |minutes: &mut dyn Iterator<Item = &Minute>| {
        let mut tally = Tally::default();
        minutes.filter_map(|minute| minute.releases.get(&live)).for_each(|more| tally.add(more));
        tally
    };
    let meanwhile = sum(&mut seen.minutes.iter().filter(|minute| minute.began >= since));
    if meanwhile.answers >= ANSWERS {
        return meanwhile;
    }
    sum(&mut seen.minutes.iter().rev().take(MINUTES + 1))
}
