//! Whether a connection to an instance may carry another request, and whose. Never trusts an app to
//! have read a body, nor to have sent none where none may be: what is left on a connection would be
//! taken for the next client's request, or for its answer.

use http1::{AnswerTo, Persistence, RequestHead, ResponseHead};
use model::KeepAlive;

/// What becomes of a connection whose answer is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Closes,
    Stays(Kept),
}

/// How a connection is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Only the client that sent the body may use it.
    pub(crate) own: bool,
    /// Not used before it has been quiet for a while.
    pub(crate) aside: bool,
    /// For so many seconds, if the instance said so.
    pub(crate) idle_s: Option<u64>,
}

/// What a request may leave unread on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaves {
    Nothing,
    /// A body of this connection's client.
    OwnBody,
    /// A body that apps do not expect, or one that came through a proxy, whose connection carries
    /// requests of many clients.
    ForeignBody,
}

/// What one exchange tells of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reuse {
    rule: KeepAlive,
    leaves: Leaves,
    head: bool,
    status: u16,
    /// The answer began before all of the request was out.
    early: bool,
    /// Set if the instance would go on, with the seconds for which it says it does.
    offered: Option<Option<u64>>,
}

impl Reuse {
    /// What is known before the answer. `passed_on` tells whether a proxy has passed the request on.
    pub(crate) fn of(head: &RequestHead, input: &[u8], passed_on: impl FnOnce() -> bool) -> Self {
        let unexpected = || matches!(head.method(input), b"GET" | b"HEAD" | b"DELETE" | b"OPTIONS");
        let leaves = match head.body().is_empty() {
            true => Leaves::Nothing,
            false if unexpected() || passed_on() => Leaves::ForeignBody,
            false => Leaves::OwnBody,
        };
        let head = head.is_head(input);
        let rule = KeepAlive::default();
        Self { rule, leaves, head, status: 0, early: false, offered: None }
    }

    /// As the app's route says.
    pub(crate) fn set_rule(&mut self, rule: KeepAlive) {
        self.rule = rule;
    }

    /// Whether a connection may be used that has carried other requests.
    pub(crate) fn takes_used(&self) -> bool {
        self.rule != KeepAlive::Off
    }

    /// Some of the request is not out, and the answer begins.
    pub(crate) fn note_early_answer(&mut self) {
        self.early = true;
    }

    /// The answer has begun.
    pub(crate) fn answered(&mut self, head: &ResponseHead, to: AnswerTo) {
        self.status = head.status();
        let goes_on = head.persistence(to) == Persistence::KeepAlive;
        self.offered = goes_on.then(|| head.keep_alive_timeout());
    }

    /// The answer is whole. `carried_body` if a request before this one left a body to this client.
    pub(crate) fn next(&self, carried_body: bool) -> Next {
        let Some(idle_s) = self.offered else { return Next::Closes };
        match self.rule {
            KeepAlive::Off => return Next::Closes,
            KeepAlive::Trusting => return Next::Stays(Kept { own: false, aside: false, idle_s }),
            KeepAlive::Careful => {}
        }
        let own = match self.leaves {
            Leaves::Nothing => carried_body,
            Leaves::OwnBody if self.early || self.status >= 400 => return Next::Closes,
            Leaves::OwnBody => true,
            Leaves::ForeignBody => return Next::Closes,
        };
        if self.head {
            return Next::Closes;
        }
        Next::Stays(Kept { own, aside: matches!(self.status, 204 | 304), idle_s })
    }
}
