//! What of each field of a request is passed on to the upstream, and the lines that are written anew
//! for it. Never allocates beside the output.

use alloc::vec::Vec;

use crate::fields::FieldSpan;

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
    /// How many bytes are cut off the path's start, and told to the app. The caller knows that they
    /// are there and end at a border between segments.
    pub strip: usize,
    /// Whether the client is a proxy whose word on its own clients is passed on.
    pub is_trusted: bool,
}

/// Counts the proxies of this kind that a request has come through: in a circle it only grows.
pub(crate) const HOPS: &[u8] = b"X-Segue-Hops";

/// A number in its plainest spelling: servers differ in what they take as a length, and some refuse
/// a space behind it.
pub(crate) fn number_field(out: &mut Vec<u8>, name: &[u8], number: u64) {
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

pub(crate) fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
