//! The store of releases' files: contents by their digest, and the lists of files that need them.
//! Takes nothing whose digest is not the promised one, and deletes nothing that is in use.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use model::{AppName, Digest, ReleaseNo};
use thiserror::Error;

use crate::layout::Layout;
use crate::recent::Recent;
use wire::{Entry, Kind, Manifest, Refused};

/// Up to so many files are made durable one by one, more with the whole file system.
const FEW: usize = 64;

/// Why files could not be taken or laid out.
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
    Refused(#[from] Refused),
    /// Contents that the list of files names are not here.
    #[error("cannot use the list of files {manifest}: {count} contents are missing")]
    Incomplete {
        /// The list.
        manifest: Digest,
        /// How many.
        count: usize,
    },
    /// The list of files is not here, or is damaged.
    #[error(
        "cannot lay out {app} {release}: its list of files {manifest} is missing or damaged\n\
         hint: deploy it again"
    )]
    NoManifest {
        /// The app.
        app: AppName,
        /// The release.
        release: ReleaseNo,
        /// The list.
        manifest: Digest,
    },
    /// The operating system said no.
    #[error("cannot {act} {}", path.display())]
    Io {
        /// What we were doing.
        act: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// For `map_err`: what we were doing, and to what.
pub(crate) fn io_error<'a>(
    act: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> ContentError + 'a {
    move |source| ContentError::Io { act, path: path.to_path_buf(), source }
}

/// One release's turn to be laid out.
type Turn = Arc<Mutex<()>>;

/// The files of all apps' releases.
#[derive(Debug)]
pub struct Content {
    pub(crate) layout: Layout,
    recent: Mutex<Recent>,
    /// Shared by whoever reads or adds contents, exclusive for whoever deletes some.
    pub(crate) blobs_in_use: RwLock<()>,
    turns: Mutex<BTreeMap<(AppName, ReleaseNo), Turn>>,
}

impl Content {
    /// The store in a data folder. What a crash left half done is deleted, and so are contents
    /// that no list of files needs: nobody knows whether they reached the disk whole.
    ///
    /// # Errors
    /// If the folders cannot be made or read.
    pub fn open(data: &Path) -> io::Result<Self> {
        let layout = Layout::new(data);
        datadir::private_folder(&layout.blobs())?;
        datadir::passable_folder(&layout.apps())?;
        let content = Self {
            layout,
            recent: Mutex::new(Recent::new(Instant::now())),
            blobs_in_use: RwLock::default(),
            turns: Mutex::default(),
        };
        content.clear_unfinished()?;
        content.delete_unneeded_blobs()?;
        Ok(content)
    }

    /// Which of these contents, with their sizes, are not here yet. Those that are stay from now on, until
    /// the upload is done or given up.
    pub fn missing(&self, blobs: &BTreeMap<Digest, u64>) -> Vec<Digest> {
        // Nothing is deleted between the look and the note.
        let _shared = self.blobs_in_use.read().unwrap_or_else(PoisonError::into_inner);
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
        let text = |entry: &Entry| match &entry.kind {
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
        flush(&folder, &blobs).map_err(io_error("make durable", &folder))?;
        let path = self.layout.manifests(app).join(format!("{digest}.json"));
        datadir::passable_folder(&self.layout.app(app))
            .and_then(|()| datadir::private_folder(&self.layout.manifests(app)))
            .and_then(|()| datadir::write(&path, &manifest.canonical_bytes()))
            .map_err(io_error("write", &path))?;
        Ok(digest)
    }

    /// The list of files, if it is here and whole.
    pub fn manifest(&self, app: &AppName, digest: Digest) -> Option<Manifest> {
        let path = self.layout.manifests(app).join(format!("{digest}.json"));
        let manifest: Manifest = serde_json::from_slice(&datadir::read(&path).ok()?).ok()?;
        (manifest.name() == digest && manifest.validate().is_ok()).then_some(manifest)
    }

    /// Where a content lies: `ab/cdef…`.
    pub(crate) fn blob(&self, digest: Digest) -> PathBuf {
        let name = digest.to_string();
        self.layout.blobs().join(&name[..2]).join(&name[2..])
    }

    /// Its list of files is a release now: what protects it is being kept, no longer being new.
    pub(crate) fn is_released(&self, app: &AppName, digest: Digest, manifest: &Manifest) {
        self.recent().released(app, digest, manifest);
    }

    /// The right to lay out this release: several instances of it may start at once.
    pub(crate) fn turn(&self, app: &AppName, release: ReleaseNo) -> Turn {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry((app.clone(), release)).or_default())
    }

