//! The server's store for releases: contents of files by digest, lists of files, values of variables. Knows no
//! instance and no host: where a release runs, `agent` lays its files out.

mod content;
mod folders;
mod layout;
mod recent_uploads;
mod secrets;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::time::Duration;

use model::{AppName, Digest};

pub use content::{BlobWriter, Content, ContentError, Reading};
pub use folders::apps_in;
pub use layout::Layout;
pub use secrets::{SecretError, Secrets};

/// The store of one data folder.
#[derive(Debug)]
pub struct ReleaseStore {
    /// Files.
    pub content: Content,
    /// Values of environment variables.
    pub secrets: Secrets,
}

/// The digests that an app's releases refer to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InUse {
    /// Lists of files.
    pub manifests: BTreeSet<Digest>,
    /// Values of environment variables.
    pub values: BTreeSet<Digest>,
}

impl ReleaseStore {
    /// Checks who made what lies in the store's folders, then opens it. The caller holds the lock of the
    /// data folder.
    ///
    /// # Errors
    /// If somebody else made something in it, or the system refuses.
    pub fn open(data: &Path) -> io::Result<Self> {
        Layout::new(data).check().map_err(io::Error::other)?;
        Ok(Self { content: Content::open(data)?, secrets: Secrets::open(data)? })
    }

    /// Deletes what uploads have left behind: lists of files and values that no release in `in_use` names,
    /// whether their app is known or not, and contents that no list of files names. What is younger than
    /// `age` stays, since a deploy may be about to name it.
    ///
    /// # Errors
    /// If folders cannot be read or files not deleted; what is left goes the next time.
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
