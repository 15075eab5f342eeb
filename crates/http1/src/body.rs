//! The decoding and the encoding of a body's framing. Never holds body bytes.

use alloc::vec::Vec;

use crate::chunked::ChunkDecoder;
use crate::fault::Fault;

/// One step of decoding: bytes to skip, then bytes of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyStep {
    /// Bytes of framing at the start of the input.
    pub skip: usize,
    /// Bytes of data behind them.
    pub data: usize,
    /// True if the body has ended. Bytes that follow in the input do not belong to it.
    pub done: bool,
}

/// The state of a body being read.
#[derive(Clone, Debug)]
pub enum Body {
    /// A declared length. Holds the number of bytes that are still to come.
    Length(u64),
    /// Chunks.
    Chunked(ChunkDecoder),
    /// Until the connection closes. Only in answers.
    UntilClose,
}

impl Body {
    /// Returns a body of `length` bytes; an empty one if 0.
    pub fn length(length: u64) -> Self {
        Self::Length(length)
    }

    /// Returns a body in chunks.
    pub fn chunked() -> Self {
        Self::Chunked(ChunkDecoder::new())
    }

    /// Returns whether the body is chunked.
    pub fn is_chunked(&self) -> bool {
        matches!(self, Self::Chunked(_))
    }

    /// Returns whether nothing more belongs to the body.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Length(0))
    }

    /// Continues to decode. Until `done`, the caller must call this again with the input behind the step.
    /// A step of no bytes asks for more input.
    ///
    /// # Errors
    /// If the chunks are malformed: nothing behind that point can be trusted.
    pub fn read(&mut self, input: &[u8]) -> Result<BodyStep, Fault> {
        match self {
            Self::Length(left) => {
                let data = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= data as u64;
                Ok(BodyStep { skip: 0, data, done: *left == 0 })
            }
            Self::Chunked(decoder) => {
                let chunk = decoder.decode(input)?;
                Ok(BodyStep { skip: chunk.skip, data: chunk.data, done: chunk.done })
            }
            Self::UntilClose => Ok(BodyStep { skip: 0, data: input.len(), done: false }),
        }
    }

    /// Returns whether the body is complete if the sender closes the connection now.
    pub fn whole_at_close(&self) -> bool {
        matches!(self, Self::UntilClose | Self::Length(0))
    }

    /// Returns the trailer lines to pass on, each with its line end. Known when the body is done.
    pub fn trailers(&self) -> &[u8] {
        match self {
            Self::Chunked(decoder) => decoder.trailers(),
            Self::Length(_) | Self::UntilClose => &[],
        }
    }
}

/// The framing of a body when written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoder {
    /// No framing: the length was declared, or the end of the connection ends the body.
    Plain,
    /// In chunks.
    Chunked,
}

impl Encoder {
    /// Writes `data`. Writes nothing if there is none, since an empty chunk would end the body.
    pub fn data(self, data: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Plain => out.extend_from_slice(data),
            Self::Chunked if data.is_empty() => {}
            Self::Chunked => {
                chunk_size(data.len(), out);
                out.extend_from_slice(data);
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Writes the end of the body, with `trailers` if the framing has a place for them.
    pub fn end(self, trailers: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Plain => {}
            Self::Chunked => {
                out.extend_from_slice(b"0\r\n");
                out.extend_from_slice(trailers);
                out.extend_from_slice(b"\r\n");
            }
        }
    }
}

fn chunk_size(size: usize, out: &mut Vec<u8>) {
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        out.push(b"0123456789abcdef"[size >> (digit * 4) & 15]);
    }
    out.extend_from_slice(b"\r\n");
}
