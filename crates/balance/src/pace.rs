//! The pace at which held requests are released: a few per instance at first, and more for every answer
//! that comes back. Never holds a request itself.

/// Requests released at once for each instance. Even small accept queues have room for as many.
const AT_ONCE: u64 = 8;

/// The number of requests released and unanswered, and the number by which the pace has grown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReleasePace {
    grown: u32,
    out: u32,
}

impl ReleasePace {
    /// Returns how many requests one of `workers` may release at first; at least one.
    pub fn at_first(instances: usize, workers: usize) -> u32 {
        let all = (instances as u64).saturating_mul(AT_ONCE);
        let mine = all.div_ceil(workers.max(1) as u64).max(1);
        u32::try_from(mine).unwrap_or(u32::MAX)
    }

    /// Returns how many more requests may be released now.
    pub const fn room(self, at_first: u32) -> u32 {
        at_first.saturating_add(self.grown).saturating_sub(self.out)
    }

    /// Returns whether no released request is unanswered.
    pub const fn is_idle(self) -> bool {
        self.out == 0
    }

    /// Counts a released request.
    pub const fn sent(&mut self) {
        self.out += 1;
    }

    /// Counts an answered request: there is room for its successor and one more, so the pace doubles with
    /// each round.
    pub const fn answered(&mut self) {
        self.grown = self.grown.saturating_add(1);
        self.lost();
    }

    /// Counts a failed request: there is room for another in its place.
    pub const fn lost(&mut self) {
        self.out = self.out.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_doubles_with_each_round_of_answers_and_not_without() {
        let first = ReleasePace::at_first(2, 4);
        assert_eq!(first, 4);
        let mut pace = ReleasePace::default();
        for round in [4, 8, 16, 32] {
            assert_eq!(pace.room(first), round);
            (0..round).for_each(|_| pace.sent());
            assert_eq!(pace.room(first), 0);
            (0..round).for_each(|_| pace.answered());
            assert!(pace.is_idle());
        }
        pace.sent();
        pace.lost();
        assert_eq!(pace.room(first), 64);
    }

    #[test]
    fn there_is_always_room_for_one() {
        assert_eq!(ReleasePace::at_first(0, 8), 1);
        assert_eq!(ReleasePace::at_first(1, 64), 1);
        assert_eq!(ReleasePace::at_first(usize::MAX, 1), u32::MAX);
    }
}
