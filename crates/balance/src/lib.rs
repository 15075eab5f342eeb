//! Load balancing: picks arms by share, instances by load and health; ejection; the retry budget.
//!
//! Every decision is a pure function of its arguments: time and random numbers are passed in, load and
//! health are read through closures. Nothing here holds a lock, an address or a clock.

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod arm;
mod budget;
mod eject;
mod latency;
mod pace;
mod pick;
mod split;
mod warmth;
mod weight;

pub use arm::{Bucket, choose_arm};
pub use budget::RetryBudget;
pub use eject::{
    Ejection, MAX_EJECTED_PERCENT, failures_to_eject, may_eject, time_out, timeouts_to_eject_host,
};
pub use latency::Latency;
pub use pace::ReleasePace;
pub use pick::{Candidate, Choice, Standing, pick, pick_for_user, pick_in_turn, pick_least};
pub use split::choose_split;
pub use warmth::warmth;
pub use weight::{WeightedTurn, round, weighted};
