//! The decoder of the chunked coding. Strict: a chunk line that two readers could read differently ends
//! the connection. Never buffers data.

use alloc::boxed::Box;

use crate::extension::Extension;
use crate::fault::Fault;
use crate::trailers::Trailers;

/// Number of digits of a chunk's size; 15 hexadecimal digits cannot overflow.
const MAX_DIGITS: u8 = 15;
/// Number of bytes of one chunk's extensions.
const MAX_EXTENSIONS: u16 = 256;

#[derive(Clone, Debug)]
enum At {
    Size {
        digits: u8,
    },
    /// White space after the size: only an extension may follow.
    Space,
    Extension(Extension),
    SizeLineFeed,
    Data,
    DataCr,
    DataLineFeed,
    /// After the last chunk: mostly the empty line follows, for which no memory is allocated.
    Last,
    LastLineFeed,
    Trailers(Box<Trailers>),
    End(Option<Box<Trailers>>),
}

/// The result of one step at the start of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Bytes of framing to skip.
    pub skip: usize,
    /// Bytes of data behind them.
    pub data: usize,
    /// True if the body has ended.
    pub done: bool,
}

/// A decoder of a chunked body.
#[derive(Clone, Debug)]
pub struct ChunkDecoder {
    at: At,
    left: u64,
    extensions: u16,
}

impl ChunkDecoder {
    pub(crate) fn new() -> Self {
        Self { at: At::Size { digits: 0 }, left: 0, extensions: 0 }
    }

    /// Returns the trailer lines to pass on, each with its line end; empty before the end.
    pub(crate) fn trailers(&self) -> &[u8] {
        match &self.at {
            At::End(Some(trailers)) => trailers.lines(),
            At::End(None)
            | At::Size { .. }
            | At::Space
            | At::Extension(_)
            | At::SizeLineFeed
            | At::Data
            | At::DataCr
            | At::DataLineFeed
            | At::Last
            | At::LastLineFeed
            | At::Trailers(_) => &[],
        }
    }

    pub(crate) fn decode(&mut self, input: &[u8]) -> Result<Chunk, Fault> {
        let mut pos = 0;
        while let Some(&byte) = input.get(pos) {
            match &mut self.at {
                At::Data => {
                    let data = usize::try_from(self.left).unwrap_or(usize::MAX);
                    let data = data.min(input.len() - pos);
                    self.left -= data as u64;
                    if self.left == 0 {
                        self.at = At::DataCr;
                    }
                    return Ok(Chunk { skip: pos, data, done: false });
                }
                At::Trailers(trailers) => {
                    let (read, done) = trailers.read(&input[pos..])?;
                    pos += read;
                    if done {
                        let read = core::mem::replace(trailers, Box::new(Trailers::new()));
                        self.at = At::End(Some(read));
                    }
                }
                At::End(_) => break,
                At::Size { .. }
                | At::Space
                | At::Extension(_)
                | At::SizeLineFeed
                | At::DataCr
                | At::DataLineFeed
                | At::Last
                | At::LastLineFeed => {
                    if self.framing(byte)? {
                        pos += 1;
                    }
                }
            }
        }
        Ok(Chunk { skip: pos, data: 0, done: matches!(self.at, At::End(_)) })
    }

    /// Handles one byte between data. Returns false if the byte is for the next state.
    fn framing(&mut self, byte: u8) -> Result<bool, Fault> {
        self.at = match (&self.at, byte) {
            (At::Size { digits }, _) if byte.is_ascii_hexdigit() => {
                if *digits == MAX_DIGITS {
                    return Err(Fault::ChunkSize);
                }
                self.left = self.left << 4 | u64::from(hex(byte));
                At::Size { digits: digits + 1 }
            }
            (At::Size { digits: 0 }, _) => return Err(Fault::ChunkSize),
            (At::Size { .. } | At::Space, b' ' | b'\t') => {
                self.extension_byte()?;
                At::Space
            }
            (At::Size { .. } | At::Space, b';') => At::Extension(Extension::START),
            (At::Size { .. }, b'\r') => At::SizeLineFeed,
            (At::Size { .. } | At::Space, b'\n') => return Err(Fault::BareLf),
            (At::Size { .. } | At::Space, _) => return Err(Fault::ChunkSize),
            (At::Extension(extension), b'\r') if extension.may_end() => At::SizeLineFeed,
            (&At::Extension(extension), _) => {
                self.extension_byte()?;
                At::Extension(extension.next(byte)?)
            }
            (At::SizeLineFeed, b'\n') => {
                self.extensions = 0;
                match self.left {
                    0 => At::Last,
                    _ => At::Data,
                }
            }
            (At::SizeLineFeed, _) => return Err(Fault::BareCr),
            (At::Last, b'\r') => At::LastLineFeed,
            (At::Last, _) => {
                self.at = At::Trailers(Box::new(Trailers::new()));
                return Ok(false);
            }
            (At::LastLineFeed, b'\n') => At::End(None),
            (At::LastLineFeed, _) => return Err(Fault::BareCr),
            (At::DataCr, b'\r') => At::DataLineFeed,
            (At::DataLineFeed, b'\n') => At::Size { digits: 0 },
            (At::DataCr | At::DataLineFeed, _) => return Err(Fault::ChunkEnd),
            (At::Data | At::Trailers(_) | At::End(_), _) => return Ok(false),
        };
        Ok(true)
    }

    fn extension_byte(&mut self) -> Result<(), Fault> {
        self.extensions += 1;
        if self.extensions > MAX_EXTENSIONS { Err(Fault::ChunkSize) } else { Ok(()) }
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}
