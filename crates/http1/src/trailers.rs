//! The trailer section after the last chunk. Valid fields are passed on. Fields that would change
//! framing, routing or trust after the head is sent are dropped. Never keeps more bytes than its bound.

use alloc::vec::Vec;

use crate::fault::Fault;
use crate::fields::{FieldScanner, FieldSpan, Manner, Scanned};
use crate::trust::{FieldTrust, standing};

/// The size of the largest trailer section that is read.
const MAX_BYTES: usize = 8 << 10;
const MAX_NAME: usize = 256;

/// A reader of a trailer section.
#[derive(Clone, Debug)]
pub(crate) struct Trailers {
    scanner: FieldScanner,
    /// The section as received. After its end, the lines that are passed on.
    bytes: Vec<u8>,
    kept: Vec<FieldSpan>,
}

impl Trailers {
    pub(crate) fn new() -> Self {
        let scanner = FieldScanner::new(Manner::Strict, 0, MAX_NAME);
        Self { scanner, bytes: Vec::new(), kept: Vec::new() }
    }

    /// Takes bytes from `input`. Returns how many, and whether the section has ended.
    pub(crate) fn read(&mut self, input: &[u8]) -> Result<(usize, bool), Fault> {
        let before = self.bytes.len();
        let room = (MAX_BYTES - before).min(input.len());
        self.bytes.extend_from_slice(&input[..room]);
        loop {
            match self.scanner.next(&self.bytes)? {
                Scanned::NameTooLong => return Err(Fault::TrailerTooLarge),
                Scanned::More if self.bytes.len() == MAX_BYTES => {
                    return Err(Fault::TrailerTooLarge);
                }
                Scanned::More => return Ok((room, false)),
                Scanned::Field(field) if is_forbidden(field.name.of(&self.bytes)) => {}
                Scanned::Field(field) => self.kept.push(field),
                Scanned::End(end) => {
                    self.retain();
                    return Ok((end - before, true));
                }
            }
        }
    }

    fn retain(&mut self) {
        let mut len = 0;
        for field in &self.kept {
            let (start, end) = (field.line.start as usize, field.line.end as usize);
            self.bytes.copy_within(start..end, len);
            len += end - start;
        }
        self.bytes.truncate(len);
    }

    /// Returns the lines that are passed on, each with its line end. Valid only after the section has
    /// ended.
    pub(crate) fn lines(&self) -> &[u8] {
        &self.bytes
    }
}

/// Returns whether a sender must not put the field into trailers (RFC 9110, 6.5.1).
fn is_forbidden(name: &[u8]) -> bool {
    const FORBIDDEN: [&[u8]; 29] = [
        b"transfer-encoding",
        b"content-length",
        b"content-encoding",
        b"content-type",
        b"content-range",
        b"trailer",
        b"host",
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"upgrade",
        b"expect",
        b"range",
        b"max-forwards",
        b"cache-control",
        b"pragma",
        b"vary",
        b"age",
        b"expires",
        b"date",
        b"location",
        b"retry-after",
        b"authorization",
        b"www-authenticate",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"cookie",
        b"set-cookie",
    ];
    FORBIDDEN.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden))
        || !matches!(standing(name), FieldTrust::Free | FieldTrust::Proxys)
}
