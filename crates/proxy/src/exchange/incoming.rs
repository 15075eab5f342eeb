//! The answer on its way to the client: its head is checked and rewritten, its body is framed anew. Never
//! makes a broken answer look complete.

use std::sync::Arc;
use std::task::Poll;

use http1::{BadAnswer, Persistence, Progress, ResponseHead, ResponseParser, Version};

use crate::buffer::LARGE;
use crate::exchange::failure::AttemptFailure;
use crate::exchange::request_info::RequestInfo;
use crate::stats::AppStats;
use crate::traffic_split::User;
use crate::turn::Turn;
use crate::upstream::UpstreamConnection;
use crate::worker::Worker;

/// Bytes of interim answers before the final one: a fixed amount, and a further amount for each second.
/// The number of interim answers has no bound (RFC 9110, 15.2).
const INTERIM_BYTES: u64 = 64 << 10;
const INTERIM_RATE: u64 = 4 << 10;

/// The state of an answer.
#[derive(Debug)]
pub(super) enum AnswerState {
    Awaited(Box<ResponseParser>),
    Body {
        kind: AnswerKind,
    },
    /// All of the answer is in the output.
    Done,
    /// The answer broke off.
    Cut,
    /// The answer is a 101. A tunnel follows.
    Switched,
}

/// The kind of an answer, by whether it has an end of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerKind {
    Finite,
    /// A stream of events. It ends with its instance, which is no failure.
    EventStream,
}

/// The part of an answer that was seen before the attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SeenOfAnswer {
    Nothing,
    /// A part of its head.
    Bytes,
    /// Interim answers.
    Interim,
    /// The head, which has gone out.
    Head,
}

/// The part of an answer that was read in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    Nothing,
    /// An interim head, of this many bytes.
    Interim(usize),
    /// An interim head (100) that asks the client for its body, of this many bytes.
    Continue(usize),
    /// The final head, of this many bytes.
    Head(usize),
    /// This many bytes of the body.
    Body(usize),
    /// This many bytes of the body, and its end.
    End(usize),
}

/// An answer on its way to the client.
#[derive(Debug)]
pub(super) struct Incoming {
    answer: AnswerState,
    /// The number of bytes of interim answers so far.
    interims: u64,
}

impl Incoming {
    /// Returns an answer of which nothing has come.
    #[inline]
    pub(super) fn awaited(worker: &Worker) -> Self {
        let answer = AnswerState::Awaited(worker.parsers.response());
        Self { answer, interims: 0 }
    }

    pub(super) fn state(&self) -> &AnswerState {
        &self.answer
    }

    /// Returns whether the answer has an end of its own.
    pub(super) fn kind(&self) -> AnswerKind {
        match &self.answer {
            AnswerState::Body { kind, .. } => *kind,
            AnswerState::Awaited(_)
            | AnswerState::Done
            | AnswerState::Cut
            | AnswerState::Switched => AnswerKind::Finite,
        }
    }

    /// Returns the part of the answer that has been seen, if `unread` bytes of it are not read yet.
    pub(super) fn seen(&self, unread: usize) -> SeenOfAnswer {
        match &self.answer {
            AnswerState::Awaited(_) if self.interims > 0 => SeenOfAnswer::Interim,
            AnswerState::Awaited(_) if unread == 0 => SeenOfAnswer::Nothing,
            AnswerState::Awaited(_) => SeenOfAnswer::Bytes,
            AnswerState::Body { .. }
            | AnswerState::Done
            | AnswerState::Cut
            | AnswerState::Switched => SeenOfAnswer::Head,
        }
    }

    /// Reads once from the instance, unless the client is too far behind.
    #[inline]
    pub(super) fn receive(
        &self,
        upstream: &mut UpstreamConnection,
        turn: &mut Turn<'_, '_>,
    ) -> Result<usize, AttemptFailure> {
        let room = turn.client.unwritten() < LARGE && upstream.side.unread() < 2 * LARGE;
        if upstream.side.has_ended() || !room {
            return Ok(0);
        }
        match upstream.side.poll_receive(turn.cx, &turn.worker.stock) {
            Poll::Pending => Ok(0),
            Poll::Ready(Ok(0)) => Ok(1),
            Poll::Ready(Ok(count)) => {
                upstream.flight.instance().moved(turn.now_ms);
                Ok(count)
            }
            // The bytes before the error are worth reading, unless only a clean end would complete the
            // body.
            Poll::Ready(Err(_)) => match &self.answer {
                AnswerState::Body { .. } if upstream.side.ends_with_connection() => {
                    Err(AttemptFailure::Broken)
                }
                AnswerState::Awaited(_)
                | AnswerState::Body { .. }
                | AnswerState::Done
                | AnswerState::Cut
                | AnswerState::Switched => Ok(1),
            },
        }
    }

