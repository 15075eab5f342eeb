//! The client's side of an exchange, for each version of HTTP.

pub(crate) mod h1;
pub(crate) mod piece;
pub(crate) mod side;
