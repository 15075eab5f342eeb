//! The name of a slot in a worker's table of connections.

/// Names a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SlotId(pub(crate) usize);

impl SlotId {
    /// As a number to write down elsewhere.
    pub(crate) fn number(self) -> u64 {
        self.0 as u64
    }

    /// Of what [`SlotId::number`] gave.
    pub(crate) fn of_number(number: u64) -> Self {
        Self(number as usize)
    }
}
