//! Parses request heads, strictly and in place. Refuses anything that two readers could read in two ways,
//! even before the head is finished.

use alloc::vec::Vec;

use crate::chars::{is_target, is_token, list};
use crate::cookies;
use crate::fault::{Fault, Refused};
use crate::fields::{FieldScanner, FieldSpan, Manner, Scanned, Span};
use crate::forward::{HOPS, Passed, RequestField};
use crate::head::RequestHead;
use crate::host::is_authority;
use crate::limits::RequestLimits;
use crate::semantics::{Version, plain_number};
use crate::target;
use crate::trust::{self, FieldTrust};

/// Number of names that one head's `Connection` fields may list.
const MAX_NAMED: usize = 32;

/// The progress of a parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The head is not finished: more input is needed.
    Unfinished,
    /// The head is finished and has this many bytes.
    Finished(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Before,
    Method,
    Target,
    Version,
    Fields,
    Done,
}

/// The parser of request heads. One per connection: [`RequestParser::restart`] keeps its memory.
#[derive(Clone, Debug)]
pub struct RequestParser {
    limits: RequestLimits,
    at: At,
    pos: usize,
    start: usize,
    scanner: FieldScanner,
    head: RequestHead,
    named: Vec<Span>,
    others: usize,
    crumbs: usize,
}

impl RequestParser {
    /// Returns a parser at the start of a request.
    pub fn new(limits: RequestLimits) -> Self {
        let limits = RequestLimits { head: limits.head.min(64 << 20), ..limits };
        Self {
            limits,
            at: At::Before,
            pos: 0,
            start: 0,
            scanner: FieldScanner::new(Manner::Strict, 0, limits.name),
            head: RequestHead::new(),
            named: Vec::new(),
            others: 0,
            crumbs: 0,
        }
    }

    /// Prepares for the next request, whose head begins at the start of the input.
    pub fn restart(&mut self) {
        self.at = At::Before;
        (self.pos, self.start, self.others, self.crumbs) = (0, 0, 0, 0);
        self.head.clear();
        self.named.clear();
    }

    /// Returns the head. Meaningful only after [`Progress::Finished`].
    pub fn head(&self) -> &RequestHead {
        &self.head
    }

    /// Continues to parse. `input` is all bytes since the start of the head.
    ///
    /// # Errors
    /// The reason why the request cannot be served. The connection has to be closed then.
    pub fn parse(&mut self, input: &[u8]) -> Result<Progress, Refused> {
        // Bytes beyond the limit are never looked at, so splitting the input cannot change the verdict.
        let seen = input.get(..self.limits.head).unwrap_or(input);
        match self.advance(seen)? {
            Progress::Unfinished if seen.len() == self.limits.head => Err(Refused::HeadTooLarge),
            progress @ (Progress::Unfinished | Progress::Finished(_)) => Ok(progress),
        }
    }

    fn advance(&mut self, input: &[u8]) -> Result<Progress, Refused> {
        while self.pos < input.len() && self.at != At::Fields {
            match self.at {
                At::Before => {
                    if !self.skip_empty_line(input)? {
                        return Ok(Progress::Unfinished);
                    }
                }
                At::Method => self.method(input)?,
                At::Target => self.target(input)?,
                At::Version => {
                    if !self.version(input)? {
                        return Ok(Progress::Unfinished);
                    }
                }
                At::Fields | At::Done => break,
            }
        }
        if self.at == At::Done {
            return Ok(Progress::Finished(self.pos));
        }
        if self.at != At::Fields {
            return Ok(Progress::Unfinished);
        }
        loop {
            match self.scanner.next(input)? {
                Scanned::More => return Ok(Progress::Unfinished),
                Scanned::NameTooLong => return Err(Refused::HeadTooLarge),
                Scanned::Field(field) => self.field(input, field)?,
                Scanned::End(end) => {
                    self.finish(input)?;
                    self.pos = end;
                    self.at = At::Done;
                    return Ok(Progress::Finished(end));
                }
            }
        }
    }

    /// Skips one empty line before a request (RFC 9112, 2.2). Returns false if more input is needed.
    fn skip_empty_line(&mut self, input: &[u8]) -> Result<bool, Refused> {
        match (self.start, input.first(), input.get(1)) {
            (0, Some(b'\r'), None) => return Ok(false),
            (0, Some(b'\r'), Some(b'\n')) => self.start = 2,
            (0, Some(b'\r'), Some(_)) => return Err(Fault::BareCr.into()),
            (0, Some(b'\n'), _) => return Err(Fault::BareLf.into()),
            (_, _, _) => {}
        }
        self.pos = self.start;
        self.at = At::Method;
        Ok(true)
    }

