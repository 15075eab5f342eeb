//! Answers that the proxy gives itself. Does not decide when they are given.

use std::sync::Arc;

use crate::maintenance::Closed;
use crate::pages::{ErrorPage, Form, LocalReply};
use crate::redirect::Elsewhere;

/// An answer of the proxy itself.
#[derive(Debug)]
pub(super) enum OwnAnswer {
    Page(ErrorPage),
    /// A redirect.
    Moved(Elsewhere),
    /// The app is in maintenance. An operator asked for that, so the request has not failed.
    Closed(Arc<Closed>),
}

impl OwnAnswer {
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Page(page) => page.status,
            Self::Moved(moved) => moved.status,
            Self::Closed(_) => 503,
        }
    }

    /// Returns whether a request that gets this answer has failed.
    pub(super) fn is_failure(&self) -> bool {
        match self {
            Self::Page(page) => matches!(page.status, 502..=504),
            Self::Moved(_) | Self::Closed(_) => false,
        }
    }

    /// Calls `then` with the answer, in the form that suits the client.
    pub(super) fn reply(&self, form: Form, then: impl FnOnce(&LocalReply<'_>)) {
        match self {
            Self::Page(page) => page.reply(form, then),
            Self::Moved(moved) => ErrorPage::reply_moved(moved, form, then),
            Self::Closed(closed) => then(&closed.reply(form)),
        }
    }
}
