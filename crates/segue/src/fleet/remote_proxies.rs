//! The way from control to the proxies on other machines.

use std::sync::Arc;

use link::{ControlRun, ToMember};
use model::{ProxyCommand, ProxyId};

use super::desk::Desk;

/// The proxies on other machines.
pub struct RemoteProxies {
    desk: Arc<Desk>,
    by: ControlRun,
}

impl RemoteProxies {
    /// Returns the way to the proxies for this control.
    pub fn new(desk: Arc<Desk>, by: ControlRun) -> Self {
        Self { desk, by }
    }

    /// Sends a command to a proxy. One to a proxy without a session is dropped: once it connects, everything is
    /// said again.
    pub fn send(&self, proxy: &ProxyId, command: ProxyCommand) {
        let by = self.by;
        let message = match command {
            ProxyCommand::Prepare(snapshot) => ToMember::Prepare { by, snapshot },
            ProxyCommand::Commit(generation) => ToMember::Commit { by, generation },
            ProxyCommand::Health(table) => ToMember::Health { by, table },
        };
        if let (Some(to_members), Ok(member)) = (self.desk.to_members(), proxy.as_str().parse()) {
            to_members.send(&member, message);
        }
    }
}
