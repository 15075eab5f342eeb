//! The store as the API sees it: files and values. Every call may block; the API makes them on threads for
//! blocking work.

use std::collections::BTreeMap;
use std::io::Read;

use model::{AppName, Digest, RolloutId};
use wire::{Blob, Manifest, Secret};

/// The store of releases, seen from the API.
pub trait ApiStore: Send + Sync + 'static {
    /// Returns which of these blobs the store does not have.
    ///
    /// # Errors
    /// When it cannot be read.
    fn missing(&self, blobs: &[Blob]) -> Result<Vec<Digest>, StoreError>;

    /// Keeps a blob. Reads `content` to its end; an error of `content` means that the upload broke
    /// off, and nothing of it may stay.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when the content is not what the digest names.
    fn put_blob(&self, digest: Digest, content: &mut dyn Read) -> Result<(), StoreError>;

    /// Keeps the list of files of a release of `app`; the digest names it from then on. `before`
    /// is the list of the release that is live, from which files that have not changed keep their times.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when it is not sound, or a blob is missing.
    fn put_manifest(
        &self,
        app: &AppName,
        manifest: &Manifest,
        before: Option<Digest>,
    ) -> Result<Digest, StoreError>;

    /// The list of files that this digest names, if it is kept.
    fn manifest(&self, app: &AppName, digest: Digest) -> Option<Manifest>;

    /// Whether `wanted` is the stored list of files without its app file, which earlier versions
    /// shipped.
    fn is_without_app_file(&self, app: &AppName, stored: Digest, wanted: &Manifest) -> bool;

    /// Keeps the values of an app's environment where nobody else reads them, and gives their
    /// keyed digests.
    ///
    /// # Errors
    /// When they cannot be kept.
    fn put_env(
        &self,
        app: &AppName,
        values: BTreeMap<String, Secret>,
    ) -> Result<BTreeMap<String, Digest>, StoreError>;

    /// Tells the store the outcome of the deploy that these values were put for.
    fn env_is(&self, app: &AppName, env: &BTreeMap<String, Digest>, became: Became);

    /// The digests [`ApiStore::put_env`] would give for these values, without keeping them.
    fn env_digests(
        &self,
        app: &AppName,
        values: &BTreeMap<String, Secret>,
    ) -> BTreeMap<String, Digest>;
}

/// The outcome of a deploy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    /// The deploy is this rollout, new or under way already; `None` when nothing had to be done.
    Accepted(Option<RolloutId>),
    /// The deploy is certainly no rollout.
    Refused,
}

/// Why the store did not keep or give something. The texts name act, object and cause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The request is invalid.
    #[error("{0}")]
    Invalid(String),
    /// Understood, and the answer is no.
    #[error("{message}")]
    Refused {
        /// The act, its object, and why it is refused.
        message: String,
        /// What the user can do now.
        hint: &'static str,
    },
    /// The store cannot do this now.
    #[error("{0}")]
    Unavailable(String),
}
