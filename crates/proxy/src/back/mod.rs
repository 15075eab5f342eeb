//! The instance's side of an exchange, in whatever version it speaks.

pub(crate) mod broken;
pub(crate) mod h1;
pub(crate) mod replay;
pub(crate) mod side;
