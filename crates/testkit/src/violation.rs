//! A violation of an invariant.

/// A violation of an invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant.
    pub invariant: &'static str,
    /// Time of the violation, in milliseconds since the world began.
    pub at: u64,
    /// The observation.
    pub what: String,
}

/// An invariant, and the observation that contradicts it.
pub type Wrong = (&'static str, String);
