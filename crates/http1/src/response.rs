//! Answers from upstream: parsed tolerantly, checked strictly, and rewritten for the client. Never passes
//! on an answer whose end two readers could see in two places.

use alloc::vec::Vec;

use crate::body::{Body, Encoder};
use crate::caching::Caching;
use crate::chars::{list, token_len, trim, value_len};
use crate::fault::{BadAnswer, Fault};
use crate::fields::{FieldScanner, FieldSpan, Manner, Scanned, Span};
use crate::forward::decimal;
use crate::request::Progress;
use crate::semantics::{ConnectionTokens, Persistence, Version, plain_number};

const MAX_HEAD: usize = 64 << 10;
const MAX_NAME: usize = 1024;
const MAX_FIELDS: usize = 512;
const MAX_NAMED: usize = 32;

/// The properties of a request that decide how its answer is parsed and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerTo {
    /// True if the request was a HEAD: no body, whatever the answer's head says.
    pub head: bool,
    /// True if the request asked for another protocol.
    pub upgrade: bool,
    /// The version that the client speaks.
    pub version: Version,
}

/// The use of the client's connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The connection waits for the next request.
    KeepAlive,
    /// The connection closes, and the answer says so.
    Close,
}

#[derive(Clone, Copy, Debug)]
struct Field {
    span: FieldSpan,
    keep: bool,
}

/// A valid head of an answer: offsets into the input that the parser was given.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    status: u16,
    version: Version,
    reason: Span,
    fields: Vec<Field>,
    options: ConnectionTokens,
    upgrade: Option<Span>,
    content_length: Option<u64>,
    chunked: bool,
    idle_s: Option<u64>,
    event_stream: bool,
    dated: bool,
    caching: Caching,
}

impl ResponseHead {
    fn new() -> Self {
        Self {
            status: 0,
            version: Version::Http11,
            reason: Span::default(),
            fields: Vec::new(),
            options: ConnectionTokens::default(),
            upgrade: None,
            content_length: None,
            chunked: false,
            idle_s: None,
            event_stream: false,
            dated: false,
            caching: Caching::default(),
        }
    }

    /// Returns the status, 100 to 999.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns whether another answer follows this one (1xx except 101).
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// Returns whether the answer says that no request has come on the connection for too long, and that
    /// the connection ends. Servers send such an answer before they close an idle connection.
    pub fn says_idle_for_too_long(&self) -> bool {
        self.status == 408 && self.options.close
    }

    /// Returns whether the connection becomes a tunnel.
    pub fn is_switch(&self) -> bool {
        self.status == 101
    }

    /// Returns the framing of the body on the upstream connection.
    pub fn body(&self, to: AnswerTo) -> Body {
        match (self.has_body(to), self.chunked, self.content_length) {
            (false, _, _) => Body::length(0),
            (true, true, _) => Body::chunked(),
            (true, false, Some(length)) => Body::length(length),
            (true, false, None) => Body::UntilClose,
        }
    }

    fn has_body(&self, to: AnswerTo) -> bool {
        !(to.head || self.status < 200 || self.status == 204 || self.status == 304)
    }

    /// Returns the framing of the body for the client, and whether the client's connection can stay open.
    pub fn encoding(&self, to: AnswerTo) -> (Encoder, Persistence) {
        let framed = !self.has_body(to) || (!self.chunked && self.content_length.is_some());
        match (framed, to.version) {
            (true, _) => (Encoder::Plain, Persistence::KeepAlive),
            (false, Version::Http11) => (Encoder::Chunked, Persistence::KeepAlive),
            (false, Version::Http10) => (Encoder::Plain, Persistence::Close),
        }
    }

    /// Returns whether the upstream's connection may carry another request once the body has been read.
    pub fn persistence(&self, to: AnswerTo) -> Persistence {
        let clean = match self.body(to) {
            Body::UntilClose => false,
            // Both lengths at once: one of them may be an attack on a reader that believes the other.
            Body::Length(_) | Body::Chunked(_) => !(self.chunked && self.content_length.is_some()),
        };
        match self.version {
            Version::Http10 if self.chunked => Persistence::Close,
            version if clean && !self.is_switch() => self.options.persistence(version),
            Version::Http10 | Version::Http11 => Persistence::Close,
        }
    }

