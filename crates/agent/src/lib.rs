//! Instances on this host: started, stopped, adopted and probed; their files and their output.
//!
//! Does what [`model::HostCommand`] says and answers with [`model::HostReport`]. It decides nothing
//! about rollouts or traffic, keeps no state of its own beyond what lies in the data folder, and
//! ends no instance unless told to: those outlive it, each in the care of its [`shim`].

mod agent;
mod attach;
mod cgroup;
mod command_probe;
mod delegation;
mod disk;
mod down;
mod environment;
mod http_probe;
mod hung;
mod identity;
mod keep;
mod layout;
mod life;
mod listener;
pub mod logs;
mod lookout;
mod ports;
mod probe;
mod procfs;
mod protocol;
mod release_files;
mod runfolder;
pub mod shim;
mod socketfolder;
mod sockets;
mod start;
mod stop;
mod survivors;
mod sys;
mod tally;
mod world;

pub use agent::{Agent, StartError};
pub use down::{Ended, running, stop_all};
pub use environment::states;
pub use identity::Access;
pub use listener::strangers;
pub use procfs::boot_id;
pub use protocol::OpenFiles;
pub use release_files::{ReleaseFiles, ReleaseFilesError};
pub use world::Config;
