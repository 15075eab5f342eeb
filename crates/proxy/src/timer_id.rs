//! The name of a timer in a worker's table of connections.

/// Names a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TimerId(pub(crate) usize);

impl TimerId {
    /// As a number to write down elsewhere.
    pub(crate) fn number(self) -> u64 {
        self.0 as u64
    }

    /// Of what [`TimerId::number`] gave.
    pub(crate) fn of_number(number: u64) -> Self {
        Self(number as usize)
    }
}