    /// Parses the bytes from the instance. Passes bytes of the body on to the client.
    #[inline]
    pub(super) fn read(
        &mut self,
        upstream: &mut UpstreamConnection,
        info: &RequestInfo,
        turn: &mut Turn<'_, '_>,
    ) -> Result<Arrived, AttemptFailure> {
        match &self.answer {
            AnswerState::Awaited(_) => self.read_head(upstream, info),
            AnswerState::Body { .. } => self.read_body(upstream, turn),
            AnswerState::Done | AnswerState::Cut | AnswerState::Switched => Ok(Arrived::Nothing),
        }
    }

    #[inline]
    fn read_head(
        &mut self,
        upstream: &mut UpstreamConnection,
        info: &RequestInfo,
    ) -> Result<Arrived, AttemptFailure> {
        let AnswerState::Awaited(parser) = &mut self.answer else { return Ok(Arrived::Nothing) };
        let nothing = if upstream.side.has_ended() {
            Err(AttemptFailure::Broken)
        } else {
            Ok(Arrived::Nothing)
        };
        if upstream.side.unread() == 0 {
            return nothing;
        }
        let len = match parser.parse(upstream.side.input().unread(), info.terms.to()) {
            Ok(Progress::Unfinished) => return nothing,
            Ok(Progress::Finished(len)) => len,
            // On a connection that was used before, these bytes are the rest of an earlier answer.
            Err(BadAnswer::StatusLine) if upstream.is_used() => return Err(AttemptFailure::Stale),
            Err(error) => {
                tracing::debug!(%error, "an instance's answer cannot be passed on");
                return Err(AttemptFailure::BadAnswer);
            }
        };
        // A 408 here answers the silence before the request, not the request (RFC 9110, 15.5.9).
        if parser.head().says_idle_for_too_long()
            && upstream.is_used()
            && info.terms.is_resendable()
        {
            return Err(AttemptFailure::Stale);
        }
        Ok(match parser.head().status() {
            100 => Arrived::Continue(len),
            _ if parser.head().is_interim() => Arrived::Interim(len),
            _ => Arrived::Head(len),
        })
    }

    #[inline]
    fn read_body(
        &mut self,
        upstream: &mut UpstreamConnection,
        turn: &mut Turn<'_, '_>,
    ) -> Result<Arrived, AttemptFailure> {
        let side = &mut upstream.side;
        let mut moved = 0;
        let mut done = side.has_no_body();
        while !done && side.unread() > 0 && turn.client.unwritten() < 2 * LARGE {
            let step = side.body().map_err(|_| AttemptFailure::BadAnswer)?;
            turn.client.data(side.input(), step.data, turn.worker);
            let taken = step.skip + step.data;
            done = step.done;
            moved += taken;
            if taken == 0 {
                break;
            }
        }
        if side.has_ended() && !done && side.unread() == 0 {
            if !side.is_whole_at_end() {
                return Err(AttemptFailure::Broken);
            }
            done = true;
        }
        if done {
            turn.client.end(side.trailers(), turn.worker);
            self.answer = AnswerState::Done;
            return Ok(Arrived::End(moved));
        }
        Ok(if moved == 0 { Arrived::Nothing } else { Arrived::Body(moved) })
    }

    /// Passes on an interim head of `len` bytes.
    pub(super) fn pass_interim(
        &mut self,
        len: usize,
        upstream: &mut UpstreamConnection,
        info: &RequestInfo,
        turn: &mut Turn<'_, '_>,
    ) -> Result<(), AttemptFailure> {
        self.count_interim(len, info, turn.now_ms)?;
        let to = info.terms.to();
        if let AnswerState::Awaited(parser) = &self.answer
            && to.version == Version::Http11
        {
            let bytes = upstream.side.input().unread();
            turn.client.interim(parser.head(), bytes, to, turn.worker);
        }
        self.next_head(len, upstream);
        Ok(())
    }

