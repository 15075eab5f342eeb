//! Checks the extensions of a chunk byte by byte (RFC 9112, 7.1.1). No reader needs them, but all readers
//! must skip them alike: attackers have hidden a chunk's end in bytes that only some readers took for its
//! extension. Never keeps one.

use crate::chars::{is_space, is_token};
use crate::fault::Fault;

/// The state after the last byte of the extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extension {
    /// Behind a semicolon: a name must follow.
    Semicolon,
    Name,
    AfterName,
    /// Behind an equals sign: a value must follow.
    Equals,
    Value,
    Quoted,
    /// Behind a backslash within quotes.
    Escape,
    AfterQuoted,
    AfterValue,
}

impl Extension {
    /// The state behind the first semicolon.
    pub(crate) const START: Self = Self::Semicolon;

    /// Returns whether the line may end here.
    pub(crate) const fn may_end(self) -> bool {
        matches!(self, Self::Name | Self::Value | Self::AfterQuoted)
    }

    /// Returns the state after one more byte of the line.
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
