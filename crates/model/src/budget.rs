//! The failure budget of a rollout: how many hosts it may do without, and which hosts it did without.

use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::HostId;

/// Number of hosts that a rollout may do without: `failure_budget` in `[strategy]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureBudget {
    /// A number of hosts.
    Count(u16),
    /// A percentage of the hosts that the rollout places instances on, 0 to 100, rounded down.
    Percent(u8),
}

impl Default for FailureBudget {
    fn default() -> Self {
        Self::Count(0)
    }
}

impl FailureBudget {
    /// Returns whether this is the default, which allows no host to fail.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the number of hosts that may fail of so many.
    pub fn of(self, hosts: u16) -> u16 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                let part = u32::from(hosts) * u32::from(percent) / 100;
                u16::try_from(part).unwrap_or(hosts)
            }
        }
    }
}

/// The part of its budget that a rollout has spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetSpent {
    /// Number of hosts that failed.
    pub spent: u16,
    /// Number of hosts that may fail.
    pub of: u16,
}

/// A host that a rollout goes on without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostAside {
    /// The host.
    pub host: HostId,
    /// Why the rollout goes on without it.
    pub why: HostFault,
}

impl fmt::Display for HostAside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.host, self.why)
    }
}

/// Why a rollout goes on without a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostFault {
    /// The host was lost during the rollout.
    Lost,
    /// An instance of the release did not become healthy there. The text says why.
    CannotRun(String),
    /// A proxy that reaches the release on other hosts does not reach it there. The text says why.
    NotReached(String),
    /// The server suspected its own network, and a person said that the host is lost.
    SaidToBeLost,
}

impl HostFault {
    /// Returns whether the host counts against the budget.
    pub fn counts(&self) -> bool {
        match self {
            Self::Lost | Self::CannotRun(_) | Self::NotReached(_) => true,
            Self::SaidToBeLost => false,
        }
    }
}

impl fmt::Display for HostFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost => f.write_str("it was lost"),
            Self::CannotRun(why) | Self::NotReached(why) => f.write_str(why),
            Self::SaidToBeLost => f.write_str("somebody said that it is lost"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_of_hosts_is_rounded_down() {
        let of = |percent, hosts| FailureBudget::Percent(percent).of(hosts);
        assert_eq!([of(3, 3), of(3, 33), of(3, 34), of(50, 3), of(100, 3)], [0, 0, 1, 1, 3]);
        assert_eq!(FailureBudget::default().of(200), 0);
    }
}
