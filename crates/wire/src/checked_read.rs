//! Reads a file's content and checks it against the list. A file may change between listing and sending; then
//! it is not sent as a whole.

use std::fmt;
use std::io::{self, Read};

use model::Digest;

use crate::Blob;

/// The reason why a file was not sent.
#[derive(Debug)]
pub(crate) enum NotSent {
    /// The content is no longer the listed one.
    Changed,
    /// The file cannot be read.
    Unreadable(io::Error),
}

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed => f.write_str("it changed while it was sent"),
            Self::Unreadable(_) => f.write_str("it cannot be read"),
        }
    }
}

impl std::error::Error for NotSent {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Changed => None,
            Self::Unreadable(error) => Some(error),
        }
    }
}

impl NotSent {
    /// Takes the reason out of an IO error, where [`Listed`] has put it.
    pub(crate) fn of(error: &mut io::Error) -> Option<Self> {
        if !error.get_ref()?.is::<Self>() {
            return None;
        }
        let inner = std::mem::replace(error, io::ErrorKind::Other.into()).into_inner()?;
        inner.downcast::<Self>().ok().map(|not_sent| *not_sent)
    }
}

/// A reader that returns as many bytes as were listed. It returns the last of them only if the content is the
/// listed one. Bytes that were appended to the file since are left out.
pub(crate) struct Listed<R> {
    content: R,
    left: u64,
    hasher: blake3::Hasher,
    digest: Digest,
}

impl<R: Read> Listed<R> {
    pub(crate) fn new(content: R, Blob { digest, size }: Blob) -> Self {
        Self { content, left: size, hasher: blake3::Hasher::new(), digest }
    }

    fn is_as_listed(&self) -> bool {
        Digest::from_bytes(*self.hasher.finalize().as_bytes()) == self.digest
    }
}

impl<R: Read> Read for Listed<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || out.is_empty() {
            return Ok(0);
        }
        let most = usize::try_from(self.left).map_or(out.len(), |left| left.min(out.len()));
        let read = loop {
            match self.content.read(&mut out[..most]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io::Error::other(NotSent::Unreadable(error))),
                Ok(read) => break read,
            }
        };
        self.hasher.update(&out[..read]);
        self.left -= read as u64;
        if read == 0 || self.left == 0 && !self.is_as_listed() {
            return Err(io::Error::other(NotSent::Changed));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(listed: &[u8], now: &[u8]) -> Result<Vec<u8>, String> {
        let digest = Digest::from_bytes(*blake3::hash(listed).as_bytes());
        let mut reader = Listed::new(now, Blob { digest, size: listed.len() as u64 });
        let mut all = Vec::new();
        match reader.read_to_end(&mut all) {
            Ok(_) => Ok(all),
            Err(mut error) => {
                Err(NotSent::of(&mut error).map_or_else(String::new, |e| e.to_string()))
            }
        }
    }

    #[test]
    fn what_was_listed_is_sent_or_nothing_is() {
        assert_eq!(sent(b"abc", b"abc").unwrap(), b"abc");
        assert_eq!(sent(b"abc", b"abc and more").unwrap(), b"abc", "it has grown");
        assert_eq!(sent(b"", b"x").unwrap(), b"");
        for other in [&b"ab"[..], b"", b"abx", b"abxy"] {
            assert_eq!(sent(b"abc", other).unwrap_err(), "it changed while it was sent");
        }
    }
}
