//! The atomics of the types that are tested under every order of their threads: the real ones here, those
//! of a model in `tests/orders`.

pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
