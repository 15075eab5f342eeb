//! The index of a timer in a worker's table of connections.

/// Identifies a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TimerId(pub(crate) usize);

impl TimerId {
    /// Returns the id as a number, to be stored elsewhere.
    pub(crate) fn number(self) -> u64 {
        self.0 as u64
    }

    /// Returns the id for a number from [`TimerId::number`].
    pub(crate) fn of_number(number: u64) -> Self {
        Self(number as usize)
    }
}
