//! The link between members of a fleet and their server. Members connect outwards, over TLS 1.3 with
//! certificates on both sides (crate `identity`), and keep one session: a WebSocket with heartbeats and one
//! bounded queue in each direction. What is too large for messages is fetched by requests beside it.
//!
//! This crate moves messages. What they mean is for control, the agent and the proxy.

mod answers;
mod confirm;
mod content;
mod dial;
mod door;
mod door_state;
mod error;
mod fetch;
mod join;
mod member;
mod member_session;
mod message;
mod newcomers;
mod queue;
mod session;
mod shared_json;

pub use confirm::{Confirmer, Listens, confirm};
pub use content::{ContentRefusal, ContentRequest, ServedContent};
pub use door::{DoorConfig, FleetDoor, ToMembers};
pub use door_state::{DoorEnd, MemberStanding, StrangerSeen};
pub use error::LinkError;
pub use fetch::Fetcher;
pub use join::join;
pub use member::{Member, MemberEnd, MemberEnded, ToServer};
pub use message::{ControlRun, FromMember, Hello, Offers, ToMember, VERSION, Welcome, is_spoken};
pub use session::{SessionEnd, SessionTimes};
pub use shared_json::SharedJson;
