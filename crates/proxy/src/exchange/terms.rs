//! What a request's head says of its answer: how it is framed, whether the request may be sent again, and
//! how the connection goes on. Set once; later the connection can only be told to close.

use http1::{After, AnswerTo, Persistence, RequestHead};

use crate::back::replay::REPLAY;
use crate::pages::Form;

/// What a request and its answer are bound to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    to: AnswerTo,
    form: Form,
    /// What the client said of its connection.
    asked: Persistence,
    resendable: bool,
}

impl Terms {
    /// The terms of a request.
    #[inline]
    pub(crate) fn of(head: &RequestHead, input: &[u8], is_draining: bool) -> Self {
        let to = AnswerTo {
            head: head.is_head(input),
            upgrade: head.asks_upgrade(),
            version: head.version(),
        };
        let asked = head.persistence();
        let keep = asked == Persistence::KeepAlive && !is_draining;
        let after = if keep { After::KeepAlive } else { After::Close };
        let short = head.content_length().is_none_or(|length| length <= REPLAY as u64);
        let resendable =
            head.is_idempotent(input) && short && !head.body().is_chunked() && !to.upgrade;
        let form = Form { head: to.head, json: head.prefers_json(), version: to.version, after };
        Self { to, form, asked, resendable }
    }

    /// What an answer has to suit.
    pub(crate) fn to(&self) -> AnswerTo {
        self.to
    }

    /// The form of an answer of our own.
    pub(crate) fn form(&self) -> Form {
        self.form
    }

    /// What becomes of the client's connection after the answer.
    pub(crate) fn after(&self) -> After {
        self.form.after
    }

    /// The client's connection closes after the answer.
    pub(crate) fn close(&mut self) {
        self.form.after = After::Close;
    }

    /// Whether the client has said that this is its last request.
    pub(crate) fn is_last(&self) -> bool {
        self.asked == Persistence::Close
    }

    /// Whether the method allows a second attempt, and the body is short enough to be kept for it.
    pub(crate) fn is_resendable(&self) -> bool {
        self.resendable
    }
}