    fn method(&mut self, input: &[u8]) -> Result<(), Refused> {
        while let Some(&byte) = input.get(self.pos) {
            if byte == b' ' && self.pos > self.start {
                self.head.method = Span::new(self.start, self.pos);
                self.pos += 1;
                self.start = self.pos;
                self.at = At::Target;
                return Ok(());
            }
            if !is_token(byte) {
                return Err(Fault::NotAToken.into());
            }
            self.pos += 1;
            if self.pos - self.start > self.limits.method {
                return Err(Fault::NotAToken.into());
            }
        }
        Ok(())
    }

    fn target(&mut self, input: &[u8]) -> Result<(), Refused> {
        while let Some(&byte) = input.get(self.pos) {
            if byte == b' ' && self.pos > self.start {
                let span = Span::new(self.start, self.pos);
                self.head.target = target::parse(input, self.head.method.of(input), span)?;
                self.pos += 1;
                self.start = self.pos;
                self.at = At::Version;
                return Ok(());
            }
            if !is_target(byte) {
                return Err(Fault::Target.into());
            }
            self.pos += 1;
            if self.pos - self.start > self.limits.target {
                return Err(Refused::TargetTooLong);
            }
        }
        Ok(())
    }

    /// Parses the version. Returns false if more input is needed.
    fn version(&mut self, input: &[u8]) -> Result<bool, Refused> {
        const LINE: &[u8; 10] = b"HTTP/1.1\r\n";
        let seen = &input[self.start..input.len().min(self.start + LINE.len())];
        for (at, (&byte, &expected)) in seen.iter().zip(LINE).enumerate() {
            let fine = match at {
                5 | 7 => byte.is_ascii_digit(),
                _ => byte == expected,
            };
            if !fine {
                return Err(match (at, byte) {
                    (8, b'\n') => Fault::BareLf,
                    (9, _) => Fault::BareCr,
                    (_, _) => Fault::StartLine,
                }
                .into());
            }
        }
        self.pos = self.start + seen.len();
        if seen.len() < LINE.len() {
            return Ok(false);
        }
        self.head.version = match (seen[5], seen[7]) {
            (b'1', b'1') => Version::Http11,
            (b'1', b'0') => Version::Http10,
            (_, _) => return Err(Refused::Version),
        };
        self.at = At::Fields;
        self.scanner = FieldScanner::new(Manner::Strict, self.pos, self.limits.name);
        Ok(true)
    }

