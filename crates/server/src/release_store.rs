//! The store of releases behind the API's interface: translates calls and errors.

use std::collections::BTreeMap;
use std::io::Read;

use model::{AppName, Digest, in_full};
use store::{ContentError, ReleaseStore};
use wire::{Blob, MOST_BYTES, Manifest, Secret};

use crate::store::{ApiStore, Became, StoreError};

impl ApiStore for ReleaseStore {
    fn missing(&self, blobs: &[Blob]) -> Result<Vec<Digest>, StoreError> {
        let blobs = blobs.iter().map(|blob| (blob.digest, blob.size)).collect();
        Ok(self.content.missing(&blobs))
    }

    fn put_blob(&self, digest: Digest, content: &mut dyn Read) -> Result<(), StoreError> {
        let kept = self.content.put_blob(content, digest, MOST_BYTES);
        kept.map(drop).map_err(refused)
    }

    fn put_manifest(
        &self,
        app: &AppName,
        manifest: &Manifest,
        before: Option<Digest>,
    ) -> Result<Digest, StoreError> {
        self.content.put_manifest(app, manifest, before).map_err(refused)
    }

    fn manifest(&self, app: &AppName, digest: Digest) -> Option<Manifest> {
        self.content.manifest(app, digest)
    }

    fn is_without_app_file(&self, app: &AppName, stored: Digest, wanted: &Manifest) -> bool {
        self.content.is_without_app_file(app, stored, wanted)
    }

    fn put_env(
        &self,
        app: &AppName,
        values: BTreeMap<String, Secret>,
    ) -> Result<BTreeMap<String, Digest>, StoreError> {
        let exposed =
            values.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
        let kept = self.secrets.put(app, &exposed);
        kept.map_err(|error| StoreError::Unavailable(in_full(&error)))
    }

    fn env_is(&self, app: &AppName, env: &BTreeMap<String, Digest>, became: Became) {
        match became {
            Became::Accepted(rollout) => self.secrets.accepted(app, env, rollout),
            Became::Refused => self.secrets.refused(app, env),
        }
    }

    fn env_digests(
        &self,
        app: &AppName,
        values: &BTreeMap<String, Secret>,
    ) -> BTreeMap<String, Digest> {
        let digest = |(name, value): (&String, &Secret)| {
            (name.clone(), self.secrets.digest(app, name, value.expose()))
        };
        values.iter().map(digest).collect()
    }
}

fn refused(error: ContentError) -> StoreError {
    let text = in_full(&error);
    match error {
        ContentError::Io { .. } => StoreError::Unavailable(text),
        ContentError::Mismatch { .. }
        | ContentError::TooLong { .. }
        | ContentError::Refused(_)
        | ContentError::Unreadable { .. }
        | ContentError::Incomplete { .. } => StoreError::Invalid(text),
    }
}