    /// Drops an interim head of `len` bytes.
    pub(super) fn drop_interim(
        &mut self,
        len: usize,
        upstream: &mut UpstreamConnection,
        info: &RequestInfo,
        now_ms: u64,
    ) -> Result<(), AttemptFailure> {
        self.count_interim(len, info, now_ms)?;
        self.next_head(len, upstream);
        Ok(())
    }

    fn count_interim(
        &mut self,
        len: usize,
        info: &RequestInfo,
        now_ms: u64,
    ) -> Result<(), AttemptFailure> {
        self.interims += len as u64;
        let lasts_s = now_ms.saturating_sub(info.account.started_ms()) / 1000;
        let most = INTERIM_BYTES.saturating_add(lasts_s.saturating_mul(INTERIM_RATE));
        if self.interims > most { Err(AttemptFailure::BadAnswer) } else { Ok(()) }
    }

    fn next_head(&mut self, len: usize, upstream: &mut UpstreamConnection) {
        if let AnswerState::Awaited(parser) = &mut self.answer {
            parser.restart();
        }
        upstream.side.input().consume(len);
    }

    /// Passes the final head, of `len` bytes, on to the client. Returns its status.
    #[inline]
    pub(super) fn accept(
        &mut self,
        len: usize,
        upstream: &mut UpstreamConnection,
        info: &mut RequestInfo,
        turn: &mut Turn<'_, '_>,
    ) -> u16 {
        let AnswerState::Awaited(parser) = &mut self.answer else { return 0 };
        let (head, to) = (parser.head(), info.terms.to());
        let (_, persistence) = head.encoding(to);
        if persistence == Persistence::Close || turn.worker.closes_connections() {
            info.terms.close();
        }
        let mut cookies = match info.known.user() {
            Some(user) if user.has_news() && may_add_cookies(head) => {
                cookies(user, info.account.app().map(Arc::as_ref), turn.worker)
            }
            Some(_) | None => Vec::new(),
        };
        let date = (!head.is_dated()).then(|| turn.worker.date(turn.now_ms));
        let added = match &date {
            None => &cookies[..],
            Some(date) if cookies.is_empty() => date,
            Some(date) => {
                cookies.extend_from_slice(date);
                &cookies
            }
        };
        let how = (to, info.terms.after());
        turn.client.head(head, upstream.side.input().unread(), how, added, turn.worker);
        upstream.side.took_head(head, len, to);
        info.reuse.answered(head, to);
        let status = head.status();
        let next = match head.is_switch() {
            true => AnswerState::Switched,
            false => AnswerState::Body { kind: AnswerKind::of(head) },
        };
        if let AnswerState::Awaited(parser) = std::mem::replace(&mut self.answer, next) {
            turn.worker.parsers.put_response(parser);
        }
        status
    }

    /// Waits for the answer to another attempt.
    pub(super) fn begin_anew(&mut self) {
        if let AnswerState::Awaited(parser) = &mut self.answer {
            parser.restart();
        }
    }

    /// Notes that the answer is complete.
    pub(super) fn set_done(&mut self) {
        self.answer = AnswerState::Done;
    }

    /// Notes that the answer broke off after its head had gone out.
    pub(super) fn set_cut(&mut self) {
        self.answer = AnswerState::Cut;
    }
}

impl AnswerKind {
    fn of(head: &ResponseHead) -> Self {
        if head.is_event_stream() { Self::EventStream } else { Self::Finite }
    }
}

/// Returns whether cookies may be added to the answer. A cookie belongs to one user, so it is never added
/// to an answer that shared caches may store. Nor to a 304, which only renews a cached answer, nor to a
/// 101, whose clients rarely keep cookies.
fn may_add_cookies(head: &ResponseHead) -> bool {
    !(head.is_shared() || head.is_switch() || head.status() == 304)
}

/// Returns the user's `Set-Cookie` lines, by the newest snapshot.
fn cookies(user: &User, app: Option<&AppStats>, worker: &Worker) -> Vec<u8> {
    let table = worker.table.borrow();
    let split = app.and_then(|app| table.app(app.key)).and_then(|entry| entry.split.as_ref());
    let shared = &worker.shared;
    split.map_or_else(Vec::new, |split| {
        split.cookies(user, &shared.live.keyring.load(), shared.epoch_s())
    })
}
