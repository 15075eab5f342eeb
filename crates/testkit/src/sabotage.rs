//! What is planted in a world, to show that the invariants are checked.

use rollout::Bug;

/// A bug planted in the core, in the journal, or in how control is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// The core has that bug. It is planted in the whole process.
    Core(Bug),
    /// The last commit is lost in a crash.
    LoseCommit,
    /// After a crash the term is not counted up.
    ReuseTerm,
}

impl Sabotage {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        Bug::ALL.into_iter().map(Self::Core).chain([Self::LoseCommit, Self::ReuseTerm])
    }

    /// The bug that the core has.
    pub(crate) fn bug(self) -> Option<Bug> {
        match self {
            Self::Core(bug) => Some(bug),
            Self::LoseCommit | Self::ReuseTerm => None,
        }
    }
}
