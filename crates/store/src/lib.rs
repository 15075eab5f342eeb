//! The server's store for releases: contents of files by digest, lists of files, and values of variables.
//! Knows no instances and no hosts: on the host where a release runs, `agent` lays its files out.

mod content;
mod content_error;
mod folders;
mod layout;
mod listed_blobs;
mod partial_blob;
mod recent_uploads;
mod secrets;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::time::Duration;

use model::{AppName, Digest};

pub use content::{BlobWriter, Content, Reading};
pub use content_error::ContentError;
pub use folders::apps_in;
pub use layout::Layout;
pub use partial_blob::{Lacking, PartialBlob};
pub use secrets::{SecretError, Secrets};

/// The store of one data folder.
#[derive(Debug)]
pub struct ReleaseStore {
    /// The files.
    pub content: Content,
    /// The values of environment variables.
    pub secrets: Secrets,
}

/// The digests that an app's releases refer to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InUse {
    /// The digests of lists of files.
    pub manifests: BTreeSet<Digest>,
    /// The digests of values of environment variables.
    pub values: BTreeSet<Digest>,
}

impl ReleaseStore {
    /// Checks that segue has created everything in the store's folders, then opens the store. The caller
    /// holds the lock of the data folder.
    ///
    /// # Errors
    /// If somebody else has created something in the folders, or the system refuses.
    pub fn open(data: &Path) -> io::Result<Self> {
        Layout::new(data).check().map_err(io::Error::other)?;
        Ok(Self { content: Content::open(data)?, secrets: Secrets::open(data)? })
    }

    /// Deletes what uploads have left behind: lists of files and values that no release in `in_use` names,
    /// whether their app is known or not, and contents that no list of files names. Lists and values younger
    /// than `age` stay, since a deploy may be about to name them.
    ///
    /// # Errors
    /// If folders cannot be read or files cannot be deleted. The next call deletes what is left.
    pub fn collect(&self, in_use: &BTreeMap<AppName, InUse>, age: Duration) -> io::Result<()> {
        let mut apps = self.content.apps()?;
        apps.extend(self.secrets.apps()?);
        for app in apps {
            let nothing = InUse::default();
            let InUse { manifests, values } = in_use.get(&app).unwrap_or(&nothing);
            self.content.collect(&app, manifests, age)?;
            self.secrets.collect(&app, values, age)?;
        }
        self.content.delete_unneeded_blobs()
    }
}

#[cfg(test)]
mod tests;
