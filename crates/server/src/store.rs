//! The store's interface for the API: files and values of releases. Every call may block; the API calls from
//! threads for blocking work.

use std::collections::BTreeMap;
use std::io::Read;

use model::{AppName, Digest, RolloutId};
use wire::{Blob, Manifest, Secret};

/// The store of releases, as the API uses it.
pub trait ApiStore: Send + Sync + 'static {
    /// Returns the digests of those of these blobs that the store does not have.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn missing(&self, blobs: &[Blob]) -> Result<Vec<Digest>, StoreError>;

    /// Stores a blob. Reads `content` to its end. An error of `content` means that the upload broke off;
    /// nothing of the blob may be stored then.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if the content does not match the digest.
    fn put_blob(&self, digest: Digest, content: &mut dyn Read) -> Result<(), StoreError>;

    /// Stores the list of files of a release of `app`. The digest names the list from then on. `before` is
    /// the list of the live release: files that have not changed keep their times from that list.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if the list is not sound, or a blob is missing.
    fn put_manifest(
        &self,
        app: &AppName,
        manifest: &Manifest,
        before: Option<Digest>,
    ) -> Result<Digest, StoreError>;

    /// Returns the list of files that this digest names, if the list is stored.
    fn manifest(&self, app: &AppName, digest: Digest) -> Option<Manifest>;

    /// Returns whether `wanted` is the stored list of files without its app file. Earlier versions shipped
    /// the app file.
    fn is_without_app_file(&self, app: &AppName, stored: Digest, wanted: &Manifest) -> bool;

    /// Stores the values of an app's environment where no other user can read them. Returns their keyed
    /// digests.
    ///
    /// # Errors
    /// If the values cannot be stored.
    fn put_env(
        &self,
        app: &AppName,
        values: BTreeMap<String, Secret>,
    ) -> Result<BTreeMap<String, Digest>, StoreError>;

    /// Tells the store the outcome of the deploy that these values were put for.
    fn env_is(&self, app: &AppName, env: &BTreeMap<String, Digest>, became: Became);

    /// Returns the digests that [`ApiStore::put_env`] would return for these values, without storing the
    /// values.
    fn env_digests(
        &self,
        app: &AppName,
        values: &BTreeMap<String, Secret>,
    ) -> BTreeMap<String, Digest>;
}

/// The outcome of a deploy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    /// The deploy is this rollout, a new one or one already under way. `None` if nothing had to be done.
    Accepted(Option<RolloutId>),
    /// The deploy has certainly not become a rollout.
    Refused,
}

/// The reason why the store failed. The texts name the act, the object and the cause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The request is invalid.
    #[error("{0}")]
    Invalid(String),
    /// The request is valid, but the store refuses it.
    #[error("{message}")]
    Refused {
        /// The act, its object, and the reason for the refusal.
        message: String,
        /// What the user can do now.
        hint: &'static str,
    },
    /// The store cannot do this now.
    #[error("{0}")]
    Unavailable(String),
}
