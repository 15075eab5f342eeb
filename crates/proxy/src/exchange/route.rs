//! The app that a request belongs to, by the worker's newest snapshot, and the answer that the request
//! gets if it goes no further. Never chooses an instance.

use std::sync::Arc;

use http1::RequestHead;
use model::{AppLimits, KeepAlive};

use crate::exchange::known::Known;
use crate::exchange::own_answer::OwnAnswer;
use crate::pages::ErrorPage;
use crate::router::AppIndex;
use crate::stats::AppStats;
use crate::turn::Turn;

/// The app that a head belongs to, by the worker's table.
pub(super) struct Place {
    app: Option<AppIndex>,
    /// The number of bytes to strip from the front of the path.
    pub(super) strip: usize,
}

/// The app of a request, and the app's settings for it.
pub(super) struct RoutedApp {
    pub(super) app: Arc<AppStats>,
    pub(super) limits: AppLimits,
    pub(super) keep_alive: KeepAlive,
    pub(super) known: Known,
    /// The answer that the request gets if it goes no further.
    pub(super) instead: Option<OwnAnswer>,
}

impl Place {
    #[inline]
    pub(super) fn of(head: &RequestHead, turn: &Turn<'_, '_>) -> Self {
        let input = turn.client.head_bytes();
        let table = turn.worker.table.borrow();
        let app = table.router.find(head.host(input), head.path(input));
        Self { app, strip: app.and_then(|at| table.apps.get(at)).map_or(0, |entry| entry.strip) }
    }

    /// Returns the app of the request. The client must be known by now.
    #[inline]
    pub(super) fn route(
        &self,
        head: &RequestHead,
        turn: &Turn<'_, '_>,
    ) -> Result<RoutedApp, ErrorPage> {
        let input = turn.client.head_bytes();
        let table = turn.worker.table.borrow();
        let none = if table.apps.is_empty() { ErrorPage::UNAVAILABLE } else { ErrorPage::NO_APP };
        let entry = self.app.and_then(|at| table.apps.get(at)).ok_or(none)?;
        if turn.caller.whence.relayed
            && let Some(claim) = head.claim(input)
        {
            entry.stats.dropped.note(claim, turn.caller.peer, turn.now_ms);
        }
        let last = last_hop(head, input).map(OwnAnswer::Page);
        let moved = || entry.redirects.as_ref().and_then(|it| it.find(head, input));
        Ok(RoutedApp {
            app: Arc::clone(&entry.stats),
            limits: entry.limits,
            keep_alive: entry.keep_alive,
            known: Known::of(head, entry, turn),
            instead: last.or_else(|| moved().map(OwnAnswer::Moved)),
        })
    }
}

/// The number of proxies of this kind that a request may come through. More are a loop.
const MOST_HOPS: u64 = 10;

/// Returns the answer to a request that may go no further (RFC 9110, 7.6.2) or goes round in a loop.
fn last_hop(head: &RequestHead, input: &[u8]) -> Option<ErrorPage> {
    if head.hops() >= MOST_HOPS {
        return Some(ErrorPage::CIRCLE);
    }
    match (head.max_forwards(), head.method(input)) {
        (Some(0), b"TRACE") => Some(ErrorPage::NO_TRACE),
        (Some(0), _) => Some(ErrorPage::OPTIONS),
        (Some(_) | None, _) => None,
    }
}
