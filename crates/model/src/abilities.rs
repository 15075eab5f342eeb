//! Abilities of a host for instances, and of a proxy for apps. They are known when the server starts.

use alloc::boxed::Box;
use alloc::string::ToString;

use serde::{Deserialize, Serialize};

use crate::{
    AppSpec, LimitObstacles, Listen, Maintenance, Millis, Obstacle, SocketFolders, StrategyKind,
};

/// The abilities that differ from host to host. By default a host can do everything.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HostAbilities {
    /// The folders for the unix sockets of instances.
    pub sockets: SocketFolders,
    /// The limits that cannot be enforced.
    pub limits: LimitObstacles,
    /// Why no instance should run here at all, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed: Option<Box<Obstacle>>,
}

impl HostAbilities {
    /// Returns why no instance of this release can run here, if so.
    pub fn obstacle(&self, spec: &AppSpec) -> Option<Obstacle> {
        let socket = match spec.run.listen {
            Listen::Port => None,
            Listen::Unix => self.sockets.obstacle(&spec.app),
        };
        let socket = socket.map(|why| Obstacle {
            why: why.to_string(),
            hint: "a data folder with a shorter path has room for them; \
                   or set `listen = \"port\"` in [run]"
                .to_string(),
        });
        let closed = self.closed.as_deref().cloned();
        closed.or(socket).or_else(|| self.limits.to(&spec.run.limits).cloned())
    }
}

/// Abilities of a proxy, or of a third-party load balancer in its place. By default everything is possible,
/// as with segue's own proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Abilities {
    /// The ways to divide an app's traffic between two releases.
    pub shares: Shares,
    /// True if the proxy recognises users by their requests, and gives them the release selected for them.
    pub cohorts: bool,
    /// True if the proxy holds requests while an app is closed.
    pub hold: bool,
    /// True if the proxy answers with a page while an app is closed.
    pub maintenance: bool,
    /// True if the proxy counts requests, answers and failures.
    pub counts: bool,
}

/// The ways to divide traffic between two releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shares {
    /// By any share.
    Any,
    /// All of the traffic goes to one of them.
    Whole,
}

impl Default for Abilities {
    fn default() -> Self {
        Self { shares: Shares::Any, cohorts: true, hold: true, maintenance: true, counts: true }
    }
}

impl Abilities {
    /// Returns the ability that a rollout between two releases by this strategy needs and the proxy lacks.
    pub fn lacks_for(&self, strategy: &StrategyKind) -> Option<&'static str> {
        let divides = self.shares == Shares::Any;
        match strategy {
            StrategyKind::BlueGreen { .. } => None,
            StrategyKind::Rolling { .. } => (!divides).then_some("divide traffic"),
            StrategyKind::Canary { .. } if !divides => Some("divide traffic"),
            StrategyKind::Canary { cohort, .. } => {
                (cohort.is_some() && !self.cohorts).then_some("pick users by what they send")
            }
            StrategyKind::Recreate { .. } => (!self.maintenance).then_some("close an app"),
        }
    }

    /// Returns the ability that closing an app like this needs and the proxy lacks.
    pub fn lacks_while(&self, closed: &Maintenance) -> Option<&'static str> {
        if !self.maintenance {
            return Some("close an app");
        }
        (closed.hold > Millis(0) && !self.hold).then_some("keep requests waiting")
    }
}
