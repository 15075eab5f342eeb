//! What a host can do for instances. Known when its server starts.

use alloc::string::ToString;

use crate::{AppSpec, LimitObstacles, Listen, Obstacle, SocketFolders};

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