    /// Adds one field, and refuses it as early as possible.
    fn field(&mut self, input: &[u8], span: FieldSpan) -> Result<(), Refused> {
        let name = span.name.of(input);
        let value = span.value.of(input);
        let mut passed = Passed::Whole;
        let mut crumb = false;
        // By length first, which alone tells most fields from the known ones.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                if self.head.host.replace(span.value).is_some() || !is_authority(value) {
                    return Err(Fault::Host.into());
                }
                passed = Passed::Not;
            }
            6 if name.eq_ignore_ascii_case(b"cookie") => {
                crumb = true;
                if cookies::holds_ours(value) {
                    self.head.own_cookies = true;
                    passed = Passed::WithoutOurs;
                }
            }
            6 if name.eq_ignore_ascii_case(b"accept") => self.head.accept.add(value),
            6 if name.eq_ignore_ascii_case(b"expect") => passed = self.expect(value, span)?,
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                // h2c is not offered: a tunnel for it would hide requests from the proxy.
                let h2c = list(value).any(|protocol| protocol.eq_ignore_ascii_case(b"h2c"));
                self.head.upgrade = (!h2c && self.head.upgrade.is_none()).then_some(span.value);
                passed = Passed::Not;
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.connection(input, span)?;
                passed = Passed::Not;
            }
            12 if name.eq_ignore_ascii_case(b"max-forwards") => {
                passed = self.max_forwards(value, input)?;
            }
            12 if name.eq_ignore_ascii_case(HOPS) => {
                // A value that is not a number was not written by a proxy of this kind.
                self.head.relayed.hops =
                    self.head.relayed.hops.max(plain_number(value).unwrap_or(0));
                passed = Passed::Not;
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let number = plain_number(value).ok_or(Fault::ContentLength)?;
                if self.head.content_length.replace(number).is_some() {
                    return Err(Fault::ContentLength.into());
                }
                if !span.is_plain_number(input) {
                    passed = Passed::Length;
                }
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                let known = value.eq_ignore_ascii_case(b"chunked");
                if self.head.chunked || !known || self.head.version == Version::Http10 {
                    return Err(Fault::TransferEncoding.into());
                }
                self.head.chunked = true;
                passed = Passed::Not;
            }
            _ => passed = self.judge(name, span),
        }
        if self.head.chunked && self.head.content_length.is_some() {
            return Err(Fault::BothLengths.into());
        }
        let (count, limit) = match crumb {
            true => (&mut self.crumbs, self.limits.crumbs),
            false => (&mut self.others, self.limits.fields),
        };
        *count += 1;
        if *count > limit {
            return Err(Refused::HeadTooLarge);
        }
        self.head.fields.push(RequestField { span, passed });
        Ok(())
    }

    /// Decides how a field without a meaning to the proxy is passed on.
    fn judge(&mut self, name: &[u8], span: FieldSpan) -> Passed {
        let passed = match trust::standing(name) {
            FieldTrust::Free => return Passed::Whole,
            FieldTrust::Proxys => {
                self.head.relayed.tells_of_a_proxy = true;
                return Passed::Whole;
            }
            FieldTrust::Dropped => return Passed::Not,
            FieldTrust::SaidAnew => Passed::Not,
            FieldTrust::Claim => Passed::Claim,
        };
        self.head.relayed.claim.get_or_insert(span.name);
        passed
    }

    fn expect(&mut self, value: &[u8], span: FieldSpan) -> Result<Passed, Refused> {
        if self.head.version == Version::Http10 {
            return Ok(Passed::Not);
        }
        if !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Refused::Expectation);
        }
        // Repeated, the field means the same. It is forwarded once.
        Ok(match self.head.expect.replace(span.value) {
            None => Passed::Whole,
            Some(_) => Passed::Not,
        })
    }

    /// Parses `Max-Forwards`, which counts for two methods only.
    fn max_forwards(&mut self, value: &[u8], input: &[u8]) -> Result<Passed, Refused> {
        if !matches!(self.head.method(input), b"OPTIONS" | b"TRACE") {
            return Ok(Passed::Whole);
        }
        let number = plain_number(value).ok_or(Fault::MaxForwards)?;
        match self.head.relayed.max_forwards.replace(number) {
            None => Ok(Passed::MaxForwards),
            Some(_) => Err(Fault::MaxForwards.into()),
        }
    }

    fn connection(&mut self, input: &[u8], span: FieldSpan) -> Result<(), Refused> {
        let mut fault = None;
        let named = &mut self.named;
        let base = input.as_ptr() as usize;
        self.head.options.add(span.value.of(input), |name| {
            if trust::is_essential(name) || named.len() == MAX_NAMED {
                fault = Some(Fault::Connection);
                return;
            }
            let start = name.as_ptr() as usize - base;
            named.push(Span::new(start, start + name.len()));
        });
        fault.map_or(Ok(()), |fault| Err(fault.into()))
    }

    /// Makes the checks for which all fields must be known.
    fn finish(&mut self, input: &[u8]) -> Result<(), Refused> {
        let head = &mut self.head;
        if head.host.is_none() && head.version == Version::Http11 {
            return Err(Fault::Host.into());
        }
        // With a body, it would be unclear where the request ends and the tunnel begins. A client that
        // expects a 100 must get it before the switch (RFC 9110, 7.8). In both cases there is no switch.
        let has_body = head.chunked || head.content_length.is_some_and(|length| length > 0);
        let alone = !has_body && head.expect.is_none();
        if !head.options.upgrade || head.version == Version::Http10 || !alone {
            head.upgrade = None;
        }
        // RFC 9110, 9.3.8. The answer to a TRACE contains the request itself.
        if has_body && head.method.of(input) == b"TRACE" {
            return Err(Fault::TraceBody.into());
        }
        // Without a body the client waits for nothing (RFC 9110, 10.1.1), and servers have waited for a
        // body that the field announced.
        if !has_body && head.expect.take().is_some() {
            for field in &mut head.fields {
                if field.span.name.of(input).eq_ignore_ascii_case(b"expect") {
                    field.passed = Passed::Not;
                }
            }
        }
        for name in &self.named {
            for field in &mut head.fields {
                if field.span.name.of(input).eq_ignore_ascii_case(name.of(input)) {
                    field.passed = Passed::Not;
                }
            }
        }
        Ok(())
    }
}
