//! Writing a request head anew for the upstream: hop-by-hop fields and whatever a client could
//! deceive the app with are left out, ours are added. Never allocates beside the output.

use alloc::vec::Vec;

use crate::cookies;
use crate::fields::FieldSpan;
use crate::head::{Expectation, RequestHead};

/// One field of a request and what of it is passed on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestField {
    pub span: FieldSpan,
    pub passed: Passed,
}

/// What of a field is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// The line as it came.
    Whole,
    /// The cookies that are not ours.
    WithoutOurs,
    /// The length of the body, in plain spelling.
    Length,
    /// One forwarding less.
    MaxForwards,
    /// The line as it came, if whoever sent it is trusted: it says what we cannot know.
    Claim,
    /// Nothing.
    Not,
}

/// What the proxy tells the upstream about the client. All values are written as they are.
#[derive(Clone, Copy, Debug)]
pub struct Forwarding<'a> {
    /// The client's address, without port.
    pub client: &'a [u8],
    /// `http` or `https`.
    pub proto: &'a [u8],
    /// The port the client connected to.
    pub port: &'a [u8],
    /// So many bytes are cut off the path's start, and told to the app. The caller knows that they
    /// are there and end at a border between segments.
    pub strip: usize,
    /// Whether the client is a proxy whose word on its own clients is passed on.
    pub is_trusted: bool,
}

impl RequestHead {
    /// Writes the head for the upstream, the empty line included. `input` is what was parsed.
    pub fn forward(&self, input: &[u8], with: &Forwarding<'_>, out: &mut Vec<u8>) {
        let authority = self.authority(input);
        out.extend_from_slice(self.method(input));
        out.push(b' ');
        let target = self.target(input);
        let (prefix, rest) = target.split_at_checked(with.strip).unwrap_or((b"", target));
        // Of an absolute target without a path `?query` is left, or nothing of what is stripped.
        if !matches!(rest.first(), Some(b'/' | b'*')) {
            out.push(b'/');
        }
        out.extend_from_slice(rest);
        out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
        out.extend_from_slice(authority);
        out.extend_from_slice(b"\r\n");
        self.kept_fields(input, with.is_trusted, out);
        if self.body().is_chunked() {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        if let Some(protocol) = self.upgrade {
            out.extend_from_slice(b"Connection: upgrade\r\n");
            field(out, b"Upgrade", protocol.of(input));
        }
        field(out, b"X-Forwarded-For", with.client);
        field(out, b"X-Real-IP", with.client);
        field(out, b"X-Forwarded-Proto", with.proto);
        field(out, b"X-Forwarded-Port", with.port);
        match self.hops {
            // Nearly always it is the first.
            0 => out.extend_from_slice(b"X-Segue-Hops: 1\r\n"),
            hops => number_field(out, HOPS, hops.saturating_add(1)),
        }
        if !authority.is_empty() {
            field(out, b"X-Forwarded-Host", authority);
        }
        if !prefix.is_empty() {
            field(out, b"X-Forwarded-Prefix", prefix);
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Copies runs of kept fields at once: most heads are one or two runs.
    fn kept_fields(&self, input: &[u8], is_trusted: bool, out: &mut Vec<u8>) {
        let mut run = 0..0;
        for field in &self.fields {
            match field.passed {
                Passed::Whole => {}
                Passed::Claim if is_trusted => {}
                Passed::WithoutOurs => {
                    out.extend_from_slice(input.get(run.clone()).unwrap_or_default());
                    run = 0..0;
                    cookies::write_others(field.span.value.of(input), out);
                    continue;
                }
                Passed::Length => {
                    out.extend_from_slice(input.get(run.clone()).unwrap_or_default());
                    run = 0..0;
                    let length = self.content_length().unwrap_or_default();
                    number_field(out, b"Content-Length", length);
                    continue;
                }
                Passed::MaxForwards => {
                    out.extend_from_slice(input.get(run.clone()).unwrap_or_default());
                    run = 0..0;
                    let left = self.max_forwards().unwrap_or_default().saturating_sub(1);
                    number_field(out, b"Max-Forwards", left);
                    continue;
                }
                Passed::Claim | Passed::Not => continue,
            }
            let line = field.span.line;
            if line.start as usize != run.end {
                out.extend_from_slice(input.get(run.clone()).unwrap_or_default());
                run.start = line.start as usize;
            }
            run.end = line.end as usize;
        }
        out.extend_from_slice(input.get(run).unwrap_or_default());
    }

    /// Whether the client waits for a 100 before it sends its body.
    pub fn awaits_continue(&self) -> bool {
        self.expectation() == Expectation::Continue
    }
}

/// Counts the proxies of this kind that a request has come through: in a circle it only grows.
pub(crate) const HOPS: &[u8] = b"X-Segue-Hops";

/// A number in its plainest spelling: servers differ in what they take as a length, and some refuse
/// a space behind it.
fn number_field(out: &mut Vec<u8>, name: &[u8], number: u64) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    decimal(number, out);
    out.extend_from_slice(b"\r\n");
}

/// A number without sign or zeros before it.
pub(crate) fn decimal(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
