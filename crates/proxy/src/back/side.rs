//! The instance's side of one exchange: bodies cross it plain, whatever their framing. Matched, never
//! boxed; a version of HTTP is one more variant.

use std::io;
use std::task::{Context, Poll};

use http1::{AnswerTo, Body, BodyStep, Fault, ResponseHead};

use crate::back::broken::Broken;
use crate::back::h1::Backend;
use crate::back::replay::Replay;
use crate::buffer::{Buffer, Stock};
use crate::stream::InstanceStream;

/// The instance's side.
#[derive(Debug)]
pub(crate) enum InstanceSide {
    H1(Backend),
}

impl InstanceSide {
    /// A connection of HTTP/1, which may still be on its way.
    pub(crate) fn h1(stream: InstanceStream) -> Self {
        Self::H1(Backend::new(stream))
    }

    /// The connection that carries this side alone.
    pub(crate) fn stream(&self) -> &InstanceStream {
        match self {
            Self::H1(backend) => &backend.stream,
        }
    }

    /// Whether there is anything to be sent of what has come.
    pub(crate) fn has_to_send(&self, request: &Replay) -> bool {
        match self {
            Self::H1(backend) => backend.has_to_send(request),
        }
    }

    /// Writes what the instance takes. Tells how much that was.
    ///
    /// # Errors
    /// When writing fails. An answer may have come before.
    #[inline]
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        request: &mut Replay,
        stock: &Stock,
    ) -> Poll<Result<usize, Broken>> {
        match self {
            Self::H1(backend) => backend.poll_send(cx, request, stock),
        }
    }

    /// Whether no byte of the request went out.
    pub(crate) fn is_unsent(&self) -> bool {
        match self {
            Self::H1(backend) => backend.is_unsent(),
        }
    }

    /// Whether nothing more goes out, since writing failed.
    pub(crate) fn write_failed(&self) -> bool {
        match self {
            Self::H1(backend) => backend.write_failed(),
        }
    }

    /// Whether all of the request has gone out.
    pub(crate) fn has_sent_all(&self, request: &Replay) -> bool {
        match self {
            Self::H1(backend) => backend.has_sent_all(request),
        }
    }

    /// How many bytes it has taken that have not gone out.
    pub(crate) fn unwritten(&self) -> usize {
        match self {
            Self::H1(backend) => backend.unwritten(),
        }
    }

    /// Reads once. 0 if nothing more comes.
    #[inline]
    pub(crate) fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        stock: &Stock,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::H1(backend) => backend.poll_receive(cx, stock),
        }
    }

    /// Whether nothing more comes.
    pub(crate) fn has_ended(&self) -> bool {
        match self {
            Self::H1(backend) => backend.has_ended(),
        }
    }

    /// What has come and is not read: a head as it was sent, or plain bytes of a body once
    /// [`InstanceSide::body`] has told how many.
    pub(crate) fn input(&mut self) -> &mut Buffer {
        match self {
            Self::H1(backend) => backend.input(),
        }
    }

    /// How many bytes have come that are not read.
    pub(crate) fn unread(&self) -> usize {
        match self {
            Self::H1(backend) => backend.unread(),
        }
    }

    /// The head of an answer, of `len` bytes, has been read: its body follows.
    pub(crate) fn took_head(&mut self, head: &ResponseHead, len: usize, to: AnswerTo) {
        match self {
            Self::H1(backend) => backend.took_head(head, len, to),
        }
    }

    /// Reads on in the body: so many plain bytes are at the start of the input.
    ///
    /// # Errors
    /// If nothing behind that point can be trusted.
    #[inline]
    pub(crate) fn body(&mut self) -> Result<BodyStep, Fault> {
        match self {
            Self::H1(backend) => backend.body(),
        }
    }

    /// Whether nothing is left of the body.
    pub(crate) fn has_no_body(&self) -> bool {
        match self {
            Self::H1(backend) => backend.body_left().is_empty(),
        }
    }

    /// Whether the body is whole if nothing more comes.
    pub(crate) fn is_whole_at_end(&self) -> bool {
        match self {
            Self::H1(backend) => backend.body_left().whole_at_close(),
        }
    }

    /// Whether nothing but a clean end of the connection ends the body.
    pub(crate) fn ends_with_connection(&self) -> bool {
        match self {
            Self::H1(backend) => matches!(backend.body_left(), Body::UntilClose),
        }
    }

    /// Trailer lines of the body. Known when it has ended.
    pub(crate) fn trailers(&self) -> &[u8] {
        match self {
            Self::H1(backend) => backend.body_left().trailers(),
        }
    }

    /// Gives the memory of what is not read back.
    pub(crate) fn release_input(&mut self, stock: &Stock) {
        match self {
            Self::H1(backend) => backend.release_input(stock),
        }
    }

    /// The connection, and what has come and is not read, for whatever follows on it.
    pub(crate) fn into_parts(self) -> (InstanceStream, Buffer) {
        match self {
            Self::H1(backend) => backend.into_parts(),
        }
    }
}
