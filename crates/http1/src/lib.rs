//! HTTP/1.1 for a proxy: heads and bodies as state machines over byte slices.
//!
//! There is no socket here, no clock and no randomness, no header map and no allocation per field.
//! Requests are parsed strictly, because leniency enables request smuggling. Answers from upstream are
//! parsed tolerantly where the RFC demands it, and are refused where two readers could disagree about
//! their end.
//!
//! A head is parsed in place. [`RequestParser`] and [`ResponseParser`] are given the whole input so far
//! and continue where they stopped. An unfinished head is therefore judged as early as a finished one,
//! and splitting the input never changes the verdict. Forwarded bytes are written straight into the
//! output.

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
