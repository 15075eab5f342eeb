//! What every proxy of the fleet has from the server besides the tables: settings, keys, and the list of instances
//! that it asks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use link::{ControlRun, SharedJson, ToMember};
use model::{InstanceId, Millis, ProxyId, ProxySettings, ReachTarget, Reached};
use wire::Secret;

use crate::reach_news;

/// Time for the last answer of a connection of a proxy that is drained.
const LAST_ANSWER: Millis = Millis::from_secs(30);

/// What every proxy of the fleet has from the server.
#[derive(Debug)]
pub struct ForProxies {
    settings: ProxySettings,
    keys: Mutex<Secret>,
    targets: Mutex<SharedJson<Vec<ReachTarget>>>,
    /// What each proxy has found of them.
    reached: Mutex<BTreeMap<ProxyId, BTreeMap<InstanceId, Reached>>>,
}

impl ForProxies {
    pub fn new(settings: ProxySettings, keys: Secret) -> Self {
        Self {
            settings,
            keys: Mutex::new(keys),
            targets: Mutex::default(),
            reached: Mutex::default(),
        }
    }

    /// Returns the time that a proxy has for its clients' connections when it is drained: as long as one may be
    /// idle, and then some for its last answer.
    pub fn time_to_drain(&self) -> Millis {
        Millis(self.settings.limits.idle.0.saturating_add(LAST_ANSWER.0))
    }

    /// Returns the messages for a proxy that has connected, in their order.
    pub fn greeting(&self, by: ControlRun) -> [ToMember; 3] {
        let settings = self.settings.clone();
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        [
            ToMember::Settings { by, settings },
            ToMember::CookieKeys { by, keys },
            ToMember::Reach { by, targets: targets.clone() },
        ]
    }

    /// Replaces the keys of users' cookies. Returns the message for the proxies that are connected.
    pub fn use_keys(&self, by: ControlRun, keys: Secret) -> ToMember {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&keys);
        ToMember::CookieKeys { by, keys }
    }

    /// Takes what a proxy has found of the instances since it said so last.
    pub fn learn(&self, proxy: ProxyId, anew: bool, news: BTreeMap<InstanceId, Option<Reached>>) {
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        reach_news::learn(reached.entry(proxy).or_default(), anew, news);
    }

    /// Returns what a proxy has found of the instances.
    pub fn reached(&self, proxy: &ProxyId) -> BTreeMap<InstanceId, Reached> {
        let reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        reached.get(proxy).cloned().unwrap_or_default()
    }

    /// Forgets what a proxy that was removed has found.
    pub fn forget(&self, proxy: &ProxyId) {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).remove(proxy);
    }

    /// Replaces the list of instances. Returns the message for the proxies that are connected.
    pub fn ask_instances(&self, by: ControlRun, targets: Vec<ReachTarget>) -> ToMember {
        let targets = SharedJson::from(Arc::new(targets));
        self.targets.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&targets);
        ToMember::Reach { by, targets }
    }
}
