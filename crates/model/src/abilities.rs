//! What a host can do for instances, and a proxy for apps. Known when the server starts.

use alloc::string::ToString;

use crate::{
    AppSpec, LimitObstacles, Listen, Maintenance, Millis, Obstacle, SocketFolders, StrategyKind,
};

/// What differs from host to host. By default a host can do everything.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct HostAbilities {
    /// Where instances have their unix sockets.
    pub sockets: SocketFolders,
    /// Which limits cannot be enforced.
    pub limits: LimitObstacles,
}

impl HostAbilities {
    /// Why no instance of this release can run here, if so.
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
        socket.or_else(|| self.limits.to(&spec.run.limits).cloned())
    }
}

/// What a proxy can do for apps, or the load balancer of another maker in its place. Segue's own proxy can do
/// everything, and so it is by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// How it divides an app's traffic between two releases.
    pub shares: Shares,
    /// The proxy knows users by what they send, and gives them the release that is meant for them.
    pub cohorts: bool,
    /// The proxy keeps requests waiting while an app is closed.
    pub hold: bool,
    /// The proxy answers with a page while an app is closed.
    pub maintenance: bool,
    /// The proxy counts requests, answers and failures.
    pub counts: bool,
}

/// How traffic can be divided between two releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shares {
    /// By any share.
    Any,
    /// All of it goes to one of them.
    Whole,
}

impl Default for Abilities {
    fn default() -> Self {
        Self { shares: Shares::Any, cohorts: true, hold: true, maintenance: true, counts: true }
    }
}

impl Abilities {
    /// What it would have to do for a rollout from one release to another by this strategy, and cannot.
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

    /// What it would have to do while an app is closed like this, and cannot.
    pub fn lacks_while(&self, closed: &Maintenance) -> Option<&'static str> {
        if !self.maintenance {
            return Some("close an app");
        }
        (closed.hold > Millis(0) && !self.hold).then_some("keep requests waiting")
    }
}
