//! The error guard of every rollout: detects that the candidate mostly returns errors while the live
//! release does not. It considers the answers of the last minutes, and none counted before the rollout
//! began.

use model::{ReleaseNo, Timestamp};

use crate::{Cause, Minute, Observed, Rollout, Tally};

/// Minimum number of answers to judge a release by.
const ANSWERS: u64 = 20;
/// Maximum number of minutes considered.
const MINUTES: usize = 10;
/// Number of client addresses with failed requests that is always enough, however many addresses sent
/// requests.
const ADDRESSES: u32 = 5;

/// Returns a cause if three conditions hold. More than half of the candidate's last answers were bad.
/// The bad answers went to at least half of the client addresses, or to five. Fewer than a quarter of
/// the live release's own answers were bad.
pub(super) fn mostly_errors(rollout: &Rollout, seen: &Observed) -> Option<Cause> {
    let judged = last_answers(seen, rollout.to, rollout.started)?;
    let Tally { answers, bad, askers } = judged.tally;
    let (asked, failing) = (askers.asked.count(), askers.failing.count());
    let one_client_alone = failing < ADDRESSES && failing * 2 < asked;
    if bad * 2 <= answers || one_client_alone {
        return None;
    }
    // Without answers of a live release there is nothing to compare with: on a first release, or
    // without users.
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

/// Returns the live release's answers since that time. If these are too few because its traffic has
/// moved, returns its answers of the last ten minutes.
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
