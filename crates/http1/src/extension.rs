//! Extensions of a chunk, judged byte by byte (RFC 9112, 7.1.1). What no reader needs, all readers
//! must skip alike: attackers have hidden a chunk's end in what only some of them took for its
//! extension. Never keeps one.

use crate::chars::{is_space, is_token};
use crate::fault::Fault;

/// Where in the extensions the last byte was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extension {
    /// Behind a semicolon: a name is due.
    Semicolon,
    Name,
    AfterName,
    /// Behind an equals sign: a value is due.
    Equals,
    Value,
    Quoted,
    /// Behind a backslash within quotes.
    Escape,
    AfterQuoted,
    AfterValue,
}

impl Extension {
    /// The semicolon before the first.
    pub(crate) const START: Self = Self::Semicolon;

    /// Whether the line may end here.
    pub(crate) const fn may_end(self) -> bool {
        matches!(self, Self::Name | Self::Value | Self::AfterQuoted)
    }

    /// Goes on by one byte of the line.
    pub(crate) fn next(self, byte: u8) -> Result<Self, Fault> {
        Ok(match (self, byte) {
            (_, b'\n') => return Err(Fault::BareLf),
            (_, b'\r') => return Err(Fault::ChunkExtension),
            (_, 0..=8 | 11..=31 | 0x7f) => return Err(Fault::Control),
            (Self::Quoted, b'"') => Self::AfterQuoted,
            (Self::Quoted, b'\\') => Self::Escape,
            (Self::Quoted | Self::Escape, _) => Self::Quoted,
            (Self::Semicolon | Self::Equals, _) if is_space(byte) => self,
            (Self::Name | Self::AfterName, _) if is_space(byte) => Self::AfterName,
            (Self::Value | Self::AfterQuoted | Self::AfterValue, _) if is_space(byte) => {
                Self::AfterValue
            }
            (Self::Semicolon | Self::Name, _) if is_token(byte) => Self::Name,
            (Self::Equals | Self::Value, _) if is_token(byte) => Self::Value,
            (Self::Equals, b'"') => Self::Quoted,
            (Self::Name | Self::AfterName, b'=') => Self::Equals,
            (
                Self::Name | Self::AfterName | Self::Value | Self::AfterQuoted | Self::AfterValue,
                b';',
            ) => Self::Semicolon,
            (_, _) => return Err(Fault::ChunkExtension),
        })
    }
}
