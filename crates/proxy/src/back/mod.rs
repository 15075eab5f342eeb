//! The instance's side of an exchange, for each version of HTTP.

pub(crate) mod broken;
pub(crate) mod h1;
pub(crate) mod replay;
pub(crate) mod side;
