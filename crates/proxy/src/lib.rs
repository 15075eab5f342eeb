//! The data plane: takes requests, finds an instance by one whole snapshot, and passes bytes on.
//!
//! ```text
//!   handle ── publish ──► shared ◄── report ── reporter
//!                           │ wakes
//!             worker 0 … worker N-1      each: one thread, own sockets, own upstream pool
//!                │
//!            connection ─► exchange (way → outgoing → incoming) ─► farewell | tunnel
//! ```
//!
//! It knows nothing of rollouts, journals or processes, decides by nothing but the snapshot and the
//! health it was handed, and holds no lock and spawns nothing on the path of a request.

mod access_log;
pub mod admin;
mod askers;
mod back;
mod bind;
mod buffer;
mod caller;
mod cell;
mod circle;
mod clock;
mod closed;
mod config;
mod connection;
mod counted;
mod crowd;
mod date;
mod deadline;
mod delivery;
mod door;
mod dropped;
mod error;
mod exchange;
mod farewell;
mod forwarded;
mod front;
mod gap;
mod handle;
mod handover;
mod instance;
mod intake;
mod line;
mod load;
mod lounge;
mod metrics;
mod pace;
mod pages;
mod pool;
mod probe;
mod redirect;
mod reporter;
mod reuse;
mod room;
mod roster;
mod router;
pub mod saved;
mod shared;
mod signal;
mod signing;
mod slot_id;
mod slots;
mod socket;
mod split;
pub mod standalone;
mod stats;
mod stopwatch;
mod stream;
mod sys;
mod table;
mod tunnel;
mod turn;
mod upstream;
mod whence;
mod worker;

pub use clock::{Clock, HandClock};
pub use config::{Config, Limits};
pub use error::{Error, Stale};
pub use handle::{Bound, Proxy};
pub use signing::AffinityKey;
