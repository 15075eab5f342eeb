//! Runs the instances on this host: starts, stops, adopts and probes them, and keeps their files and output.
//!
//! The agent carries out each [`model::HostCommand`] and answers with a [`model::HostReport`]. It decides
//! nothing about rollouts or traffic. It keeps no state outside the data folder. It ends no instance unless
//! told to: instances outlive the agent, and each is supervised by its [`shim`].

mod agent;
mod await_files;
mod cgroup;
mod command_probe;
mod context;
mod delegation;
mod disk;
mod down;
mod environment;
mod fetch;
#[cfg(test)]
mod fetch_fault_tests;
#[cfg(test)]
mod fetch_tests;
mod fetch_tries;
mod garbage_collection;
mod http_probe;
mod identity;
mod instance_task;
mod layout;
mod listener_monitor;
mod listener_owner;
pub mod logs;
mod orphans;
mod ports;
mod probe;
mod probe_history;
mod procfs;
mod protocol;
mod release_files;
mod runfolder;
pub mod shim;
mod shim_client;
mod single_flight;
mod socketfolder;
mod sockets;
mod source;
mod start;
mod stop;
mod sys;
mod task_command;
mod unresponsive_shim;

pub use agent::{Agent, StartError};
pub use context::AgentConfig;
pub use down::{StoppedInstance, numbers, running, stop_all};
pub use environment::states;
pub use identity::Access;
pub use listener_owner::{foreign_listeners, listening};
pub use procfs::boot_id;
pub use protocol::OpenFiles;
pub use release_files::{ReleaseFiles, ReleaseFilesError};
pub use source::{ReleaseSource, Request, SourceError, SourceReader, StoreSource};