    /// Deletes an app's lists of files but these, and those that are new.
    pub(crate) fn keep_manifests(&self, app: &AppName, keep: &BTreeSet<Digest>) -> io::Result<()> {
        for digest in manifests_in(&self.layout.manifests(app))? {
            let new = self.recent().has_manifest(app, digest, Instant::now());
            if !keep.contains(&digest) && !new {
                fs::remove_file(self.layout.manifests(app).join(format!("{digest}.json")))?;
            }
        }
        Ok(())
    }

    /// Deletes what uploads have left behind: lists of files that no release of `kept` has, whether their
    /// app is known or not, and contents that nothing names. What is younger than `age` stays, since a
    /// release may just begin to be one.
    ///
    /// # Errors
    /// If folders cannot be read or files not deleted; what is left goes the next time.
    pub fn collect(
        &self,
        kept: &BTreeMap<AppName, BTreeSet<Digest>>,
        age: Duration,
    ) -> io::Result<()> {
        for app in fs::read_dir(self.layout.apps())? {
            let name = app?.file_name();
            let Some(app) = name.to_str().and_then(|name| name.parse::<AppName>().ok()) else {
                continue;
            };
            let folder = self.layout.manifests(&app);
            let mut keep = kept.get(&app).cloned().unwrap_or_default();
            for digest in manifests_in(&folder)? {
                let file = fs::symlink_metadata(folder.join(format!("{digest}.json")))?;
                // A clock that was set back makes it young.
                if file.modified()?.elapsed().unwrap_or_default() < age {
                    keep.insert(digest);
                }
            }
            self.keep_manifests(&app, &keep)?;
            if !kept.contains_key(&app) {
                // Refused by the system if there is something in them.
                for folder in [folder, self.layout.app(&app)] {
                    let _ = fs::remove_dir(folder);
                }
            }
        }
        self.delete_unneeded_blobs()
    }

    /// The apps that have something in their state folder, and where it is. A removed app's may stay.
    ///
    /// # Errors
    /// If the folders cannot be listed.
    pub fn states(&self) -> io::Result<BTreeMap<AppName, PathBuf>> {
        let mut found = BTreeMap::new();
        for app in fs::read_dir(self.layout.apps())? {
            let name = app?.file_name();
            let Some(app) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            let state = self.layout.state(&app);
            if fs::read_dir(&state).is_ok_and(|mut entries| entries.next().is_some()) {
                found.insert(app, state);
            }
        }
        Ok(found)
    }

    /// Deletes contents that no list of files needs and that are not just being uploaded.
    pub(crate) fn delete_unneeded_blobs(&self) -> io::Result<()> {
        let _alone = self.blobs_in_use.write().unwrap_or_else(PoisonError::into_inner);
        let mut needed: BTreeSet<Digest> = self.recent().blobs(Instant::now()).collect();
        for app in fs::read_dir(self.layout.apps())? {
            let Some(app) = app?.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            for digest in manifests_in(&self.layout.manifests(&app))? {
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

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Clears away what was being written or deleted when a process ended early.
    fn clear_unfinished(&self) -> io::Result<()> {
        datadir::clear_unfinished(&self.layout.blobs())?;
        for app in fs::read_dir(self.layout.apps())? {
            let name = app?.file_name();
            let Some(app) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            let folders =
                [self.layout.app(&app), self.layout.releases(&app), self.layout.manifests(&app)];
            folders.iter().try_for_each(|folder| datadir::clear_unfinished(folder))?;
        }
        Ok(())
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
        let _shared = self.content.blobs_in_use.read().unwrap_or_else(PoisonError::into_inner);
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

/// Makes files durable, and their names.
pub(crate) fn flush(folder: &Path, files: &[PathBuf]) -> io::Result<()> {
    if files.len() > FEW {
        return Ok(rustix::fs::syncfs(datadir::open(folder)?)?);
    }
    let mut folders = BTreeSet::from([folder]);
    for file in files {
        datadir::open(file)?.sync_all()?;
        folders.extend(file.parent());
    }
    folders.into_iter().try_for_each(|folder| datadir::open(folder)?.sync_all())
}

/// The digests of the lists of files in a folder.
fn manifests_in(folder: &Path) -> io::Result<Vec<Digest>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let digest = |entry: io::Result<fs::DirEntry>| {
        entry.map(|entry| entry.file_name().to_str()?.strip_suffix(".json")?.parse().ok())
    };
    entries.map(digest).filter_map(Result::transpose).collect()
}
