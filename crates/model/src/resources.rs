//! How much of its host an instance may use: `memory`, `pids` and `cpu` in `[run]`, and which of them a
//! host can enforce.

use alloc::collections::BTreeMap;
use alloc::string::String;

use serde::{Deserialize, Serialize};

/// The most that the processes of one instance may use together. Without a value there is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ResourceLimits {
    /// Memory in bytes, without swap. An instance that needs more is killed whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Processes and threads at the same time. Starting one more fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
    /// Thousandths of a processor. An instance that wants more has to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
}

impl ResourceLimits {
    /// The resources that have a limit.
    pub fn limited(&self) -> impl Iterator<Item = Resource> {
        let Self { memory, pids, cpu } = self;
        let all = [
            (Resource::Memory, memory.is_some()),
            (Resource::Pids, pids.is_some()),
            (Resource::Cpu, cpu.is_some()),
        ];
        all.into_iter().filter_map(|(resource, limited)| limited.then_some(resource))
    }

    /// Whether there is no limit at all.
    pub fn is_none(&self) -> bool {
        self.limited().next().is_none()
    }
}

/// A resource that can be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// Memory.
    Memory,
    /// Processes and threads.
    Pids,
    /// Processor time.
    Cpu,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Pids, Self::Cpu];

    /// The key in `[run]`, which is also the name of the kernel's controller.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
        }
    }
}

/// Why a host cannot run a release, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// The cause.
    pub why: String,
    /// The way out.
    pub hint: String,
}

/// Which limits a host cannot enforce.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LimitObstacles(BTreeMap<Resource, Obstacle>);

impl LimitObstacles {
    /// What is in the way of each resource's limit; a resource that is missing here can be limited.
    pub fn new(obstacles: impl IntoIterator<Item = (Resource, Obstacle)>) -> Self {
        Self(obstacles.into_iter().collect())
    }

    /// The first obstacle to any of these limits.
    pub fn to(&self, limits: &ResourceLimits) -> Option<&Obstacle> {
        limits.limited().find_map(|resource| self.0.get(&resource))
    }
}
