//! What every step of a connection may use: the client's side, the worker, and the time. Never waits, and
//! knows no step.

use std::task::{Context, Poll};

use crate::buffer::{Buffer, Keep};
use crate::caller::Caller;
use crate::slot_id::SlotId;
use crate::slots::Watch;
use crate::socket::Socket;
use crate::worker::Worker;

/// A client's leaving is noticed after so long: most answers have come before, and their clients'
/// sockets need not be watched.
const UNWATCHED_MS: u64 = 50;

/// The client's side of a connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: Socket,
    pub(crate) input: Buffer,
    pub(crate) output: Buffer,
    /// It sends nothing more; it may still read.
    pub(crate) ended: bool,
}

/// What every step of a connection may use.
pub(crate) struct Turn<'a, 'b> {
    pub(crate) cx: &'a mut Context<'b>,
    pub(crate) worker: &'a Worker,
    pub(crate) client: &'a mut Client,
    pub(crate) caller: &'a mut Caller,
    /// By what the worker knows whoever is served.
    pub(crate) slot: SlotId,
    pub(crate) now_ms: u64,
    /// The snapshot has changed since the last turn.
    pub(crate) news: bool,
}

impl Turn<'_, '_> {
    /// Whether the app is closed for the client.
    pub(crate) fn is_closed(&self, app: Option<u32>) -> bool {
        let table = self.worker.table.borrow();
        let closed = app.and_then(|app| table.app(app)).and_then(|entry| entry.closed.as_ref());
        closed.is_some_and(|closed| !closed.lets_in(self.caller.whence))
    }
}

/// When to wake the connection even if nothing happens, and which changes concern it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wakeup {
    pub(crate) at_ms: u64,
    pub(crate) watch: Watch,
}

impl Client {
    /// The client's side of a connection that nothing has come on.
    pub(crate) fn new(stream: Socket) -> Self {
        Self { stream, input: Buffer::default(), output: Buffer::default(), ended: false }
    }

    /// Reads once into the input, with a buffer from the stock that goes back if nothing came.
    pub(crate) fn read(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
    ) -> Poll<std::io::Result<usize>> {
        if self.input.tail().capacity() == 0 {
            self.input = worker.stock.take();
        }
        let read = self.input.fill(cx, &mut self.stream);
        if self.input.is_empty() {
            worker.stock.put(std::mem::take(&mut self.input));
        }
        read
    }

    /// From when on it is watched for its leaving, if it asked then: 0 if it is watched.
    pub(crate) fn watched_from_ms(&self, asked_ms: u64) -> u64 {
        if self.stream.is_watched() { 0 } else { asked_ms + UNWATCHED_MS }
    }

    /// Whether nothing of it is unread. Closing on unread bytes would reset the connection, and with
    /// it what the client has not read of the answer.
    pub(crate) fn is_quiet(&self) -> bool {
        self.input.is_empty() && (self.ended || self.stream.is_quiet())
    }

    /// Where output is written; from the stock.
    pub(crate) fn out(&mut self, worker: &Worker) -> &mut Vec<u8> {
        if self.output.tail().capacity() == 0 {
            self.output = worker.stock.take();
        }
        self.output.tail()
    }

    /// Writes what is to be written. Tells how much the client took.
    pub(crate) fn flush(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
    ) -> Poll<std::io::Result<usize>> {
        let written = self.output.drain_to(cx, &mut self.stream, Keep::Nothing);
        if self.output.is_empty() && self.output.tail().capacity() > 0 {
            worker.stock.put(std::mem::take(&mut self.output));
        }
        written
    }
}
