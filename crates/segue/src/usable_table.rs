//! Whether a proxy has a table with which it can serve users: without one it is not ready, and gives the floating
//! address up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::Generation;
use proxy::Proxy;

/// The table of a proxy.
#[derive(Clone, Debug)]
pub struct UsableTable {
    proxy: Proxy,
    /// Whether no host confirms anything of the table of before the boot, which matters while that is in use.
    is_unconfirmed: Arc<AtomicBool>,
}

impl UsableTable {
    /// Returns the table of this proxy.
    pub fn of(proxy: Proxy) -> Self {
        Self { proxy, is_unconfirmed: Arc::default() }
    }

    /// Notes whether no host confirms anything of the table of before the boot.
    pub fn is_unconfirmed(&self, so: bool) {
        self.is_unconfirmed.store(so, Ordering::Release);
    }

    /// Returns whether every worker has a table with which users can be served.
    pub fn is_there(&self) -> bool {
        let in_use = self.proxy.observe().acknowledged;
        // Tables of control have its term, which is never 0.
        let is_of_control = in_use.term > 0;
        in_use > Generation::default()
            && (is_of_control || !self.is_unconfirmed.load(Ordering::Acquire))
    }
}
