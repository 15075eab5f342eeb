//! How often something is fetched again, and when it is given up. Fetches nothing.

use std::time::Duration;

use model::in_full;
use store::ContentError;
use tokio::time::Instant;

use crate::source::SourceError;

/// A request that brings nothing for this time is given up.
pub(crate) const STALLED: Duration = Duration::from_secs(30);
/// The longest pause before the second try. Each further pause may be twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause before any try.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// After this time without a byte nothing is tried any more. Control gives an instance up sooner; it says so by
/// stopping it. While control is away nothing is given up, since the source usually is away with it.
const GIVE_UP: Duration = Duration::from_secs(60 * 60);
/// The number of times that something wrong may be sent.
const WRONG: u32 = 3;

/// Why a try has failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Another try may help.
    Broken(String),
    /// The source sent something else than was asked for.
    Wrong(String),
    /// Another try does not help.
    Final(String),
}

impl Failure {
    pub fn stalled() -> Self {
        Self::Broken(format!("nothing came for {} s", STALLED.as_secs()))
    }

    pub fn of_store(error: ContentError) -> Self {
        let why = in_full(&error);
        match error {
            ContentError::Mismatch { .. } | ContentError::TooLong { .. } => Self::Wrong(why),
            ContentError::Refused(_)
            | ContentError::Unreadable { .. }
            | ContentError::Incomplete { .. }
            | ContentError::Io { .. } => Self::Final(why),
        }
    }

    pub fn why(self) -> String {
        match self {
            Self::Broken(why) | Self::Wrong(why) | Self::Final(why) => why,
        }
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Unavailable(why) => Self::Broken(why),
            SourceError::Refused(why) => Self::Final(why),
        }
    }
}

/// The tries to fetch one thing.
#[derive(Debug)]
pub(crate) struct FetchTries {
    /// The time of the first try, or of the last try that brought something.
    since: Instant,
    /// The number of tries since then.
    failed: u32,
    wrong: u32,
}

impl Default for FetchTries {
    fn default() -> Self {
        Self { since: Instant::now(), failed: 0, wrong: 0 }
    }
}

/// The pause before the next try.
#[derive(Debug)]
pub(crate) struct NextTry {
    pub length: Duration,
    /// Why the last try has failed.
    pub why: String,
}

impl FetchTries {
    /// Notes that the try that fails now has brought something.
    pub fn progressed(&mut self) {
        (self.since, self.failed) = (Instant::now(), 0);
    }

    /// Returns the pause before the next try.
    ///
    /// # Errors
    /// The reason why nothing is tried any more.
    pub fn failed(&mut self, failure: Failure) -> Result<NextTry, String> {
        let why = match failure {
            Failure::Final(why) => return Err(why),
            Failure::Wrong(why) => {
                self.wrong += 1;
                if self.wrong >= WRONG {
                    return Err(format!("{why}; it was fetched {WRONG} times"));
                }
                why
            }
            Failure::Broken(why) => why,
        };
        if self.since.elapsed() >= GIVE_UP {
            let minutes = GIVE_UP.as_secs() / 60;
            return Err(format!("{why}; nothing came for {minutes} min"));
        }
        let longest = FIRST_PAUSE.saturating_mul(1 << self.failed.min(16)).min(LONGEST_PAUSE);
        self.failed += 1;
        Ok(NextTry { length: jittered(longest), why })
    }
}

/// Returns a part of this time, so that many hosts do not ask in the same moment.
fn jittered(longest: Duration) -> Duration {
    let mut random = [0; 4];
    // Without randomness all hosts wait longest.
    if getrandom::fill(&mut random).is_err() {
        return longest;
    }
    longest.mul_f64(f64::from(u32::from_ne_bytes(random)) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken() -> Failure {
        Failure::Broken("it broke".to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_within_a_bound_and_begin_anew_once_something_comes() {
        let mut tries = FetchTries::default();
        for round in 0..2 {
            for number in 0..100 {
                let longest = FIRST_PAUSE.saturating_mul(1 << number.min(10)).min(LONGEST_PAUSE);
                let pause = tries.failed(broken()).unwrap();
                assert!(pause.length <= longest, "{round}.{number}: {pause:?}");
            }
            tries.progressed();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_an_hour_without_a_byte_or_something_wrong_three_times_ends_it() {
        let mut tries = FetchTries::default();
        for _ in 0..10 {
            tokio::time::advance(GIVE_UP.saturating_sub(Duration::from_secs(1))).await;
            tries.failed(broken()).unwrap();
            tries.progressed();
        }
        tokio::time::advance(GIVE_UP).await;
        let why = tries.failed(broken()).unwrap_err();
        assert_eq!(why, "it broke; nothing came for 60 min");
        let mut tries = FetchTries::default();
        let wrong = || Failure::Wrong("it is wrong".to_owned());
        for _ in 1..WRONG {
            tries.failed(wrong()).unwrap();
            tries.failed(broken()).unwrap();
        }
        assert_eq!(tries.failed(wrong()).unwrap_err(), "it is wrong; it was fetched 3 times");
        let refused = Failure::from(SourceError::Refused("not for this host".to_owned()));
        assert_eq!(FetchTries::default().failed(refused).unwrap_err(), "not for this host");
    }
}
