//! One file per verb, and one file for the verbs that need only the app's name.

pub(crate) mod app_verbs;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod deploy;
pub(crate) mod down;
pub(crate) mod fleet;
pub(crate) mod logs;
pub(crate) mod maintenance;
pub(crate) mod outcome;
pub(crate) mod plan;
pub(crate) mod promote;
pub(crate) mod receipt;
pub(crate) mod releases;
pub(crate) mod remove;
pub(crate) mod rollback;
pub(crate) mod scale;
pub(crate) mod status;

mod command_check;
mod env;
mod env_file;
mod firewall;
mod keepalived;
mod member_duty;
mod outside_paths;
mod page;
mod upload;
