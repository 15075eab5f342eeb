//! The instance's side of one exchange. Bodies pass through it without framing. The enum is matched,
//! never boxed; each version of HTTP is a variant.

use std::io;
use std::task::{Context, Poll};

use http1::{AnswerTo, Body, BodyStep, Fault, ResponseHead};

use crate::back::broken::Broken;
use crate::back::h1::Backend;
use crate::back::replay::Replay;
use crate::buffer::{Buffer, Stock};
use crate::stream::InstanceStream;

/// The instance's side of one exchange.
#[derive(Debug)]
pub(crate) enum InstanceSide {
    H1(Backend),
}

impl InstanceSide {
    /// Returns the side of an HTTP/1 connection, which may still be connecting.
    pub(crate) fn h1(stream: InstanceStream) -> Self {
        Self::H1(Backend::new(stream))
    }

    /// Returns the connection, which carries this side alone.
    pub(crate) fn stream(&self) -> &InstanceStream {
        match self {
            Self::H1(backend) => &backend.stream,
        }
    }

    /// Returns whether there is a part of the request that can be sent now.
    pub(crate) fn has_to_send(&self, request: &Replay) -> bool {
        match self {
            Self::H1(backend) => backend.has_to_send(request),
        }
    }

    /// Writes as much as the instance takes. Returns the number of bytes.
    ///
    /// # Errors
    /// If writing fails. An answer may have come before.
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

    /// Returns whether no byte of the request went out.
    pub(crate) fn is_unsent(&self) -> bool {
        match self {
            Self::H1(backend) => backend.is_unsent(),
        }
    }

    /// Returns whether writing failed. Nothing more goes out then.
    pub(crate) fn write_failed(&self) -> bool {
        match self {
            Self::H1(backend) => backend.write_failed(),
        }
    }

    /// Returns whether all of the request has gone out.
    pub(crate) fn has_sent_all(&self, request: &Replay) -> bool {
        match self {
            Self::H1(backend) => backend.has_sent_all(request),
        }
    }

    /// Returns how many bytes this side has taken over that have not gone out.
    pub(crate) fn unwritten(&self) -> usize {
        match self {
            Self::H1(backend) => backend.unwritten(),
        }
    }

    /// Reads once. Returns 0 if nothing more comes.
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

    /// Returns whether the connection ended because the other machine did not acknowledge what was sent.
    pub(crate) fn is_lost(&self) -> bool {
        match self {
            Self::H1(backend) => backend.is_lost(),
        }
    }

    /// Returns whether nothing more comes.
    pub(crate) fn has_ended(&self) -> bool {
        match self {
            Self::H1(backend) => backend.has_ended(),
        }
    }

    /// Returns the bytes that have come and are not read: a head as it was sent, or plain bytes of a body
    /// once [`InstanceSide::body`] has returned how many.
    pub(crate) fn input(&mut self) -> &mut Buffer {
        match self {
            Self::H1(backend) => backend.input(),
        }
    }

    /// Returns how many bytes have come that are not read.
    pub(crate) fn unread(&self) -> usize {
        match self {
            Self::H1(backend) => backend.unread(),
        }
    }

    /// Takes the head of an answer, of `len` bytes, which has been read. Its body follows.
    pub(crate) fn took_head(&mut self, head: &ResponseHead, len: usize, to: AnswerTo) {
        match self {
            Self::H1(backend) => backend.took_head(head, len, to),
        }
    }

    /// Reads the next step of the body. Returns how many plain bytes are at the start of the input.
    ///
    /// # Errors
    /// If the body is malformed: nothing behind that point can be trusted.
    #[inline]
    pub(crate) fn body(&mut self) -> Result<BodyStep, Fault> {
        match self {
            Self::H1(backend) => backend.body(),
        }
    }

    /// Returns whether nothing is left of the body.
    pub(crate) fn has_no_body(&self) -> bool {
        match self {
            Self::H1(backend) => backend.body_left().is_empty(),
        }
    }

    /// Returns whether the body is complete if nothing more comes.
    pub(crate) fn is_whole_at_end(&self) -> bool {
        match self {
            Self::H1(backend) => backend.body_left().whole_at_close(),
        }
    }

    /// Returns whether only a clean end of the connection ends the body.
    pub(crate) fn ends_with_connection(&self) -> bool {
        match self {
            Self::H1(backend) => matches!(backend.body_left(), Body::UntilClose),
        }
    }

    /// Returns the trailer lines of the body. Known when it has ended.
    pub(crate) fn trailers(&self) -> &[u8] {
        match self {
            Self::H1(backend) => backend.body_left().trailers(),
        }
    }

    /// Gives the buffer of the unread input back.
    pub(crate) fn release_input(&mut self, stock: &Stock) {
        match self {
            Self::H1(backend) => backend.release_input(stock),
        }
    }

    /// Returns the connection and the unread input, for the protocol that follows on it.
    pub(crate) fn into_parts(self) -> (InstanceStream, Buffer) {
        match self {
            Self::H1(backend) => backend.into_parts(),
        }
    }
}
