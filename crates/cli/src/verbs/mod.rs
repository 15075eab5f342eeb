//! One file per verb.

pub(crate) mod abort;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod deploy;
pub(crate) mod down;
pub(crate) mod logs;
pub(crate) mod maintenance;
pub(crate) mod outcome;
pub(crate) mod pause;
pub(crate) mod plan;
pub(crate) mod promote;
pub(crate) mod receipt;
pub(crate) mod releases;
pub(crate) mod remove;
pub(crate) mod restart;
pub(crate) mod resume;
pub(crate) mod rollback;
pub(crate) mod scale;
pub(crate) mod status;
pub(crate) mod sync;

mod env;
mod env_file;
mod inside;
mod page;
mod soundness;
mod upload;
