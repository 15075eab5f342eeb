//! The atomics of what is tried under every order of its threads: the real ones here, those of a model in
//! `tests/orders`.

pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
