//! The terms that a request's head sets for its answer: its framing, whether the request may be sent
//! again, and whether the connection stays open. Set once; later only `close` may change them.

use http1::{After, AnswerTo, Persistence, RequestHead};

use crate::back::replay::REPLAY;
use crate::pages::Form;

/// The terms of a request and its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    to: AnswerTo,
    form: Form,
    /// The persistence of the connection that the client asked for.
    asked: Persistence,
    resendable: bool,
}

impl Terms {
    /// Returns the terms of a request.
    #[inline]
    pub(crate) fn of(head: &RequestHead, input: &[u8], closes: bool) -> Self {
        let to = AnswerTo {
            head: head.is_head(input),
            upgrade: head.asks_upgrade(),
            version: head.version(),
        };
        let asked = head.persistence();
        let keep = asked == Persistence::KeepAlive && !closes;
        let after = if keep { After::KeepAlive } else { After::Close };
        let short = head.content_length().is_none_or(|length| length <= REPLAY as u64);
        let resendable =
            head.is_idempotent(input) && short && !head.body().is_chunked() && !to.upgrade;
        let form = Form { head: to.head, json: head.prefers_json(), version: to.version, after };
        Self { to, form, asked, resendable }
    }

    /// Returns the request's demands on the framing of an answer.
    pub(crate) fn to(&self) -> AnswerTo {
        self.to
    }

    /// Returns the form of an answer of the proxy itself.
    pub(crate) fn form(&self) -> Form {
        self.form
    }

    /// Returns what happens to the client's connection after the answer.
    pub(crate) fn after(&self) -> After {
        self.form.after
    }

    /// Closes the client's connection after the answer.
    pub(crate) fn close(&mut self) {
        self.form.after = After::Close;
    }

    /// Returns whether the client has said that this is its last request.
    pub(crate) fn is_last(&self) -> bool {
        self.asked == Persistence::Close
    }

    /// Returns whether the method allows a second attempt, and the body is short enough to be kept for
    /// one.
    pub(crate) fn is_resendable(&self) -> bool {
        self.resendable
    }
}
