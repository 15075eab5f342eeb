//! Resource limits of an instance: `memory`, `pids` and `cpu` in `[run]`, and which of them a host can
//! enforce.

use alloc::collections::BTreeMap;
use alloc::string::String;

use serde::{Deserialize, Serialize};

/// The resources that the processes of one instance may use together. `None` sets no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ResourceLimits {
    /// Memory in bytes, without swap. An instance that exceeds it is killed as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Number of processes and threads at one time. Starting one more fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
    /// Thousandths of a processor. An instance that needs more is throttled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
}

impl ResourceLimits {
    /// Returns the resources that have a limit.
    pub fn limited(&self) -> impl Iterator<Item = Resource> {
        let Self { memory, pids, cpu } = self;
        let all = [
            (Resource::Memory, memory.is_some()),
            (Resource::Pids, pids.is_some()),
            (Resource::Cpu, cpu.is_some()),
        ];
        all.into_iter().filter_map(|(resource, limited)| limited.then_some(resource))
    }

    /// Returns whether there is no limit at all.
    pub fn is_none(&self) -> bool {
        self.limited().next().is_none()
    }
}

/// A resource that can be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// Memory.
    Memory,
    /// Processes and threads.
    Pids,
    /// Processor time.
    Cpu,
}

impl Resource {
    /// All resources.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Pids, Self::Cpu];

    /// Returns the key in `[run]`, which is also the name of the kernel's controller.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
        }
    }
}

/// Why a host cannot run a release, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obstacle {
    /// The cause.
    pub why: String,
    /// The remedy.
    pub hint: String,
}

/// The limits that a host cannot enforce.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LimitObstacles(BTreeMap<Resource, Obstacle>);

impl LimitObstacles {
    /// Takes the obstacle to each resource's limit. A resource without one can be limited.
    pub fn new(obstacles: impl IntoIterator<Item = (Resource, Obstacle)>) -> Self {
        Self(obstacles.into_iter().collect())
    }

    /// Returns the first obstacle to any of these limits.
    pub fn to(&self, limits: &ResourceLimits) -> Option<&Obstacle> {
        limits.limited().find_map(|resource| self.0.get(&resource))
    }
}
