//! The client's side of an exchange, in whatever version it speaks.

pub(crate) mod h1;
pub(crate) mod piece;
pub(crate) mod side;
