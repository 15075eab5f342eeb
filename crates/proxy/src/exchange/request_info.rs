//! What is known and noted of a request, whatever stage its exchange has come to. Moves no bytes.

use http1::RequestHead;

use crate::exchange::account::{Accounting, Belongs};
use crate::exchange::known::Known;
use crate::exchange::own_answer::OwnAnswer;
use crate::exchange::pacing::Pacing;
use crate::exchange::presence::Presence;
use crate::exchange::route::RoutedApp;
use crate::exchange::terms::Terms;
use crate::forwarded::was_passed_on;
use crate::pages::ErrorPage;
use crate::reuse::Reuse;
use crate::turn::Turn;

/// The facts about a request that every step of its exchange needs.
#[derive(Debug)]
pub(super) struct RequestInfo {
    pub(super) terms: Terms,
    pub(super) known: Known,
    pub(super) presence: Presence,
    pub(super) pacing: Pacing,
    /// The rule by which a connection to an instance is reused.
    pub(super) reuse: Reuse,
    pub(super) account: Accounting,
}

impl RequestInfo {
    /// Returns the information on a request whose head is complete. Its first byte came at `since_ms`.
    #[inline]
    pub(super) fn of(head: &RequestHead, terms: Terms, since_ms: u64, turn: &Turn<'_, '_>) -> Self {
        let input = turn.client.head_bytes();
        let passed_on = !head.body().is_empty() && was_passed_on(head, turn);
        Self {
            terms,
            known: Known::default(),
            presence: Presence::since(turn.now_ms),
            pacing: Pacing::of(head, turn.now_ms),
            reuse: Reuse::of(head, input, || passed_on),
            account: Accounting::of(head, since_ms, turn),
        }
    }

    /// Takes the route, which may lead to another app than before. Returns the answer that the request
    /// gets if it goes no further.
    #[inline]
    pub(super) fn take(
        &mut self,
        route: RoutedApp,
        head: &RequestHead,
        now_ms: u64,
    ) -> (Belongs, Option<OwnAnswer>) {
        let RoutedApp { app, limits, keep_alive, known, instead } = route;
        self.known = known;
        self.reuse.set_rule(keep_alive);
        let belongs = self.account.belongs_to(app, now_ms);
        let bound = self.pacing.bind(limits, head);
        let too_large = || bound.is_err().then_some(OwnAnswer::Page(ErrorPage::TOO_LARGE));
        (belongs, instead.or_else(too_large))
    }
}
