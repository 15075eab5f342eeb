//! Everything that the command line and the server exchange: JSON shapes, the app file, the list of a
//! release's files, and the client.
//!
//! Shapes live here and nowhere else; they are made from [`model`] by destructuring without `..`,
//! so a new field has to be given a place. Nothing here knows the engine or the store.

mod appfile;
mod checks;
mod client;
mod client_error;
mod cohort;
mod dial;
mod duration;
mod event;
mod health;
mod limits;
mod listed;
mod listener;
mod log;
mod maintenance;
mod manifest;
mod plan;
mod problem;
mod program;
mod receipt;
mod request;
mod resources;
mod route;
mod secret;
mod section;
mod share;
mod shipped;
mod status;
mod strategy;
mod stream;
mod times;
mod tree;

pub use appfile::{AppFile, AppFileError};
pub use client::{Client, Follow};
pub use client_error::ClientError;
pub use dial::{Distrust, SOCKET, Trusted, Unseen};
pub use duration::parse_duration;
pub use event::{Line, Now, StreamEvent};
pub use listener::{Holder, HolderProcess, TcpSocket, holders, tcp_sockets, user_id, user_name};
pub use log::LogLine;
pub use maintenance::MaintenanceRequest;
pub use manifest::{
    FileEntry, InvalidEntry, Kind, MOST_BYTES, MOST_ENTRIES, Manifest, Scan, ScanError, scan,
};
pub use plan::{DeployPlan, DeployVerdict, Effect, EffectKind, Planned, PlannedRelease, steps};
pub use problem::{Code, ErrorBody, Problem};
pub use program::{PROGRAM_START, Program};
pub use receipt::{ReceiptWithCause, RolloutReceipt, RolloutStanding};
pub use request::{
    BareRequest, Blob, CommandAccepted, DeployRequest, Down, LeftState, Missing, PromoteRequest,
    RollbackRequest, ScaleRequest, Wanted,
};
pub use secret::{ANOTHER_NAME, Secret, check_env_name};
pub use shipped::APP_FILE;
pub use status::{
    AppInfo, InstanceStatus, ReleaseStatus, Rollback, RolloutProgress, RolloutStatus, Status,
    StoredRelease,
};
pub use stream::JsonLines;
