//! Where a request belongs, by the worker's newest snapshot, and what it gets if it goes no further.
//! Never chooses an instance.

use std::sync::Arc;

use http1::{Progress, RequestHead};

use crate::exchange::Exchange;
use crate::exchange::attempt::Link;
use crate::exchange::known::Known;
use crate::forwarded::rewritten;
use crate::pages::Page;
use crate::redirect::Elsewhere;
use crate::router::AppIndex;
use crate::turn::Turn;

/// Where a head belongs, by the worker's table.
pub(crate) struct Place {
    app: Option<AppIndex>,
    /// Bytes of the path that the app does not see.
    pub(crate) strip: usize,
}

impl Place {
    pub(crate) fn of(head: &RequestHead, turn: &Turn<'_, '_>) -> Self {
        let input = turn.client.input.unread();
        let table = turn.worker.table.borrow();
        let app = table.router.find(head.host(input), head.path(input));
        Self { app, strip: app.and_then(|at| table.apps.get(at)).map_or(0, |entry| entry.strip) }
    }
}

/// What a request gets that goes no further.
pub(crate) enum Instead {
    Page(Page),
    Moved(Elsewhere),
}

impl Exchange {
    /// Takes the app that the head belongs to, which need not be the one that it had before. What it
    /// gets if it goes no further.
    pub(crate) fn route(
        &mut self,
        head: &RequestHead,
        place: &Place,
        turn: &mut Turn<'_, '_>,
    ) -> Option<Instead> {
        let input = turn.client.input.unread();
        let found = {
            let table = turn.worker.table.borrow();
            let none = if table.apps.is_empty() { Page::UNAVAILABLE } else { Page::NO_APP };
            place.app.and_then(|at| table.apps.get(at)).ok_or(none).map(|entry| {
                let known = Known::of(head, entry, turn);
                if turn.client.whence.relayed
                    && let Some(claim) = head.claim(input)
                {
                    entry.stats.dropped.note(claim, turn.client.peer, turn.now_ms);
                }
                let last = last_hop(head, input);
                let moved = entry.redirects.as_ref().and_then(|it| it.find(head, input));
                let instead = last.map(Instead::Page).or(moved.map(Instead::Moved));
                self.reuse.set_rule(entry.keep_alive);
                (Arc::clone(&entry.stats), entry.limits, known, instead)
            })
        };
        match found {
            Ok((app, limits, known, instead)) => {
                self.known = known;
                if self.app.as_ref().is_none_or(|before| before.key != app.key) {
                    self.waiting = Some(app.gap.begin(turn.now_ms));
                    self.held.changes_app();
                    self.arm = None;
                }
                if let Some(entry) = &mut self.entry {
                    entry.app = Some(Arc::clone(&app));
                }
                self.app = Some(app);
                self.link = Link::Unchosen;
                let bound = self.pacing.bind(limits, head);
                let too_large = || bound.is_err().then_some(Instead::Page(Page::TOO_LARGE));
                instead.or_else(too_large)
            }
            Err(page) => Some(Instead::Page(page)),
        }
    }

    /// Ends a request that goes no further, if there is a reason for that.
    pub(crate) fn answer_instead(&mut self, instead: Option<Instead>, turn: &mut Turn<'_, '_>) {
        match instead {
            None => {}
            Some(Instead::Page(page)) => self.answer_ourselves(page, turn),
            Some(Instead::Moved(moved)) => self.answer_moved(&moved, turn),
        }
    }

    /// Takes the head off the client's input: what follows is the body.
    pub(crate) fn take_head(&mut self, turn: &mut Turn<'_, '_>) {
        turn.client.input.consume(std::mem::take(&mut self.head_len));
    }

    /// Routes a request that has not gone out yet by the newest snapshot: its app may be reached in
    /// another way now, with other limits, or another app is.
    pub(crate) fn route_again(&mut self, turn: &mut Turn<'_, '_>) {
        if self.head_len == 0 {
            return;
        }
        let mut parser = turn.worker.request_parser();
        // It could be read before.
        if let Ok(Progress::Finished(_)) = parser.parse(turn.client.input.unread()) {
            let place = Place::of(parser.head(), turn);
            let request = rewritten(parser.head(), place.strip, turn);
            turn.worker.stock.put(std::mem::replace(&mut self.request, request));
            let instead = self.route(parser.head(), &place, turn);
            self.answer_instead(instead, turn);
        }
        turn.worker.return_request_parser(parser);
    }
}

/// Proxies of this kind that a request may come through: more are a circle.
const MOST_HOPS: u64 = 10;

/// What we say to a request that may go no further (RFC 9110, 7.6.2), or that goes round.
fn last_hop(head: &RequestHead, input: &[u8]) -> Option<Page> {
    if head.hops() >= MOST_HOPS {
        return Some(Page::CIRCLE);
    }
    match (head.max_forwards(), head.method(input)) {
        (Some(0), b"TRACE") => Some(Page::NO_TRACE),
        (Some(0), _) => Some(Page::OPTIONS),
        (Some(_) | None, _) => None,
    }
}
