//! A piece of a body, taken off its framing.

/// A piece of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    /// Plain bytes.
    pub(crate) data: &'a [u8],
    /// Nothing follows.
    pub(crate) last: bool,
    /// What the piece takes of what the sender sent, framing included.
    pub(crate) taken: usize,
}
