//! Decides whether shared caches may store an answer, by its head.

use crate::chars::list;

/// The caching fields of one answer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Caching {
    public: bool,
    lasting: bool,
    closed: bool,
}

impl Caching {
    /// Adds one `Cache-Control` value.
    pub(crate) fn control(&mut self, value: &[u8]) {
        for directive in list(value) {
            let name = directive.split(|&b| b == b'=').next().unwrap_or_default();
            let is = |known: &[u8]| name.trim_ascii_end().eq_ignore_ascii_case(known);
            self.public |= is(b"public") || is(b"s-maxage");
            self.lasting |= is(b"max-age");
            self.closed |= is(b"private") || is(b"no-store");
        }
    }

    /// Adds an `Expires` value. A value without a letter is no date, which means: expired.
    pub(crate) fn expires(&mut self, value: &[u8]) {
        self.lasting |= value.iter().any(u8::is_ascii_alphabetic);
    }

    /// Returns whether shared caches may store the answer: because it says so explicitly, or has a
    /// lifetime and does not say that it belongs to one user. An answer without such fields is not
    /// shared. RFC 9111 lets caches guess a lifetime, but caches that do so do not store answers with
    /// `Set-Cookie`.
    pub(crate) fn is_shared(self) -> bool {
        self.public || (self.lasting && !self.closed)
    }
}
