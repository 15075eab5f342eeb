//! Ports for new instances: offered by the host, handed out once, resting after use.

use std::collections::{BTreeSet, VecDeque};

use model::{Address, AppName};

/// The ports control may hand out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ports {
    offered: VecDeque<u16>,
    resting: Vec<Resting>,
    asked: bool,
}

/// A port whose instance is Gone but may still stand in a snapshot that some worker holds.
#[derive(Clone, Debug)]
struct Resting {
    port: u16,
    app: AppName,
    version: u64,
}

impl Ports {
    /// Fewer than this on offer: the host is asked for more.
    const LOW: usize = 32;

    /// The host named ports; those that are used or resting are left out.
    pub fn offer(&mut self, free: &[u16], used: &BTreeSet<u16>) {
        self.asked = false;
        let taken =
            |port: &u16| used.contains(port) || self.resting.iter().any(|r| r.port == *port);
        self.offered = free.iter().filter(|port| !taken(port)).copied().collect();
    }

    /// What may be handed out, the best first.
    pub fn free(&mut self) -> &[u16] {
        self.offered.make_contiguous()
    }

    /// A port was handed out.
    pub fn used(&mut self, address: &Address) {
        if let Address::Tcp(address) = address {
            self.offered.retain(|port| *port != address.port());
        }
    }

    /// A port's instance is Gone; it rests until the app's state of `version` is acknowledged.
    pub fn rest(&mut self, address: &Address, app: &AppName, version: u64) {
        if let Address::Tcp(address) = address {
            self.resting.push(Resting { port: address.port(), app: app.clone(), version });
        }
    }

    /// The app's state of that version is acknowledged by every worker.
    pub fn acknowledged(&mut self, app: &AppName, version: u64) {
        self.resting.retain(|r| r.app != *app || r.version > version);
    }

    /// What to ask the host for: `Some` with the ports to leave out, when there are few left.
    pub fn want_more(&mut self, used: impl FnOnce() -> BTreeSet<u16>) -> Option<Vec<u16>> {
        if self.asked || self.offered.len() >= Self::LOW {
            return None;
        }
        self.asked = true;
        let mut except = used();
        except.extend(self.resting.iter().map(|r| r.port));
        Some(except.into_iter().collect())
    }

    /// The host did not answer: ask again.
    pub fn forget_question(&mut self) {
        self.asked = false;
    }
}
