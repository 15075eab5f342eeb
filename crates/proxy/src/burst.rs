//! Decides when a worker's memory is returned to the system: once most connections of a burst have ended
//! or gone idle. Otherwise the memory of a burst is kept until the next one, because an allocator looks
//! for free memory only during allocations.

/// Number of connections with a task that is not a burst yet. Their memory is below one MiB.
const FEW: usize = 64;

/// The number of a worker's connections that have a task.
#[derive(Debug, Default)]
pub(crate) struct Burst {
    now: usize,
    /// The largest number since memory was last returned.
    most: usize,
}

impl Burst {
    /// Records how many connections have a task now.
    pub(crate) fn note(&mut self, with_task: usize) {
        self.now = with_task;
        self.most = self.most.max(with_task);
    }

    /// Returns whether at least half of the connections of a burst have no task any more. The next burst
    /// begins with those that are left, so that a steady load never returns memory that it needs again.
    pub(crate) fn is_over(&mut self) -> bool {
        let is_over = self.most > FEW && self.now <= self.most / 2;
        if is_over {
            self.most = self.now;
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the counts at which memory is returned.
    fn over<const N: usize>(counts: [usize; N]) -> Vec<usize> {
        let mut burst = Burst::default();
        let mut is_over = |count: &usize| {
            burst.note(*count);
            burst.is_over()
        };
        counts.into_iter().filter(|count| is_over(count)).collect()
    }

    #[test]
    fn memory_goes_back_each_time_that_a_burst_has_halved() {
        let counts = [10, 800, 700, 900, 451, 450, 400, 226, 225, 70, 30, 0];
        assert_eq!(over(counts), [450, 225, 70, 30]);
    }

    #[test]
    fn few_connections_or_a_steady_load_give_nothing_back() {
        assert!(over([FEW, 0, FEW, 3]).is_empty());
        assert!(over([500, 400, 300, 499, 300]).is_empty());
    }

    #[test]
    fn a_burst_between_two_looks_is_one() {
        let mut burst = Burst::default();
        [0, 200, 0].into_iter().for_each(|count| burst.note(count));
        assert!(burst.is_over() && !burst.is_over());
    }
}
