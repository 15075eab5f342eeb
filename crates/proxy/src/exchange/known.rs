//! The user who sent a request, as recognised by its head. Never chooses an arm or an instance.

use http1::RequestHead;
use model::Balance;

use crate::table::AppEntry;
use crate::traffic_split::{Asked, User, known_by};
use crate::turn::Turn;

/// The user of a request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    /// Set while the app's traffic is split among its users.
    user: Option<User>,
    /// A hash of what identifies the user. Set only with `balance = "hash"`.
    key: Option<u64>,
}

impl Known {
    /// Recognises the user of a request to this app.
    pub(crate) fn of(head: &RequestHead, entry: &AppEntry, turn: &Turn<'_, '_>) -> Self {
        let input = turn.client.head_bytes();
        let user = entry.split.as_ref().map(|split| {
            split.recognise(&Asked {
                head,
                input,
                from: turn.caller.whence,
                trusted: &turn.worker.settings().trusted_networks,
                keyring: &turn.worker.shared.live.keyring.load(),
                random: &|| turn.worker.random(),
                now_s: turn.worker.shared.epoch_s(),
            })
        });
        let key = match entry.balance {
            Balance::Hash => known_by(&entry.affinity, head, input, turn.caller.whence.ip),
            Balance::TwoChoices
            | Balance::LeastConnections
            | Balance::PeakEwma
            | Balance::RoundRobin => None,
        };
        Self { user, key }
    }

    /// Returns the user, while the app's traffic is split among its users.
    pub(crate) fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }

    /// Returns the hash by which an instance is picked, with `balance = "hash"`.
    pub(crate) fn key(&self) -> Option<u64> {
        self.key
    }
}
