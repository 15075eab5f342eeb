//! What every proxy of the fleet has from the server besides the tables: settings, keys, and the list of instances
//! that it asks.

use std::sync::{Arc, Mutex, PoisonError};

use link::{ControlRun, ToMember};
use model::{ProxySettings, ReachTarget};
use wire::Secret;

/// What every proxy of the fleet has from the server.
#[derive(Debug)]
pub struct ForProxies {
    settings: ProxySettings,
    keys: Secret,
    targets: Mutex<Arc<Vec<ReachTarget>>>,
}

impl ForProxies {
    pub fn new(settings: ProxySettings, keys: Secret) -> Self {
        Self { settings, keys, targets: Mutex::default() }
    }

    /// Returns the messages for a proxy that has connected, in their order.
    pub fn greeting(&self, by: ControlRun) -> [ToMember; 3] {
        let (settings, keys) = (self.settings.clone(), self.keys.clone());
        let targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        [
            ToMember::Settings { by, settings },
            ToMember::CookieKeys { by, keys },
            ToMember::Reach { by, targets: targets.clone() },
        ]
    }

    /// Replaces the list of instances. Returns the message for the proxies that are connected.
    pub fn ask_instances(&self, by: ControlRun, targets: Vec<ReachTarget>) -> ToMember {
        let targets = Arc::new(targets);
        self.targets.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&targets);
        ToMember::Reach { by, targets }
    }
}
