//! Ending a request with an answer of our own, once none of an instance can come. Never after a part
//! of one has gone out.

use http1::After;

use crate::closed::Closed;
use crate::exchange::attempt::Link;
use crate::exchange::{Answer, Exchange, Outcome};
use crate::pages::Page;
use crate::redirect::Elsewhere;
use crate::turn::Turn;

impl Exchange {
    /// Answers with a page of our own; there will be no attempt any more.
    pub(crate) fn answer_ourselves(&mut self, page: Page, turn: &mut Turn<'_, '_>) {
        if matches!(page.status, 502..=504) && self.outcome == Outcome::Open {
            self.outcome = Outcome::Failed;
        }
        self.reply(page.status, turn);
        let date = turn.worker.date(turn.now_ms);
        page.write(self.terms.form(), &date, turn.client.out(turn.worker));
    }

    /// Answers that the app is closed. That is what it was told to do, so nothing has failed: the
    /// request is counted as one that was held, if it was.
    pub(crate) fn answer_closed(&mut self, closed: &Closed, turn: &mut Turn<'_, '_>) {
        self.reply(503, turn);
        let date = turn.worker.date(turn.now_ms);
        closed.write(self.terms.form(), &date, turn.client.out(turn.worker));
    }

    /// Sends the client elsewhere. Its request is answered, so nothing has failed.
    pub(crate) fn answer_moved(&mut self, moved: &Elsewhere, turn: &mut Turn<'_, '_>) {
        self.reply(moved.status, turn);
        let date = turn.worker.date(turn.now_ms);
        Page::write_moved(moved, self.terms.form(), &date, turn.client.out(turn.worker));
    }

    /// Makes ready for a whole answer of our own.
    fn reply(&mut self, status: u16, turn: &mut Turn<'_, '_>) {
        if let Some(app) = &self.app {
            turn.worker.app_cells(app).answered_ourselves(status);
        }
        self.link = Link::None;
        self.held.gives_up();
        self.waiting = None;
        self.status = status;
        self.take_head(turn);
        self.discard_body(turn);
        if !self.body_done {
            self.terms.close();
        }
        self.answer = Answer::Done;
    }

    /// What has come of a body that nobody wants: if it is all, the connection stays usable.
    fn discard_body(&mut self, turn: &mut Turn<'_, '_>) {
        if self.terms.after() == After::Close {
            return;
        }
        while !self.body_done && !turn.client.input.is_empty() {
            let Ok(step) = self.body.read(turn.client.input.unread()) else { return };
            turn.client.input.consume(step.skip + step.data);
            self.body_done = step.done;
            if step.skip + step.data == 0 {
                return;
            }
        }
    }
}
