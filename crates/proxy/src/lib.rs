//! The data plane: takes requests, picks an instance by one whole snapshot, and passes bytes on.
//!
//! ```text
//!   handle ── publish ──► shared ◄── report ── reporter
//!                           │ wakes
//!             worker 0 … worker N-1      each: one thread, own sockets, own upstream pool
//!                │
//!            connection ─► exchange (dispatch → outgoing → incoming) ─► lingering_close | tunnel
//! ```
//!
//! The data plane knows nothing of rollouts, journals or processes. Its only inputs for a decision are
//! the snapshot and the health in it. On the path of a request it holds no lock and spawns no task.

mod acceptor;
mod access_log;
mod acknowledged;
pub mod admin;
mod askers;
mod availability_gap;
mod back;
mod bind;
mod body_limits;
mod buffer;
mod burst;
mod caller;
mod circle;
mod clock;
mod config;
mod connection;
mod counted;
mod counter;
mod date;
mod deadline;
mod delivery;
mod dropped;
mod error;
mod eviction;
mod exchange;
mod failures;
mod forwarded;
mod front;
mod handle;
mod hold_queue;
mod idle;
mod instance;
mod lingering_close;
mod load;
mod maintenance;
mod metrics;
mod pace;
mod pages;
mod pool;
mod probe;
mod process_signals;
mod reach;
mod rebalance;
mod redirect;
mod reporter;
mod resolver;
mod reuse;
mod room;
mod router;
mod service;
mod shared;
mod signal;
mod signing;
pub mod snapshot_file;
mod socket;
pub mod standalone;
mod stats;
mod stopwatch;
mod stream;
mod sync;
mod sys;
mod table;
mod timer_id;
mod timers;
mod traffic_split;
mod tunnel;
mod turn;
mod unanswered;
mod upstream;
mod upstream_host;
mod whence;
mod worker;

pub use clock::{Clock, HandClock};
pub use config::{Config, Limits};
pub use error::{Error, Stale};
pub use handle::{Bound, Proxy};
pub use process_signals::{SignalAction, Signals};
pub use service::{LeavingConnections, ServiceMode};
pub use signing::AffinityKey;
