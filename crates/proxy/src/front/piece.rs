//! A piece of a body, without its framing.

/// A piece of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    /// Plain bytes.
    pub(crate) data: &'a [u8],
    /// True if nothing follows.
    pub(crate) last: bool,
    /// The number of bytes that the piece takes up in the sender's stream, framing included.
    pub(crate) taken: usize,
}
