//! The one place with `unsafe`: asks the allocator what its safe crate has no words for. Nothing else
//! belongs here.

#![allow(unsafe_code)]

/// Returns free memory to the system: what is free on this thread, and what is free of all threads and has
/// not been returned yet.
pub fn release_memory() {
    // SAFETY: it has no precondition; it touches nothing but what the calling thread has freed and memory
    // that belongs to no thread, which the allocator guards by atomics.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
