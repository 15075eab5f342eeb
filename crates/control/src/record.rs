//! The shape of facts on disk: what the journal keeps as opaque bodies.

use journal::{Checkpoint, Part};
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

/// The state of all apps after some record. Stored in parts, one per app.
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
    /// A checkpoint has a part that this program does not know.
    #[error(
        "cannot read the checkpoint at record {seq} of the journal: its part `{key}` is unknown"
    )]
    Part {
        /// The last record that the checkpoint stands for.
        seq: u64,
        /// The part.
        key: String,
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

/// Begins the key of an app's part of a checkpoint; its name follows.
const APP: &str = "app/";
/// The key of the part that holds the latest moment.
const LATEST: &str = "latest";

impl CheckpointBody {
    /// As it is stored.
    pub fn parts(&self) -> Result<Vec<Part>, serde_json::Error> {
        let part = |key: String, body| Part { key, version: VERSION, body };
        let mut parts = vec![part(LATEST.to_owned(), serde_json::to_vec(&self.at)?)];
        for app in &self.apps {
            parts.push(part(format!("{APP}{}", app.name), serde_json::to_vec(app)?));
        }
        Ok(parts)
    }

    /// From what was stored: in parts, or as one body, as it was before there were parts.
    pub(crate) fn read(checkpoint: &Checkpoint) -> Result<Self, RecoverError> {
        let seq = checkpoint.seq.0;
        let mut whole = Self::default();
        for Part { key, version, body } in &checkpoint.parts {
            if key == Part::WHOLE {
                whole = parse(seq, *version, body)?;
            } else if key == LATEST {
                whole.at = parse(seq, *version, body)?;
            } else if key.starts_with(APP) {
                whole.apps.push(parse(seq, *version, body)?);
            } else {
                return Err(RecoverError::Part { seq, key: key.clone() });
            }
        }
        Ok(whole)
    }
}

/// The body of a record or of a part of a checkpoint.
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
