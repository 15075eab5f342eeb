//! The instance's side of one exchange: bodies cross it plain, whatever their framing. Matched, never
//! boxed; a version of HTTP is one more variant.

use std::io;
use std::task::{Context, Poll};

use crate::back::broken::Broken;
use crate::back::h1::Backend;
use crate::back::replay::Replay;
use crate::buffer::{Buffer, Stock};
use crate::stream::Stream;

/// The instance's side.
#[derive(Debug)]
pub(crate) enum InstanceSide {
    H1(Backend),
}

impl InstanceSide {
    /// A connection of HTTP/1, which may still be on its way.
    pub(crate) fn h1(stream: Stream) -> Self {
        Self::H1(Backend::new(stream))
    }

    /// The connection that carries this side alone.
    pub(crate) fn stream(&self) -> &Stream {
        match self {
            Self::H1(backend) => &backend.stream,
        }
    }

    /// The connection, for whatever follows on it.
    pub(crate) fn into_stream(self) -> Stream {
        match self {
            Self::H1(backend) => backend.stream,
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
    pub(crate) fn is_deaf(&self) -> bool {
        match self {
            Self::H1(backend) => backend.is_deaf(),
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

    /// Reads once into the buffer.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::H1(backend) => into.fill(cx, &mut backend.stream),
        }
    }
}
