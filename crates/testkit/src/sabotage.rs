//! What is planted in a world, to show that the invariants are checked.

use rollout::Bug;

/// A bug planted in the core, in the journal, in a proxy or an agent, or in how control is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// The core has that bug. It is planted in the whole process.
    Core(Bug),
    /// The last commit is lost in a crash.
    LoseCommit,
    /// After a crash the term is not counted up.
    ReuseTerm,
    /// A scrape takes the counts with it.
    ScrapeTakesCounts,
    /// An agent tells the values of variables in its reports.
    TellsValues,
}

impl Sabotage {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let around =
            [Self::LoseCommit, Self::ReuseTerm, Self::ScrapeTakesCounts, Self::TellsValues];
        Bug::ALL.into_iter().map(Self::Core).chain(around)
    }

    /// The bug that the core has.
    pub(crate) fn bug(self) -> Option<Bug> {
        match self {
            Self::Core(bug) => Some(bug),
            Self::LoseCommit | Self::ReuseTerm | Self::ScrapeTakesCounts | Self::TellsValues => {
                None
            }
        }
    }
}
