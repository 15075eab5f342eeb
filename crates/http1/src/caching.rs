//! Whether caches that many users share may keep an answer, as far as its head says so.

use crate::chars::list;

/// What the fields of one answer said.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Caching {
    public: bool,
    lasting: bool,
    closed: bool,
}

impl Caching {
    /// Takes in one `Cache-Control` value.
    pub(crate) fn control(&mut self, value: &[u8]) {
        for directive in list(value) {
            let name = directive.split(|&b| b == b'=').next().unwrap_or_default();
            let is = |known: &[u8]| name.trim_ascii_end().eq_ignore_ascii_case(known);
            self.public |= is(b"public") || is(b"s-maxage");
            self.lasting |= is(b"max-age");
            self.closed |= is(b"private") || is(b"no-store");
        }
    }

    /// There is an `Expires`. Without a letter it is no date, which means: at once.
    pub(crate) fn expires(&mut self, value: &[u8]) {
        self.lasting |= value.iter().any(u8::is_ascii_alphabetic);
    }

    /// Whether the answer is offered to shared caches: in so many words, or by a lifetime without a
    /// word that it is one user's own. An answer that says nothing is not: RFC 9111 lets caches
    /// guess, and those that do leave answers with `Set-Cookie` alone.
    pub(crate) fn is_shared(self) -> bool {
        self.public || (self.lasting && !self.closed)
    }
}
