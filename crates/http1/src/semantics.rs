//! The meaning of versions, methods and `Connection` options. Never reads a head itself.

use crate::chars::list;

/// The protocol version of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0: no chunks, no 1xx, one request per connection unless both say otherwise.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// Tells whether a connection may be used again after this message, as its sender declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// The connection may carry another request.
    KeepAlive,
    /// The connection may not.
    Close,
}

/// Returns whether sending a request twice has the same effect as sending it once (RFC 9110, 9.2.2).
pub fn is_idempotent(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE")
}

/// The options in the `Connection` fields of one head.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ConnectionTokens {
    pub close: bool,
    pub keep_alive: bool,
    pub upgrade: bool,
}

impl ConnectionTokens {
    /// Adds one `Connection` value. Calls `named` with the names of fields in it.
    pub(crate) fn add<'a>(&mut self, value: &'a [u8], mut named: impl FnMut(&'a [u8])) {
        for option in list(value) {
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            } else {
                named(option);
            }
        }
    }

    pub(crate) fn persistence(self, version: Version) -> Persistence {
        match version {
            _ if self.close => Persistence::Close,
            Version::Http11 => Persistence::KeepAlive,
            Version::Http10 if self.keep_alive => Persistence::KeepAlive,
            Version::Http10 => Persistence::Close,
        }
    }
}

/// Parses a plain decimal number of at most 18 digits: no sign, no space, no comma.
pub(crate) fn plain_number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 18 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}
