//! The only module with `unsafe` code: calls a function of the allocator that its safe crate does not offer.
//! Nothing else belongs here.

#![allow(unsafe_code)]

/// Returns free memory to the system: the memory that is free on this thread, and free memory that belongs to
/// no thread and has not been returned yet.
pub fn release_memory() {
    // SAFETY: the function has no precondition. It touches only memory that the calling thread has freed and
    // memory that belongs to no thread, which the allocator guards by atomics.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
