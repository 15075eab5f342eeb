//! Decides whether a connection to an instance may carry another request, and of which client. Never
//! relies on an app to have read a body, nor to have sent none where none may be: bytes left on a
//! connection would be taken for the next client's request or answer.

use http1::{AnswerTo, Persistence, RequestHead, ResponseHead};
use model::KeepAlive;

/// The use of a connection whose answer is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Closes,
    Stays(Kept),
}

/// The conditions under which a connection is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// True if only the client that sent the body may use it.
    pub(crate) own: bool,
    /// True if it must not be used before it has been quiet for a while.
    pub(crate) aside: bool,
    /// Seconds that it is kept, if the instance declared a time.
    pub(crate) idle_s: Option<u64>,
}

/// The bytes of a request that an instance may leave unread on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaves {
    Nothing,
    /// A body of the client that the connection belongs to.
    OwnBody,
    /// A body that apps do not expect, or one that came through a proxy, whose connection carries
    /// requests of many clients.
    ForeignBody,
}

/// The facts of one exchange that decide about its connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reuse {
    rule: KeepAlive,
    leaves: Leaves,
    head: bool,
    status: u16,
    /// True if the answer began before all of the request was out.
    early: bool,
    /// Set if the instance keeps the connection open, with the seconds for which it says it does.
    offered: Option<Option<u64>>,
}

impl Reuse {
    /// Returns the facts known before the answer. `passed_on` returns whether a proxy has passed the
    /// request on.
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

    /// Sets the rule of the app's route.
    pub(crate) fn set_rule(&mut self, rule: KeepAlive) {
        self.rule = rule;
    }

    /// Returns whether a connection may be used that has carried other requests.
    pub(crate) fn takes_used(&self) -> bool {
        self.rule != KeepAlive::Off
    }

    /// Notes that the answer begins before all of the request is out.
    pub(crate) fn note_early_answer(&mut self) {
        self.early = true;
    }

    /// Notes that the answer has begun.
    pub(crate) fn answered(&mut self, head: &ResponseHead, to: AnswerTo) {
        self.status = head.status();
        let goes_on = head.persistence(to) == Persistence::KeepAlive;
        self.offered = goes_on.then(|| head.keep_alive_timeout());
    }

    /// Returns the use of the connection after a complete answer. `carried_body` is true if an earlier
    /// request left a body of this client on it.
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