    /// Returns how many seconds the upstream says it keeps an idle connection.
    pub fn keep_alive_timeout(&self) -> Option<u64> {
        self.idle_s
    }

    /// Returns whether pauses within the body are normal, however long.
    pub fn is_event_stream(&self) -> bool {
        self.event_stream
    }

    /// Returns whether the answer has a date. A proxy that passes on an answer without one has to add it
    /// (RFC 9110, 6.6.1).
    pub fn is_dated(&self) -> bool {
        self.dated
    }

    /// Returns whether shared caches may store the answer. Nothing that belongs to one user may be added
    /// to such an answer.
    pub fn is_shared(&self) -> bool {
        self.caching.is_shared()
    }

    /// Writes the head for the client, the empty line included. `input` is the input that was parsed.
    /// `added` holds whole field lines of the proxy itself, or nothing.
    pub fn forward(
        &self,
        input: &[u8],
        to: AnswerTo,
        after: After,
        added: &[u8],
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(b"HTTP/1.1 ");
        let digit = |n: u16| b'0' + (n % 10) as u8;
        let status = self.status;
        out.extend_from_slice(&[digit(status / 100), digit(status / 10), digit(status), b' ']);
        out.extend_from_slice(self.reason.of(input));
        out.extend_from_slice(b"\r\n");
        self.kept_fields(input, out);
        out.extend_from_slice(added);
        if let Some(length) = self.written_length() {
            out.extend_from_slice(b"Content-Length: ");
            decimal(length, out);
            out.extend_from_slice(b"\r\n");
        }
        if self.encoding(to).0 == Encoder::Chunked {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        match (self.upgrade, self.status) {
            // A 101 switches, and a 426 names the protocol to switch to. In other answers the field
            // concerns the upstream's connection only.
            (Some(protocol), 101 | 426) => {
                out.extend_from_slice(b"Upgrade: ");
                out.extend_from_slice(protocol.of(input));
                out.extend_from_slice(b"\r\nConnection: upgrade");
                out.extend_from_slice(match (after, status) {
                    (After::Close, 426) => b", close\r\n".as_slice(),
                    (After::Close | After::KeepAlive, _) => b"\r\n",
                });
            }
            _ if self.is_interim() => {}
            _ => match (after, to.version) {
                (After::Close, _) => out.extend_from_slice(b"Connection: close\r\n"),
                (After::KeepAlive, Version::Http10) => {
                    out.extend_from_slice(b"Connection: keep-alive\r\n");
                }
                (After::KeepAlive, Version::Http11) => {}
            },
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Returns the length to write. It is written once, and only where it has a meaning: not beside
    /// chunks, and not where RFC 9110, 8.6 forbids it. With HEAD and 304 it is the length of the body
    /// that is not sent.
    fn written_length(&self) -> Option<u64> {
        let allowed = !self.chunked && self.status >= 200 && self.status != 204;
        self.content_length.filter(|_| allowed)
    }

    fn kept_fields(&self, input: &[u8], out: &mut Vec<u8>) {
        let mut run = 0..0;
        let flush = |run: core::ops::Range<usize>, out: &mut Vec<u8>| {
            out.extend_from_slice(input.get(run).unwrap_or_default());
        };
        for field in self.fields.iter().filter(|field| field.keep) {
            let line = field.span.line;
            if field.span.quirky {
                flush(core::mem::replace(&mut run, 0..0), out);
                write_straight(input, field.span, out);
                continue;
            }
            if line.start as usize != run.end {
                flush(run.clone(), out);
                run.start = line.start as usize;
            }
            run.end = line.end as usize;
        }
        flush(run, out);
    }
}

/// Writes a field without space before its colon, and with its folds replaced by spaces.
fn write_straight(input: &[u8], span: FieldSpan, out: &mut Vec<u8>) {
    out.extend_from_slice(span.name.of(input));
    out.extend_from_slice(b": ");
    let line_ends = |&byte: &u8| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte };
    out.extend(span.value.of(input).iter().map(line_ends));
    out.extend_from_slice(b"\r\n");
}

/// The parser of answers' heads. One per upstream connection in use.
#[derive(Clone, Debug)]
pub struct ResponseParser {
    scanner: FieldScanner,
    fields_from: Option<usize>,
    end: Option<usize>,
    head: ResponseHead,
    named: Vec<Span>,
    codings: usize,
    differing: bool,
}

impl Default for ResponseParser {
    fn default() -> Self {
        Self::new()
    }
}

impl ResponseParser {
    /// Returns a parser at the start of an answer.
    pub fn new() -> Self {
        Self {
            scanner: FieldScanner::new(Manner::Tolerant, 0, MAX_NAME),
            fields_from: None,
            end: None,
            head: ResponseHead::new(),
            named: Vec::new(),
            codings: 0,
            differing: false,
        }
    }

    /// Prepares for the next answer, whose head begins at the start of the input.
    pub fn restart(&mut self) {
        let mut fields = core::mem::take(&mut self.head.fields);
        let mut named = core::mem::take(&mut self.named);
        fields.clear();
        named.clear();
        *self = Self { named, head: ResponseHead { fields, ..ResponseHead::new() }, ..Self::new() };
    }

    /// Returns the head. Meaningful only after [`Progress::Finished`].
    pub fn head(&self) -> &ResponseHead {
        &self.head
    }

    /// Continues to parse. `input` is all bytes since the start of the head.
    ///
    /// # Errors
    /// The reason why the answer cannot be passed on.
    pub fn parse(&mut self, input: &[u8], to: AnswerTo) -> Result<Progress, BadAnswer> {
        let seen = input.get(..MAX_HEAD).unwrap_or(input);
        match self.advance(seen, to)? {
            Progress::Unfinished if seen.len() == MAX_HEAD => Err(BadAnswer::HeadTooLarge),
            progress @ (Progress::Unfinished | Progress::Finished(_)) => Ok(progress),
        }
    }

    fn advance(&mut self, input: &[u8], to: AnswerTo) -> Result<Progress, BadAnswer> {
        if let Some(end) = self.end {
            return Ok(Progress::Finished(end));
        }
        if self.fields_from.is_none() && !self.status_line(input)? {
            return Ok(Progress::Unfinished);
        }
        loop {
            match self.scanner.next(input)? {
                Scanned::More => return Ok(Progress::Unfinished),
                Scanned::NameTooLong => return Err(BadAnswer::HeadTooLarge),
                Scanned::Field(span) => self.field(input, span)?,
                Scanned::End(end) => {
                    self.finish(input, to)?;
                    self.end = Some(end);
                    return Ok(Progress::Finished(end));
                }
            }
        }
    }

    /// Parses the status line. Returns false if more input is needed.
    fn status_line(&mut self, input: &[u8]) -> Result<bool, BadAnswer> {
        const START: &[u8; 13] = b"HTTP/1.1 200 ";
        for (at, (&byte, &expected)) in input.iter().zip(START).enumerate() {
            let fine = match at {
                7 | 10 | 11 => byte.is_ascii_digit(),
                9 => matches!(byte, b'1'..=b'9'),
                12 => matches!(byte, b' ' | b'\r'),
                _ => byte == expected,
            };
            if !fine {
                return Err(BadAnswer::StatusLine);
            }
        }
        let Some(rest) = input.get(12..) else { return Ok(false) };
        let len = value_len(rest);
        match (rest.get(len), rest.get(len + 1)) {
            (None, _) | (Some(b'\r'), None) => return Ok(false),
            (Some(b'\r'), Some(b'\n')) => {}
            (Some(b'\r'), Some(_)) => return Err(Fault::BareCr.into()),
            (Some(b'\n'), _) => return Err(Fault::BareLf.into()),
            (Some(_), _) => return Err(Fault::Control.into()),
        }
        let digit = |at: usize| u16::from(input[at] - b'0');
        self.head.status = digit(9) * 100 + digit(10) * 10 + digit(11);
        self.head.version = if input[7] == b'0' { Version::Http10 } else { Version::Http11 };
        self.head.reason = Span::new(12 + len.min(1), 12 + len);
        let fields_from = 12 + len + 2;
        self.fields_from = Some(fields_from);
        self.scanner = FieldScanner::new(Manner::Tolerant, fields_from, MAX_NAME);
        Ok(true)
    }

    fn field(&mut self, input: &[u8], span: FieldSpan) -> Result<(), BadAnswer> {
        let name = span.name.of(input);
        let value = span.value.of(input);
        let mut keep = true;
        match name.len() {
            2 if name.eq_ignore_ascii_case(b"te") => keep = false,
            4 => self.head.dated |= name.eq_ignore_ascii_case(b"date"),
            7 if name.eq_ignore_ascii_case(b"expires") => self.head.caching.expires(value),
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.head.upgrade = Some(span.value).filter(|_| !span.quirky);
                keep = false;
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.connection(input, span)?;
                keep = false;
            }
            10 if name.eq_ignore_ascii_case(b"keep-alive") => {
                self.head.idle_s = list(value).find_map(timeout_of);
                keep = false;
            }
            12 if name.eq_ignore_ascii_case(b"content-type") => {
                let kind = value.get(..17).unwrap_or_default();
                self.head.event_stream = kind.eq_ignore_ascii_case(b"text/event-stream");
            }
            13 if name.eq_ignore_ascii_case(b"cache-control") => self.head.caching.control(value),
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                self.content_length(value)?;
                keep = false;
            }
            16 if name.eq_ignore_ascii_case(b"proxy-connection") => keep = false,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.codings += 1;
                self.head.chunked = value.eq_ignore_ascii_case(b"chunked");
                keep = false;
            }
            _ => {}
        }
        if self.head.fields.len() == MAX_FIELDS {
            return Err(BadAnswer::HeadTooLarge);
        }
        self.head.fields.push(Field { span, keep });
        Ok(())
    }

    /// Parses the length. Equal lengths count as one, in one field or in several.
    fn content_length(&mut self, value: &[u8]) -> Result<(), BadAnswer> {
        for element in value.split(|&b| b == b',').map(trim) {
            let number = plain_number(element).ok_or(Fault::ContentLength)?;
            self.differing |= self.head.content_length.is_some_and(|known| known != number);
            self.head.content_length = Some(number);
        }
        Ok(())
    }

    fn connection(&mut self, input: &[u8], span: FieldSpan) -> Result<(), BadAnswer> {
        let base = input.as_ptr() as usize;
        let named = &mut self.named;
        let mut fine = true;
        self.head.options.add(span.value.of(input), |name| {
            // A name that is not a token cannot be that of a field. Framing fields are never removed.
            if token_len(name) == name.len() {
                fine &= named.len() < MAX_NAMED;
                let start = name.as_ptr() as usize - base;
                if fine {
                    named.push(Span::new(start, start + name.len()));
                }
            }
        });
        if fine { Ok(()) } else { Err(BadAnswer::HeadTooLarge) }
    }

    fn finish(&mut self, input: &[u8], to: AnswerTo) -> Result<(), BadAnswer> {
        let head = &mut self.head;
        if head.is_switch() && !(to.upgrade && head.upgrade.is_some()) {
            return Err(BadAnswer::UnaskedSwitch);
        }
        if self.differing {
            return Err(BadAnswer::Lengths);
        }
        if self.codings > 1 || (self.codings == 1 && !head.chunked) {
            return Err(Fault::TransferEncoding.into());
        }
        for name in &self.named {
            for field in &mut head.fields {
                let same = field.span.name.of(input).eq_ignore_ascii_case(name.of(input));
                field.keep &= !same;
            }
        }
        Ok(())
    }
}

/// Parses `timeout=5` as 5.
fn timeout_of(parameter: &[u8]) -> Option<u64> {
    let at = parameter.iter().position(|&b| b == b'=')?;
    trim(&parameter[..at]).eq_ignore_ascii_case(b"timeout").then_some(())?;
    plain_number(trim(&parameter[at + 1..]))
}
