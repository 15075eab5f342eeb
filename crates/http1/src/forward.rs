//! The part of each field of a request that is passed on to the upstream, and the lines that are
//! rewritten for it. Never allocates anything but the output.

use alloc::vec::Vec;

use crate::fields::FieldSpan;

/// One field of a request and the part of it that is passed on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestField {
    pub span: FieldSpan,
    pub passed: Passed,
}

/// The part of a field that is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// The line as it was received.
    Whole,
    /// The cookies that are not the proxy's own.
    WithoutOurs,
    /// The length of the body, as a plain number.
    Length,
    /// The number of forwardings, less one.
    MaxForwards,
    /// The line as it was received, if its sender is trusted: it says something that this proxy cannot
    /// know.
    Claim,
    /// Nothing.
    Not,
}

/// The facts about the client that the proxy reports to the upstream. All values are written as they are.
#[derive(Clone, Copy, Debug)]
pub struct Forwarding<'a> {
    /// The client's address, without port.
    pub client: &'a [u8],
    /// `http` or `https`.
    pub proto: &'a [u8],
    /// The port that the client connected to.
    pub port: &'a [u8],
    /// The number of bytes to cut off the start of the path, which the app is told. The caller must know
    /// that the path has these bytes and that they end at a border between segments.
    pub strip: usize,
    /// True if the client is a proxy whose claims about its own clients are passed on.
    pub is_trusted: bool,
}

/// The field that counts the proxies of this kind that a request has passed. In a loop it only grows.
pub(crate) const HOPS: &[u8] = b"X-Segue-Hops";

/// Writes a number in its plainest form: servers differ in the forms of a length that they accept, and
/// some refuse a space behind it.
pub(crate) fn number_field(out: &mut Vec<u8>, name: &[u8], number: u64) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    decimal(number, out);
    out.extend_from_slice(b"\r\n");
}

/// Writes a number without sign or leading zeros.
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
