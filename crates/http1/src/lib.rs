//! HTTP/1.1 for a proxy: heads and bodies as state machines over byte slices.
//!
//! There is no socket here, no clock and no randomness; no header map and no allocation per field.
//! Requests are read strictly, because leniency is how requests are smuggled; answers from upstream
//! are read tolerantly where the RFC demands it, and are refused where two readers could disagree
//! about their end.
//!
//! A head is parsed in place: [`RequestParser`] and [`ResponseParser`] are shown the whole input so
//! far and go on where they stopped, so an unfinished head is judged as early as a finished one and
//! a split never changes the verdict. What is forwarded is written straight into the output.

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod accept;
mod body;
mod caching;
mod chars;
mod chunked;
mod cookies;
mod extension;
mod fault;
mod fields;
mod forward;
mod head;
mod host;
mod limits;
mod request;
mod response;
mod semantics;
mod target;
mod trailers;
mod trust;

pub use body::{Body, BodyStep, Encoder};
pub use chunked::ChunkDecoder;
pub use fault::{BadAnswer, Fault, Refused};
pub use forward::Forwarding;
pub use head::{Expectation, RequestHead};
pub use limits::RequestLimits;
pub use request::{Progress, RequestParser};
pub use response::{After, AnswerTo, ResponseHead, ResponseParser};
pub use semantics::{Persistence, Version, is_idempotent};
