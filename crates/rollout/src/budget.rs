//! The failure budget of a rollout, as part of its state: the hosts that its release can be placed on, and
//! those that it goes on without.

use alloc::vec::Vec;

use model::{BudgetSpent, HostAside, HostId};
use serde::{Deserialize, Serialize};

use crate::planted::Bug;

/// The failure budget of a rollout. Each host counts once, whatever has failed on it.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Budget {
    /// The hosts that the release could be placed on when the rollout began. Empty for a rollout without a
    /// budget: any but a deploy, and one that an earlier version began.
    pub hosts: Vec<HostId>,
    /// Number of hosts that may fail.
    pub of: u16,
    /// The hosts that the rollout goes on without, in the order in which they failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aside: Vec<HostAside>,
}

impl Budget {
    /// Returns whether the rollout has no budget.
    pub fn is_absent(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Returns whether the rollout goes on without this host.
    pub fn is_aside(&self, host: &HostId) -> bool {
        self.aside.iter().any(|aside| aside.host == *host)
    }

    /// Returns the number of hosts that failed, of those that may.
    pub fn account(&self) -> BudgetSpent {
        let failed = self.aside.iter().filter(|aside| aside.why.counts()).count();
        let spent = u16::try_from(failed).unwrap_or(u16::MAX);
        BudgetSpent { spent, of: self.of }
    }

    /// Returns whether more hosts have failed than may, or no host is left.
    pub(crate) fn is_overspent(&self) -> bool {
        let BudgetSpent { spent, of } = self.account();
        (spent > of && !Bug::NeverSpendsBudget.is_planted()) || self.left() == 0 && spent > 0
    }

    /// Returns whether one more host may fail.
    pub(crate) fn can_spare(&self, host: &HostId) -> bool {
        let BudgetSpent { spent, of } = self.account();
        let others = self.hosts.iter().filter(|other| *other != host && !self.is_aside(other));
        spent < of && others.count() > 0
    }

    /// Returns the number of hosts that have not failed.
    fn left(&self) -> usize {
        self.hosts.iter().filter(|host| !self.is_aside(host)).count()
    }
}
