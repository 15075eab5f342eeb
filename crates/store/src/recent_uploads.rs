//! The recent uploads that are not part of a release yet and must not be deleted. Knows no files.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use model::{AppName, Digest};
use wire::Manifest;

/// The time for which an upload that is not part of a release is kept.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// The least time between two searches for expired entries. There may be many entries, and every upload would
/// search them.
const EVERY: Duration = Duration::from_secs(60);

/// The stored contents and lists of files that were uploaded or asked for recently, each with the time. There
/// are no more entries than files on the disk.
#[derive(Debug)]
pub(crate) struct RecentUploads {
    blobs: BTreeMap<Digest, Instant>,
    manifests: BTreeMap<(AppName, Digest), Instant>,
    looked: Instant,
}

impl RecentUploads {
    pub(crate) fn new(now: Instant) -> Self {
        Self { blobs: BTreeMap::new(), manifests: BTreeMap::new(), looked: now }
    }

    /// Notes that these contents are stored and wanted.
    pub(crate) fn note_blobs(&mut self, blobs: impl IntoIterator<Item = Digest>, now: Instant) {
        self.forget(now);
        self.blobs.extend(blobs.into_iter().map(|digest| (digest, now)));
    }

    /// Notes that this list of files is stored and wanted.
    pub(crate) fn note_manifest(&mut self, app: &AppName, digest: Digest, now: Instant) {
        self.forget(now);
        self.manifests.insert((app.clone(), digest), now);
    }

    /// Notes that the list of files is part of a release. The release protects it from now on, so its entry
    /// is removed.
    pub(crate) fn released(&mut self, app: &AppName, digest: Digest, manifest: &Manifest) {
        self.manifests.remove(&(app.clone(), digest));
        for blob in manifest.blobs().keys() {
            self.blobs.remove(blob);
        }
    }

    pub(crate) fn has_manifest(&self, app: &AppName, digest: Digest, now: Instant) -> bool {
        let at = self.manifests.get(&(app.clone(), digest));
        at.is_some_and(|at| now.duration_since(*at) < PATIENCE)
    }

    pub(crate) fn blobs(&self, now: Instant) -> impl Iterator<Item = Digest> {
        let recent = move |(_, at): &(&Digest, &Instant)| now.duration_since(**at) < PATIENCE;
        self.blobs.iter().filter(recent).map(|(digest, _)| *digest)
    }

    /// Removes expired entries, at most once every [`EVERY`].
    fn forget(&mut self, now: Instant) {
        if now.duration_since(self.looked) < EVERY {
            return;
        }
        self.looked = now;
        self.blobs.retain(|_, at| now.duration_since(*at) < PATIENCE);
        self.manifests.retain(|_, at| now.duration_since(*at) < PATIENCE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_kept_for_a_while_and_noting_much_of_it_is_quick() {
        let start = Instant::now();
        let mut recent = RecentUploads::new(start);
        let digest = |n: u32| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            Digest::from_bytes(bytes)
        };
        let app: AppName = "web".parse().unwrap();
        recent.note_manifest(&app, digest(1), start);
        // If every upload searched all entries, this would take five thousand million steps.
        for n in 0..100_000 {
            recent.note_blobs([digest(n)], start);
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
        assert_eq!(recent.blobs(start).count(), 100_000);
        let later = start + PATIENCE;
        assert!(recent.has_manifest(&app, digest(1), start));
        assert!(!recent.has_manifest(&app, digest(1), later));
        assert_eq!(recent.blobs(later).count(), 0);
        recent.note_blobs([digest(7)], later);
        assert_eq!(recent.blobs.len(), 1, "nothing that is over stays in memory");
        recent.released(&app, digest(1), &Manifest::default());
        assert!(recent.manifests.is_empty());
    }
}
