//! Files of releases: contents by their digest, and the lists of files that need them. Takes nothing
//! whose digest is not the promised one, and deletes nothing that is in use.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use model::{AppName, Digest};
use thiserror::Error;
use wire::{FileEntry, InvalidEntry, Kind, Manifest};

use crate::folders::{apps_in, delete_unneeded, entries, file_of, is_younger};
use crate::layout::Layout;
use crate::recent_uploads::RecentUploads;

/// Why files could not be taken.
#[derive(Debug, Error)]
pub enum ContentError {
    /// The content is not what was promised.
    #[error("cannot store content {expected}: what was sent has the digest {found}")]
    Mismatch {
        /// Promised.
        expected: Digest,
        /// Sent.
        found: Digest,
    },
    /// More than was promised.
    #[error("cannot store content {expected}: it has more than {bytes} bytes")]
    TooLong {
        /// Promised.
        expected: Digest,
        /// The bound.
        bytes: u64,
    },
    /// The list of files is not acceptable.
    #[error("cannot accept the list of files")]
    Refused(#[from] InvalidEntry),
    /// Contents that the list of files names are not here.
    #[error("cannot use the list of files {manifest}: {count} contents are missing")]
    Incomplete {
        /// The list.
        manifest: Digest,
        /// How many.
        count: usize,
    },
    /// The operating system said no.
    #[error("cannot {act} {}", path.display())]
    Io {
        /// The act that failed.
        act: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// For `map_err`: what we were doing, and to what.
fn io_error<'a>(act: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> ContentError + 'a {
    move |source| ContentError::Io { act, path: path.to_path_buf(), source }
}

/// The files of all apps' releases.
#[derive(Debug)]
pub struct Content {
    layout: Layout,
    recent: Mutex<RecentUploads>,
    /// Shared by whoever reads or adds contents, exclusive for whoever deletes some.
    blobs_in_use: RwLock<()>,
    /// Held by whoever makes or deletes folders of apps and of their lists of files.
    folders: Mutex<()>,
}

/// While this is held, no content is deleted.
#[derive(Debug)]
pub struct Reading<'a>(#[expect(dead_code, reason = "held for its Drop")] RwLockReadGuard<'a, ()>);

impl Content {
    /// The store in a data folder. What a crash left half done is deleted, and so are contents
    /// that no list of files needs: nobody knows whether they reached the disk whole.
    ///
    /// # Errors
    /// If the folders cannot be made or read.
    pub(crate) fn open(data: &Path) -> io::Result<Self> {
        let layout = Layout::new(data);
        datadir::private_folder(&layout.blobs())?;
        datadir::passable_folder(&layout.apps())?;
        let content = Self {
            layout,
            recent: Mutex::new(RecentUploads::new(Instant::now())),
            blobs_in_use: RwLock::default(),
            folders: Mutex::default(),
        };
        content.clear_unfinished()?;
        content.delete_unneeded_blobs()?;
        Ok(content)
    }

    /// Returns which of these contents, with their sizes, are not stored yet. Those that are stored stay, until
    /// the upload is done or given up.
    pub fn missing(&self, blobs: &BTreeMap<Digest, u64>) -> Vec<Digest> {
        // Nothing is deleted between the look and the note.
        let _reading = self.reading();
        let is_here = |digest: &Digest, size: u64| {
            fs::symlink_metadata(self.blob(*digest)).is_ok_and(|file| file.len() == size)
        };
        let (here, missing): (Vec<_>, Vec<_>) =
            blobs.iter().partition(|(digest, size)| is_here(digest, **size));
        let here = here.into_iter().map(|(digest, _)| *digest);
        self.recent().note_blobs(here, Instant::now());
        missing.into_iter().map(|(digest, _)| *digest).collect()
    }

    /// Begins to store a content of at most `most` bytes.
    ///
    /// # Errors
    /// If there is no room.
    pub fn begin_blob(&self, expected: Digest, most: u64) -> Result<BlobWriter<'_>, ContentError> {
        let temporary = datadir::temporary(&self.layout.blobs().join("blob"));
        let file = datadir::create_private(&temporary).map_err(io_error("create", &temporary))?;
        let hasher = Box::new(blake3::Hasher::new());
        Ok(BlobWriter { content: self, expected, most, bytes: 0, hasher, file, temporary })
    }

    /// Stores a content from a reader; its size.
    ///
    /// # Errors
    /// If it is longer than `most` bytes, is not what was expected, or cannot be read or written.
    pub fn put_blob(
        &self,
        mut reader: impl Read,
        expected: Digest,
        most: u64,
    ) -> Result<u64, ContentError> {
        let mut writer = self.begin_blob(expected, most)?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return writer.finish(),
                Ok(length) => writer.write(&buffer[..length])?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(io_error("receive", &writer.temporary)(e)),
            }
        }
    }

    /// Whether the app has this list of files, with all contents.
    pub fn has_manifest(&self, app: &AppName, digest: Digest) -> bool {
        let here = self.manifest(app, digest).is_some_and(|m| self.missing(&m.blobs()).is_empty());
        if here {
            self.recent().note_manifest(app, digest, Instant::now());
        }
        here
    }

    /// Whether `wanted` is the stored list of files without its app file.
    pub fn is_without_app_file(&self, app: &AppName, stored: Digest, wanted: &Manifest) -> bool {
        let text = |entry: &FileEntry| match &entry.kind {
            Kind::File { digest, .. } => datadir::read_to_string(&self.blob(*digest)).ok(),
            Kind::Symlink { .. } | Kind::Dir => None,
        };
        let stored = self.manifest(app, stored);
        stored.is_some_and(|stored| wanted.is_without_app_file(&stored, text))
    }

    /// Keeps a list of files all of whose contents are here, with the times that they get after the
    /// list `before`; its name. When this returns, all of it is on the disk.
    ///
    /// # Errors
    /// If it is not acceptable or not complete.
    pub fn put_manifest(
        &self,
        app: &AppName,
        manifest: &Manifest,
        before: Option<Digest>,
    ) -> Result<Digest, ContentError> {
        manifest.validate()?;
        let before = before.and_then(|before| self.manifest(app, before));
        let manifest = manifest.clone().timed_after(before.as_ref());
        let digest = manifest.name();
        let missing = self.missing(&manifest.blobs()).len();
        if missing > 0 {
            return Err(ContentError::Incomplete { manifest: digest, count: missing });
        }
        self.recent().note_manifest(app, digest, Instant::now());
        let blobs: Vec<PathBuf> =
            manifest.blobs().into_keys().map(|blob| self.blob(blob)).collect();
        let folder = self.layout.blobs();
        datadir::sync_files(&folder, &blobs).map_err(io_error("make durable", &folder))?;
        let manifests = self.layout.manifests(app);
        let path = file_of(&manifests, digest);
        let _folders = self.folders();
        datadir::passable_folder(&self.layout.app(app))
            .and_then(|()| datadir::private_folder(&manifests))
            .and_then(|()| datadir::write(&path, &manifest.canonical_bytes()))
            .map_err(io_error("write", &path))?;
        Ok(digest)
    }

    /// The list of files, if it is here and whole.
    pub fn manifest(&self, app: &AppName, digest: Digest) -> Option<Manifest> {
        let path = file_of(&self.layout.manifests(app), digest);
        let manifest: Manifest = serde_json::from_slice(&datadir::read(&path).ok()?).ok()?;
        (manifest.name() == digest && manifest.validate().is_ok()).then_some(manifest)
    }

    /// Copies a content, as a reflink where the file system can. Whoever copies several holds
    /// [`Content::reading`].
    ///
    /// # Errors
    /// If the content is not here or is damaged, or the disk is full.
    pub fn copy_blob(&self, digest: Digest, size: u64, to: &Path) -> io::Result<()> {
        reflink_copy::reflink_or_copy(self.blob(digest), to)?;
        if fs::symlink_metadata(to)?.len() == size {
            Ok(())
        } else {
            let why = format!("its stored content {digest} is damaged");
            Err(io::Error::new(io::ErrorKind::InvalidData, why))
        }
    }

    /// Keeps all contents until the result is dropped.
    pub fn reading(&self) -> Reading<'_> {
        Reading(self.blobs_in_use.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where a content lies: `ab/cdef…`.
    fn blob(&self, digest: Digest) -> PathBuf {
        let name = digest.to_string();
        self.layout.blobs().join(&name[..2]).join(&name[2..])
    }

    /// A release has this list of files now: the release protects it from now on, and its being new no
    /// longer does.
    pub fn is_released(&self, app: &AppName, digest: Digest, manifest: &Manifest) {
        self.recent().released(app, digest, manifest);
    }

    /// Deletes an app's lists of files but these, and those that are new.
    ///
    /// # Errors
    /// If the folder cannot be read or a file not deleted.
    pub fn keep_manifests(&self, app: &AppName, keep: &BTreeSet<Digest>) -> io::Result<()> {
        let is_kept = |digest| keep.contains(&digest);
        self.delete_manifests(app, |digest| Ok(is_kept(digest)))
    }

    /// Deletes lists of files that are not in use and not younger than `age`. The folder of an app that
    /// uses none goes if it is empty.
    pub(crate) fn collect(
        &self,
        app: &AppName,
        in_use: &BTreeSet<Digest>,
        age: Duration,
    ) -> io::Result<()> {
        let folder = self.layout.manifests(app);
        let is_needed = |digest| Ok(in_use.contains(&digest) || is_younger(&folder, digest, age)?);
        self.delete_manifests(app, is_needed)?;
        if in_use.is_empty() {
            self.forget_folder(app);
        }
        Ok(())
    }

    fn delete_manifests(
        &self,
        app: &AppName,
        is_needed: impl Fn(Digest) -> io::Result<bool>,
    ) -> io::Result<()> {
        let _folders = self.folders();
        let is_new = |digest| self.recent().has_manifest(app, digest, Instant::now());
        delete_unneeded(&self.layout.manifests(app), |digest| {
            Ok(is_new(digest) || is_needed(digest)?)
        })
    }

    /// Deletes an app's folder if nothing is in it: neither state that stays, nor a new deploy.
    pub fn forget_folder(&self, app: &AppName) {
        let _folders = self.folders();
        // Refused by the system if it is not empty.
        let _ = fs::remove_dir(self.layout.app(app));
    }

    /// The apps that have a folder.
    pub(crate) fn apps(&self) -> io::Result<BTreeSet<AppName>> {
        apps_in(&self.layout.apps())
    }

    /// Deletes contents that no list of files needs and that are not just being uploaded.
    ///
    /// # Errors
    /// If folders cannot be read or files not deleted.
    pub fn delete_unneeded_blobs(&self) -> io::Result<()> {
        let _alone = self.blobs_in_use.write().unwrap_or_else(PoisonError::into_inner);
        let mut needed: BTreeSet<Digest> = self.recent().blobs(Instant::now()).collect();
        for app in self.apps()? {
            for digest in entries(&self.layout.manifests(&app))? {
                let manifest = self.manifest(&app, digest);
                needed.extend(manifest.iter().flat_map(|m| m.blobs().into_keys()));
            }
        }
        for folder in fs::read_dir(self.layout.blobs())? {
            let folder = folder?;
            let name = folder.file_name();
            let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
            for blob in fs::read_dir(folder.path())? {
                let blob = blob?;
                let rest = blob.file_name();
                let digest = rest.to_str().and_then(|rest| format!("{name}{rest}").parse().ok());
                if digest.is_some_and(|digest| !needed.contains(&digest)) {
                    fs::remove_file(blob.path())?;
                }
            }
            // Refused by the system if it is not empty.
            let _ = fs::remove_dir(folder.path());
        }
        Ok(())
    }

    fn folders(&self) -> MutexGuard<'_, ()> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recent(&self) -> MutexGuard<'_, RecentUploads> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Clears away what was being written when a process ended early.
    fn clear_unfinished(&self) -> io::Result<()> {
        datadir::clear_unfinished(&self.layout.blobs())?;
        let mut apps = self.apps()?.into_iter();
        apps.try_for_each(|app| datadir::clear_unfinished(&self.layout.manifests(&app)))
    }
}

