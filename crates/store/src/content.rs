//! The files of releases: contents by their digest, and the lists of files that need them. Stores no content
//! that does not match its digest, and deletes nothing that is in use.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use model::{AppName, Digest};
use wire::{FileEntry, Kind, Manifest};

use crate::content_error::{ContentError, io_error};
use crate::folders::{apps_in, delete_unneeded, entries, file_of, is_younger};
use crate::layout::Layout;
use crate::listed_blobs::ListedBlobs;
use crate::partial_blob::{self, Lacking, PartialBlob};
use crate::recent_uploads::RecentUploads;

/// The files of all apps' releases.
#[derive(Debug)]
pub struct Content {
    layout: Layout,
    recent: Mutex<RecentUploads>,
    listed: ListedBlobs,
    /// Held shared while contents are read or added, and exclusively while contents are deleted.
    blobs_in_use: RwLock<()>,
    /// Held while folders of apps or of their lists of files are created or deleted.
    folders: Mutex<()>,
}

/// A guard: no content is deleted while it is held.
#[derive(Debug)]
pub struct Reading<'a>(#[expect(dead_code, reason = "held for its Drop")] RwLockReadGuard<'a, ()>);

impl Content {
    /// Opens the files of a data folder. Deletes what a crash has left unfinished, and contents that no list
    /// of files needs, since it is not known whether they were written to the disk completely.
    ///
    /// # Errors
    /// If the folders cannot be created or read.
    pub(crate) fn open(data: &Path) -> io::Result<Self> {
        let layout = Layout::new(data);
        datadir::private_folder(&layout.blobs())?;
        datadir::passable_folder(&layout.apps())?;
        let content = Self {
            layout,
            recent: Mutex::new(RecentUploads::new(Instant::now())),
            listed: ListedBlobs::default(),
            blobs_in_use: RwLock::default(),
            folders: Mutex::default(),
        };
        content.clear_unfinished()?;
        content.delete_unneeded_blobs()?;
        Ok(content)
    }

    /// Returns which of these contents, given with their sizes, are not stored yet. The contents that are
    /// stored stay until the upload is finished or given up.
    pub fn missing(&self, blobs: &BTreeMap<Digest, u64>) -> Vec<Digest> {
        // No content may be deleted between the check and the note.
        let _reading = self.reading();
        let (here, missing): (Vec<_>, Vec<_>) =
            blobs.iter().partition(|(digest, size)| self.has_blob(**digest, **size));
        let here = here.into_iter().map(|(digest, _)| *digest);
        self.recent().note_blobs(here, Instant::now());
        missing.into_iter().map(|(digest, _)| *digest).collect()
    }

    /// Returns whether a content of this size is stored.
    fn has_blob(&self, digest: Digest, size: u64) -> bool {
        fs::symlink_metadata(self.blob(digest)).is_ok_and(|file| file.len() == size)
    }

