//! The scanner of field lines, for heads and trailers. It can stop and continue at any byte. Never
//! interprets a field, never copies one.

use crate::chars::{is_space, is_token, value_len};
use crate::fault::Fault;

/// A part of the input, by offsets from the start of the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        // The size of heads is bounded far below 4 GiB, so the conversions lose nothing.
        Self { start: start as u32, end: end as u32 }
    }

    /// Returns the bytes of the span in `input`, or nothing if the caller passes another input.
    pub(crate) fn of(self, input: &[u8]) -> &[u8] {
        input.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// The position of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct FieldSpan {
    pub name: Span,
    /// Without the white space around it. May contain folds if the scanner is tolerant.
    pub value: Span,
    /// The whole line or lines, with the last line end.
    pub line: Span,
    /// True if the field must be rewritten: it has a fold, or space before the colon.
    pub quirky: bool,
}

impl FieldSpan {
    /// Returns whether a number is written in its line in the usual way: one space before it, none behind
    /// it, no leading zeros.
    pub(crate) fn is_plain_number(self, input: &[u8]) -> bool {
        let before = Span { start: self.name.end, end: self.value.start };
        let value = self.value.of(input);
        before.of(input) == b": "
            && self.line.end == self.value.end + 2
            && (value.len() == 1 || value.first() != Some(&b'0'))
    }
}

/// The strictness of the scanner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Requests and trailers.
    Strict,
    /// Answers: space before a colon and folds are allowed, as RFC 9112 demands of a proxy.
    Tolerant,
}

/// The result of one step of the scanner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scanned {
    /// Nothing yet: more input is needed.
    More,
    /// A whole field.
    Field(FieldSpan),
    /// The empty line. The section ends at this offset.
    End(usize),
    /// A name that is longer than allowed.
    NameTooLong,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    LineStart,
    Name,
    Colon,
    ValueStart,
    Value,
    LineFeed,
    EndLineFeed,
}

/// The scanner of field lines.
#[derive(Clone, Debug)]
pub(crate) struct FieldScanner {
    manner: Manner,
    at: At,
    pos: usize,
    field: FieldSpan,
    pending: bool,
    max_name: usize,
}

impl FieldScanner {
    /// Returns a scanner that begins at offset `start`.
    pub(crate) fn new(manner: Manner, start: usize, max_name: usize) -> Self {
        let field = FieldSpan::default();
        Self { manner, at: At::LineStart, pos: start, field, pending: false, max_name }
    }

    /// Continues in `input`, which is the earlier input with more bytes at its end.
    pub(crate) fn next(&mut self, input: &[u8]) -> Result<Scanned, Fault> {
        while let Some(&byte) = input.get(self.pos) {
            match self.at {
                At::LineStart => {
                    if let Some(found) = self.line_start(byte)? {
                        return Ok(found);
                    }
                }
                At::Name => {
                    if !self.name(input)? {
                        return Ok(Scanned::NameTooLong);
                    }
                }
                At::Colon => self.colon(byte)?,
                At::ValueStart => {
                    self.field.value = Span::new(self.pos, self.pos);
                    if is_space(byte) {
                        self.pos += 1;
                    } else {
                        self.at = At::Value;
                    }
                }
                At::Value => self.value(input)?,
                At::LineFeed => {
                    self.line_feed(byte)?;
                    self.at = At::LineStart;
                    self.pending = true;
                }
                At::EndLineFeed => {
                    self.line_feed(byte)?;
                    return Ok(Scanned::End(self.pos));
                }
            }
        }
        Ok(Scanned::More)
    }

    fn line_feed(&mut self, byte: u8) -> Result<(), Fault> {
        if byte != b'\n' {
            return Err(Fault::BareCr);
        }
        self.pos += 1;
        Ok(())
    }

    /// Handles the byte after a line end, which decides whether the field before it is complete.
    fn line_start(&mut self, byte: u8) -> Result<Option<Scanned>, Fault> {
        if is_space(byte) {
            if self.manner == Manner::Strict || !self.pending {
                return Err(Fault::Folded);
            }
            self.pending = false;
            self.field.quirky = true;
            self.at = At::Value;
            return Ok(None);
        }
        if self.pending {
            self.pending = false;
            self.field.line.end = self.pos as u32;
            return Ok(Some(Scanned::Field(self.field)));
        }
        match byte {
            b'\r' => {
                self.at = At::EndLineFeed;
                self.pos += 1;
            }
            b'\n' => return Err(Fault::BareLf),
            _ => {
                self.field = FieldSpan::default();
                self.field.name = Span::new(self.pos, self.pos);
                self.field.line = self.field.name;
                self.at = At::Name;
            }
        }
        Ok(None)
    }

    /// Scans a name. Returns false if it is too long.
    fn name(&mut self, input: &[u8]) -> Result<bool, Fault> {
        while let Some(&byte) = input.get(self.pos) {
            if !is_token(byte) {
                break;
            }
            self.pos += 1;
            self.field.name.end = self.pos as u32;
            if self.pos - self.field.name.start as usize > self.max_name {
                return Ok(false);
            }
        }
        if self.pos < input.len() {
            if self.field.name.start == self.field.name.end {
                return Err(name_fault(input[self.pos]));
            }
            self.at = At::Colon;
        }
        Ok(true)
    }

    fn colon(&mut self, byte: u8) -> Result<(), Fault> {
        match byte {
            b':' => self.at = At::ValueStart,
            b' ' | b'\t' => match self.manner {
                Manner::Strict => return Err(Fault::SpaceBeforeColon),
                Manner::Tolerant => self.field.quirky = true,
            },
            other => return Err(name_fault(other)),
        }
        self.pos += 1;
        Ok(())
    }

    fn value(&mut self, input: &[u8]) -> Result<(), Fault> {
        let rest = input.get(self.pos..).unwrap_or_default();
        let len = value_len(rest);
        // Remembers the last byte that is no space, so that the value needs no trimming later.
        if let Some(last) = rest[..len].iter().rposition(|&b| !is_space(b)) {
            self.field.value.end = (self.pos + last + 1) as u32;
        }
        self.pos += len;
        match rest.get(len) {
            None => Ok(()),
            Some(b'\r') => {
                self.pos += 1;
                self.at = At::LineFeed;
                Ok(())
            }
            Some(b'\n') => Err(Fault::BareLf),
            Some(_) => Err(Fault::Control),
        }
    }
}

fn name_fault(byte: u8) -> Fault {
    match byte {
        b'\n' => Fault::BareLf,
        b'\r' => Fault::BareCr,
        0 => Fault::Control,
        _ => Fault::NotAToken,
    }
}
