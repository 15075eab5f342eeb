//! An invariant that did not hold.

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: &'static str,
    /// When, in milliseconds since the world began.
    pub at: u64,
    /// What was seen.
    pub what: String,
}

/// An invariant, and what was seen instead.
pub type Wrong = (&'static str, String);