/// A content on its way in. Dropped before [`BlobWriter::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct BlobWriter<'a> {
    content: &'a Content,
    expected: Digest,
    most: u64,
    bytes: u64,
    hasher: Box<blake3::Hasher>,
    file: File,
    temporary: PathBuf,
}

impl BlobWriter<'_> {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// If they are too many, or cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), ContentError> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.most {
            return Err(ContentError::TooLong { expected: self.expected, bytes: self.most });
        }
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(io_error("write", &self.temporary))
    }

    /// Stores what was taken, if it is what was expected; its size.
    ///
    /// # Errors
    /// If it is not, or cannot be stored.
    pub fn finish(self) -> Result<u64, ContentError> {
        let found = Digest::from_bytes(*self.hasher.finalize().as_bytes());
        if found != self.expected {
            return Err(ContentError::Mismatch { expected: self.expected, found });
        }
        let path = self.content.blob(self.expected);
        let _reading = self.content.reading();
        self.content.recent().note_blobs([self.expected], Instant::now());
        path.parent()
            .map_or(Ok(()), datadir::private_folder)
            .and_then(|()| fs::rename(&self.temporary, &path))
            .map_err(io_error("store", &path))?;
        Ok(self.bytes)
    }
}

impl Drop for BlobWriter<'_> {
    fn drop(&mut self) {
        // Gone already if it was stored.
        let _ = fs::remove_file(&self.temporary);
    }
}
