//! What the API sees of the host's files, secrets and output.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use agent::content::ContentError;
use agent::logs;
use model::{AppName, Digest, InstanceId};
use server::{Became, LogCursor, LogPage, LogStart, Store, StoreError};
use wire::{Blob, MOST_BYTES, Manifest, Secret};

/// The last lines of all instances of an app have at most so many bytes together.
const TAIL_BYTES: usize = 16 << 20;

/// The data folder of this host.
pub struct Shelf {
    pub agent: Arc<agent::Agent>,
    pub data: PathBuf,
}

impl Store for Shelf {
    fn missing(&self, blobs: &[Blob]) -> Result<Vec<Digest>, StoreError> {
        let blobs = blobs.iter().map(|blob| (blob.digest, blob.size)).collect();
        Ok(self.agent.content().missing(&blobs))
    }

    fn put_blob(&self, digest: Digest, content: &mut dyn Read) -> Result<(), StoreError> {
        let kept = self.agent.content().put_blob(content, digest, MOST_BYTES);
        kept.map(drop).map_err(refused)
    }

    fn put_manifest(
        &self,
        app: &AppName,
        manifest: &Manifest,
        before: Option<Digest>,
    ) -> Result<Digest, StoreError> {
        self.agent.content().put_manifest(app, manifest, before).map_err(refused)
    }

    fn manifest(&self, app: &AppName, digest: Digest) -> Option<Manifest> {
        self.agent.content().manifest(app, digest)
    }

    fn is_without_app_file(&self, app: &AppName, stored: Digest, wanted: &Manifest) -> bool {
        self.agent.content().is_without_app_file(app, stored, wanted)
    }

    fn put_env(
        &self,
        app: &AppName,
        values: BTreeMap<String, Secret>,
    ) -> Result<BTreeMap<String, Digest>, StoreError> {
        let exposed =
            values.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
        let kept = self.agent.secrets().put(app, &exposed);
        kept.map_err(|error| StoreError::Unavailable(crate::errors::told(&error)))
    }

    fn env_is(&self, app: &AppName, env: &BTreeMap<String, Digest>, became: Became) {
        match became {
            Became::Accepted(rollout) => self.agent.secrets().accepted(app, env, rollout),
            Became::Refused => self.agent.secrets().refused(app, env),
        }
    }

    fn states(&self) -> Result<BTreeMap<AppName, PathBuf>, StoreError> {
        self.agent.content().states().map_err(|error| {
            let data = self.data.display();
            StoreError::Unavailable(format!("cannot list the apps' state in {data}: {error}"))
        })
    }

    fn env_digests(
        &self,
        app: &AppName,
        values: &BTreeMap<String, Secret>,
    ) -> BTreeMap<String, Digest> {
        let secrets = self.agent.secrets();
        let digest = |(name, value): (&String, &Secret)| {
            (name.clone(), secrets.digest(app, name, value.expose()))
        };
        values.iter().map(digest).collect()
    }

    fn logs(
        &self,
        app: &AppName,
        instance: Option<&InstanceId>,
        start: &LogStart,
    ) -> Result<LogPage, StoreError> {
        let unreadable = |error: std::io::Error| {
            StoreError::Unavailable(format!("cannot read the output of {app}: {error}"))
        };
        let of = match instance {
            Some(instance) => vec![instance.clone()],
            None => logs::instances(&self.data, app).map_err(unreadable)?,
        };
        let most = TAIL_BYTES / of.len().max(1);
        let mut page = LogPage::default();
        for id in of {
            let (lines, next) = match start {
                LogStart::Last(count) => {
                    let place = logs::end(&self.data, &id).map_err(unreadable)?;
                    let count = usize::try_from(*count).unwrap_or(usize::MAX);
                    (logs::tail(&self.data, &id, count, most).map_err(unreadable)?, place)
                }
                LogStart::After(LogCursor(places)) => {
                    let place = places.get(&id).copied().unwrap_or(0);
                    logs::page(&self.data, &id, place).map_err(unreadable)?
                }
            };
            page.lines.extend(lines);
            page.next.0.insert(id, next);
        }
        Ok(page)
    }
}

fn refused(error: ContentError) -> StoreError {
    match error {
        ContentError::Io { .. } => StoreError::Unavailable(crate::errors::told(&error)),
        ContentError::Mismatch { .. }
        | ContentError::TooLong { .. }
        | ContentError::Refused(_)
        | ContentError::Incomplete { .. }
        | ContentError::NoManifest { .. } => StoreError::Invalid(crate::errors::told(&error)),
    }
}
