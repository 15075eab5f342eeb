//! Bugs planted in a world, to show that the invariants are checked.

use rollout::Bug;

/// A bug planted in the core, in the journal, in a proxy or an agent, or in the start of control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// A bug in the core. It is planted in the whole process.
    Core(Bug),
    /// The last commit is lost in a crash.
    LoseCommit,
    /// The term is not increased after a crash.
    ReuseTerm,
    /// A scrape resets the counts.
    ScrapeTakesCounts,
    /// An agent includes the values of variables in its reports.
    TellsValues,
}

impl Sabotage {
    /// Returns all bugs.
    pub fn all() -> impl Iterator<Item = Self> {
        let around =
            [Self::LoseCommit, Self::ReuseTerm, Self::ScrapeTakesCounts, Self::TellsValues];
        Bug::ALL.into_iter().map(Self::Core).chain(around)
    }

    /// Returns the bug in the core.
    pub(crate) fn bug(self) -> Option<Bug> {
        match self {
            Self::Core(bug) => Some(bug),
            Self::LoseCommit | Self::ReuseTerm | Self::ScrapeTakesCounts | Self::TellsValues => {
                None
            }
        }
    }
}
