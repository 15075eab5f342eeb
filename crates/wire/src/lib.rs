//! Everything that the command line and the server exchange: JSON shapes, the app file, the list of a
//! release's files, and the client.
//!
//! All shapes are defined here. They are created from [`model`] by destructuring without `..`, so every new
//! field has to be handled. This crate knows nothing of the engine or the store.

mod appfile;
mod checked_read;
mod client;
mod client_error;
mod cohort;
mod connector;
mod duration;
mod event;
mod fleet;
mod fleet_client;
mod health;
mod json_lines;
mod limits;
mod listener_owner;
mod log;
mod maintenance;
mod manifest;
mod modified_times;
mod plan;
mod problem;
mod program;
mod receipt;
mod request;
mod resources;
mod route;
mod secret;
mod settings_table;
mod settings_tree;
mod share;
mod shipped_files;
mod status;
mod strategy;
mod value_checks;

pub use appfile::{AppFile, AppFileError};
pub use client::{ApiClient, Follow};
pub use client_error::ClientError;
pub use connector::{Distrust, SOCKET, Trusted, Unseen};
pub use duration::parse_duration;
pub use event::{Line, Now, StreamEvent};
pub use fleet::{
    AcceptRequest, AddressRequest, DutyRequest, FleetStatus, HostStatus, InviteRequest, Invited,
    MemberChanged, MemberState, ProxyDrain, ProxyDutyRequest, ProxyStatus, ServerStatus,
};
pub use json_lines::JsonLines;
pub use listener_owner::{
    Holder, HolderProcess, TcpSocket, holders, tcp_sockets, user_id, user_name,
};
pub use log::{LogCursor, LogLine, LogPage, LogRequest, LogStart};
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
pub use shipped_files::APP_FILE;
pub use status::{
    AppInfo, InstanceStatus, ReleaseStatus, Rollback, RolloutProgress, RolloutStatus, Status,
    StoredRelease,
};
