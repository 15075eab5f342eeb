//! The shape of facts on disk: what the journal keeps as opaque bodies.

use model::{AppName, Timestamp};
use rollout::{App, Fact};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The version of [`Record`] and [`CheckpointBody`] that this program writes, and the newest it reads.
pub const VERSION: u16 = 1;

/// What one decision or one command made so: applied as a whole or not at all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// In this app.
    pub app: AppName,
    /// In this order.
    pub facts: Vec<Fact>,
}

/// The state of all apps after some record.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointBody {
    /// In order of their names.
    pub apps: Vec<App>,
    /// The latest moment that a fact names.
    pub at: Timestamp,
}

/// What the journal holds cannot be understood: traffic goes on, control does not start.
#[derive(Debug, Error)]
pub enum RecoverError {
    /// Written by a newer segue.
    #[error(
        "cannot read record {seq} of the journal: its version is {version}, this segue reads up to {VERSION}"
    )]
    Newer {
        /// Which record.
        seq: u64,
        /// Its version.
        version: u16,
    },
    /// Its body has another shape.
    #[error("cannot read record {seq} of the journal")]
    Shape {
        /// Which record.
        seq: u64,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Its facts contradict those before.
    #[error("cannot apply record {seq} of the journal")]
    Illegal {
        /// Which record.
        seq: u64,
        /// The contradiction.
        source: rollout::Illegal,
    },
}

/// The body of a record or a checkpoint.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(
    seq: u64,
    version: u16,
    body: &[u8],
) -> Result<T, RecoverError> {
    if version > VERSION {
        return Err(RecoverError::Newer { seq, version });
    }
    serde_json::from_slice(body).map_err(|source| RecoverError::Shape { seq, source })
}