    /// Starts storing a content of at most `most` bytes.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub fn begin_blob(&self, expected: Digest, most: u64) -> Result<BlobWriter<'_>, ContentError> {
        let temporary = datadir::temporary(&self.layout.blobs().join("blob"));
        let file = datadir::create_private(&temporary).map_err(io_error("create", &temporary))?;
        let hasher = Box::new(blake3::Hasher::new());
        Ok(BlobWriter { content: self, expected, most, bytes: 0, hasher, file, temporary })
    }

    /// Stores a content from a reader, and returns its size.
    ///
    /// # Errors
    /// If the content is longer than `most` bytes, does not match the digest, or cannot be read or written.
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

    /// Returns whether the app has this list of files, with all contents.
    pub fn has_manifest(&self, app: &AppName, digest: Digest) -> bool {
        let here = self.manifest(app, digest).is_some_and(|m| self.missing(&m.blobs()).is_empty());
        if here {
            self.recent().note_manifest(app, digest, Instant::now());
        }
        here
    }

    /// Returns whether `wanted` is the stored list of files without its app file.
    pub fn is_without_app_file(&self, app: &AppName, stored: Digest, wanted: &Manifest) -> bool {
        let text = |entry: &FileEntry| match &entry.kind {
            Kind::File { digest, .. } => datadir::read_to_string(&self.blob(*digest)).ok(),
            Kind::Symlink { .. } | Kind::Dir => None,
        };
        let stored = self.manifest(app, stored);
        stored.is_some_and(|stored| wanted.is_without_app_file(&stored, text))
    }

    /// Stores a list of files whose contents are all stored, with the times that the files get after the list
    /// `before`. Returns the digest that names the list. When this returns, everything is on the disk.
    ///
    /// # Errors
    /// If the list is invalid or incomplete.
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
        self.write_manifest(app, digest, &manifest)?;
        Ok(digest)
    }

    /// Stores a list of files whose contents may be missing. [`Content::lacking`] says which ones. From now on
    /// the list keeps those that are stored, complete or in part.
    ///
    /// # Errors
    /// If `bytes` are not the list with this digest, or the list is invalid.
    pub fn put_manifest_first(
        &self,
        app: &AppName,
        digest: Digest,
        bytes: &[u8],
    ) -> Result<Manifest, ContentError> {
        let manifest: Manifest = serde_json::from_slice(bytes)
            .map_err(|source| ContentError::Unreadable { manifest: digest, source })?;
        let found = manifest.name();
        if found != digest {
            return Err(ContentError::Mismatch { expected: digest, found });
        }
        manifest.validate()?;
        self.write_manifest(app, digest, &manifest)?;
        Ok(manifest)
    }

    fn write_manifest(
        &self,
        app: &AppName,
        digest: Digest,
        manifest: &Manifest,
    ) -> Result<(), ContentError> {
        let manifests = self.layout.manifests(app);
        let path = file_of(&manifests, digest);
        let _folders = self.folders();
        datadir::passable_folder(&self.layout.app(app))
            .and_then(|()| datadir::private_folder(&manifests))
            .and_then(|()| datadir::write(&path, &manifest.canonical_bytes()))
            .map_err(io_error("write", &path))
    }

    /// Returns the list of files, if it is stored and undamaged.
    pub fn manifest(&self, app: &AppName, digest: Digest) -> Option<Manifest> {
        let path = file_of(&self.layout.manifests(app), digest);
        let manifest: Manifest = serde_json::from_slice(&datadir::read(&path).ok()?).ok()?;
        (manifest.name() == digest && manifest.validate().is_ok()).then_some(manifest)
    }

    /// Returns whether a list of files names this content. Reads the list only if it was not asked about lately.
    pub fn is_listed(&self, app: &AppName, list: Digest, content: Digest) -> bool {
        let read = || Some(self.manifest(app, list)?.blobs().into_keys().collect());
        self.listed.of(app, list, read).is_some_and(|blobs| blobs.contains(&content))
    }

    /// Copies a content, as a reflink if the file system supports it. A caller that copies several contents
    /// holds [`Content::reading`].
    ///
    /// # Errors
    /// If the content is missing or damaged, or the disk is full.
    pub fn copy_blob(&self, digest: Digest, size: u64, to: &Path) -> io::Result<()> {
        reflink_copy::reflink_or_copy(self.blob(digest), to)?;
        if fs::symlink_metadata(to)?.len() == size {
            Ok(())
        } else {
            let why = format!("its stored content {digest} is damaged");
            Err(io::Error::new(io::ErrorKind::InvalidData, why))
        }
    }

    /// Opens a content for reading. It can be read to its end even if it is deleted meanwhile.
    ///
    /// # Errors
    /// If the content is not stored, or cannot be opened.
    pub fn open_blob(&self, digest: Digest) -> io::Result<File> {
        datadir::open(&self.blob(digest))
    }

    /// Returns the contents of a list of files that are not stored completely.
    pub fn lacking(&self, manifest: &Manifest) -> BTreeMap<Digest, Lacking> {
        let lacking = |(digest, size)| {
            let fetched = partial_blob::length(&self.part_path(digest)).min(size);
            (!self.has_blob(digest, size)).then_some((digest, Lacking { size, fetched }))
        };
        manifest.blobs().into_iter().filter_map(lacking).collect()
    }

    /// Opens a content of `size` bytes to fetch it, or the rest of it. Waits while it is open elsewhere. Returns
    /// `None` if the content is stored by now.
    ///
    /// # Errors
    /// If the file cannot be created or read.
    pub fn resume_blob(
        &self,
        expected: Digest,
        size: u64,
    ) -> Result<Option<PartialBlob>, ContentError> {
        let folder = self.layout.parts();
        datadir::private_folder(&folder).map_err(io_error("create", &folder))?;
        let part = PartialBlob::open(&self.part_path(expected), expected, size)?;
        if self.has_blob(expected, size) {
            part.discard()?;
            return Ok(None);
        }
        Ok(Some(part))
    }

    /// Stores a content that was fetched completely. When this returns, the content is on the disk.
    ///
    /// # Errors
    /// If the content cannot be stored, or does not match its digest. In the second case nothing is left of it.
    pub fn store_blob(&self, part: PartialBlob) -> Result<(), ContentError> {
        let path = self.blob(part.expected());
        let part = part.verified()?;
        let _reading = self.reading();
        path.parent()
            .map_or(Ok(()), datadir::private_folder)
            .and_then(|()| part.rename(&path))
            .map_err(io_error("store", &path))
    }

    fn part_path(&self, digest: Digest) -> PathBuf {
        self.layout.parts().join(digest.to_string())
    }

    /// Returns a guard that keeps all contents until it is dropped.
    pub fn reading(&self) -> Reading<'_> {
        Reading(self.blobs_in_use.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the path of a content: `ab/cdef…`.
    fn blob(&self, digest: Digest) -> PathBuf {
        let name = digest.to_string();
        self.layout.blobs().join(&name[..2]).join(&name[2..])
    }

    /// Notes that a release has this list of files. From now on the release protects the list, and no longer
    /// the fact that the list is new.
    pub fn is_released(&self, app: &AppName, digest: Digest, manifest: &Manifest) {
        self.recent().released(app, digest, manifest);
    }

    /// Deletes all lists of files of an app except those in `keep` and new ones.
    ///
    /// # Errors
    /// If the folder cannot be read or a file cannot be deleted.
    pub fn keep_manifests(&self, app: &AppName, keep: &BTreeSet<Digest>) -> io::Result<()> {
        let is_kept = |digest| keep.contains(&digest);
        self.delete_manifests(app, |digest| Ok(is_kept(digest)))
    }

    /// Deletes lists of files that are neither in use nor younger than `age`. Deletes the folder of an app
    /// that uses none, if the folder is empty.
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

    /// Deletes an app's folder if it is empty, that is, if it has neither remaining state nor files of a new
    /// deploy.
    pub fn forget_folder(&self, app: &AppName) {
        let _folders = self.folders();
        // The system refuses to remove a folder that is not empty.
        let _ = fs::remove_dir(self.layout.app(app));
    }

    /// Returns the apps that have a folder.
    pub(crate) fn apps(&self) -> io::Result<BTreeSet<AppName>> {
        apps_in(&self.layout.apps())
    }

    /// Deletes contents that no list of files needs and that were not uploaded recently, complete or in part.
    ///
    /// # Errors
    /// If folders cannot be read or files cannot be deleted.
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
            // The system refuses to remove a folder that is not empty.
            let _ = fs::remove_dir(folder.path());
        }
        partial_blob::delete_unneeded(&self.layout.parts(), &needed)
    }

    fn folders(&self) -> MutexGuard<'_, ()> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recent(&self) -> MutexGuard<'_, RecentUploads> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Deletes files that were being written when a process ended early.
    fn clear_unfinished(&self) -> io::Result<()> {
        datadir::clear_unfinished(&self.layout.blobs())?;
        let mut apps = self.apps()?.into_iter();
        apps.try_for_each(|app| datadir::clear_unfinished(&self.layout.manifests(&app)))
    }
}

/// A content that is being stored. If it is dropped before [`BlobWriter::finish`], nothing is left of it.
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
    /// Adds the next bytes.
    ///
    /// # Errors
    /// If there are too many bytes, or they cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), ContentError> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.most {
            return Err(ContentError::TooLong { expected: self.expected, bytes: self.most });
        }
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(io_error("write", &self.temporary))
    }

    /// Stores the content if it matches the digest, and returns its size.
    ///
    /// # Errors
    /// If the content does not match, or cannot be stored.
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
        // If the content was stored, the temporary file does not exist any more.
        let _ = fs::remove_file(&self.temporary);
    }
}
