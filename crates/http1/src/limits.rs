//! Bounds on the size of a head.

/// Bounds on a request head, in bytes and fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// The whole head; at most 64 MiB.
    pub head: usize,
    /// The target.
    pub target: usize,
    /// The method.
    pub method: usize,
    /// One field name.
    pub name: usize,
    /// Fields other than `Cookie`.
    pub fields: usize,
    /// `Cookie` fields, which browsers may split into crumbs.
    pub crumbs: usize,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self { head: 32 << 10, target: 8 << 10, method: 32, name: 256, fields: 128, crumbs: 256 }
    }
}
