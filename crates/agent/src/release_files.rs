//! Lays out a release's files in its folder: builds the folder under another name, and renames it when it is
//! complete. Copies or reflinks files and never hard-links them, so that an app that writes into its folder
//! changes no other folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use model::{AppName, Digest, ReleaseNo};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use store::ReleaseStore;
use thiserror::Error;
use wire::{Kind, Manifest};

use crate::identity::Access;
use crate::layout::InstanceLayout;

/// The reason why files could not be laid out.
#[derive(Debug, Error)]
pub enum ReleaseFilesError {
    /// The list of files is not in the store, or is damaged.
    #[error(
        "cannot lay out {app} {release}: its list of files {manifest} is missing or damaged\n\
         hint: deploy it again"
    )]
    NoManifest {
        /// The app.
        app: AppName,
        /// The release.
        release: ReleaseNo,
        /// The digest of the list.
        manifest: Digest,
    },
    /// The operating system refused an operation.
    #[error("cannot {act} {}", path.display())]
    Io {
        /// The act that failed.
        act: &'static str,
        /// The object of the act.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Returns a closure for `map_err` that adds the act and its object.
fn io_error<'a>(
    act: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> ReleaseFilesError + 'a {
    move |source| ReleaseFilesError::Io { act, path: path.to_path_buf(), source }
}

/// The lock for laying out one release.
type Turn = Arc<Mutex<()>>;

/// The folders of all apps' releases.
#[derive(Debug)]
pub struct ReleaseFiles {
    layout: InstanceLayout,
    store: Arc<ReleaseStore>,
    turns: Mutex<BTreeMap<(AppName, ReleaseNo), Turn>>,
}

impl ReleaseFiles {
    /// Opens the folders in a data folder. Their files come from `store`. Deletes folders that a crash left
    /// half laid out or half deleted.
    ///
    /// # Errors
    /// If the folders cannot be read.
    pub fn open(data: &Path, store: Arc<ReleaseStore>) -> io::Result<Self> {
        let layout = InstanceLayout::new(data);
        for app in store::apps_in(&layout.apps())? {
            for folder in [layout.app(&app), layout.releases(&app)] {
                datadir::clear_unfinished(&folder)?;
            }
        }
        Ok(Self { layout, store, turns: Mutex::default() })
    }

    /// Returns the folder of a release, and lays it out first if necessary, with the owner and modes of
    /// `access`. The folder of a release without content is empty.
    ///
    /// # Errors
    /// If the list of files or a content is missing, or the disk is full.
    pub fn lay_out(
        &self,
        app: &AppName,
        release: ReleaseNo,
        content: Option<Digest>,
        access: Access,
    ) -> Result<PathBuf, ReleaseFilesError> {
        let turn = self.turn(app, release);
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = self.layout.release(app, release);
        let wanted = name_of(content);
        if is_laid_out(&folder, &wanted) {
            return Ok(folder);
        }
        let stored = &self.store.content;
        let manifest = match content {
            None => Manifest::default(),
            Some(digest) => stored.manifest(app, digest).ok_or_else(|| {
                ReleaseFilesError::NoManifest { app: app.clone(), release, manifest: digest }
            })?,
        };
        datadir::passable_folder(&self.layout.app(app))
            .and_then(|()| datadir::passable_folder(&self.layout.releases(app)))
            .map_err(io_error("create the folders above", &folder))?;
        let _reading = stored.reading();
        let building = datadir::temporary(&folder);
        let built = self.build(&building, &manifest, access).and_then(|()| {
            put_in_place(&building, &folder, &wanted).map_err(io_error("name", &folder))
        });
        if built.is_err() {
            let _ = fs::remove_dir_all(&building);
        }
        built?;
        if let Some(digest) = content {
            stored.is_released(app, digest, &manifest);
        }
        Ok(folder)
    }

    /// Returns whether the folder of a release has this content.
    pub(crate) fn are_laid_out(
        &self,
        app: &AppName,
        release: ReleaseNo,
        content: Option<Digest>,
    ) -> bool {
        is_laid_out(&self.layout.release(app, release), &name_of(content))
    }

    /// Returns the lock for laying out this release: several instances of it may start at once.
    fn turn(&self, app: &AppName, release: ReleaseNo) -> Turn {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry((app.clone(), release)).or_default())
    }

    fn build(
        &self,
        folder: &Path,
        manifest: &Manifest,
        access: Access,
    ) -> Result<(), ReleaseFilesError> {
        datadir::remove_folder(folder).map_err(io_error("clear", folder))?;
        datadir::private_folder(folder).map_err(io_error("create", folder))?;
        let mut files = Vec::new();
        let mut folders = BTreeSet::from([folder.to_path_buf()]);
        for entry in &manifest.entries {
            let path = folder.join(&entry.path);
            let parent = path.parent().unwrap_or(folder);
            datadir::private_folder(parent).map_err(io_error("create", parent))?;
            let above = path.ancestors().skip(1).take_while(|above| *above != folder);
            folders.extend(above.map(Path::to_path_buf));
            match &entry.kind {
                Kind::Dir => {
                    datadir::private_folder(&path).map_err(io_error("create", &path))?;
                    folders.insert(path);
                }
                Kind::Symlink { target } => {
                    symlink(target, &path).map_err(io_error("link", &path))?;
                }
                Kind::File { digest, size, executable } => {
                    let copied = self.store.content.copy_blob(*digest, *size, &path);
                    copied.map_err(io_error("copy", &path))?;
                    give(&path, access.file(*executable), access)?;
                    if let Some(seconds) = entry.modified {
                        set_time(&path, seconds).map_err(io_error("set the time of", &path))?;
                    }
                    files.push(path);
                }
            }
        }
        // The innermost folder comes first: once a folder has another owner, only root can enter it.
        for path in folders.iter().rev() {
            give(path, access.folder(), access)?;
        }
        datadir::sync_files(folder, &files).map_err(io_error("make durable", folder))
    }
}

/// Returns the text by which a release's folder names its content.
fn name_of(content: Option<Digest>) -> String {
    content.map_or_else(|| "none".to_owned(), |digest| digest.to_string())
}

fn is_laid_out(folder: &Path, wanted: &str) -> bool {
    datadir::is_there(folder)
        && datadir::read_to_string(&label_of(folder)).is_ok_and(|found| found == wanted)
}

/// Moves the folder to its final name. The label is written first: a folder under its final name always has
/// one.
fn put_in_place(building: &Path, folder: &Path, wanted: &str) -> io::Result<()> {
    let label = label_of(folder);
    if datadir::read_to_string(&label).is_ok_and(|found| found != wanted) {
        // A removed app of the same name has left this folder; no process runs from it.
        datadir::remove_folder(folder)?;
    }
    datadir::write(&label, wanted.as_bytes())?;
    match fs::rename(building, folder) {
        // Another thread has laid out the same folder in the meantime.
        Err(_) if is_laid_out(folder, wanted) => fs::remove_dir_all(building),
        Err(e) => Err(e),
        Ok(()) => datadir::sync_parent(folder),
    }
}

/// Returns the file that names the content of a release's folder.
pub(crate) fn label_of(folder: &Path) -> PathBuf {
    folder.with_extension("content")
}

/// Sets the modification time of a file.
fn set_time(path: &Path, seconds: u64) -> io::Result<()> {
    let unchanged = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
    let changed = Timespec { tv_sec: i64::try_from(seconds).unwrap_or(i64::MAX), tv_nsec: 0 };
    let times = Timestamps { last_access: unchanged, last_modification: changed };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Sets the owner and the mode, which depend neither on the umask nor on the file that was copied.
fn give(path: &Path, mode: u32, access: Access) -> Result<(), ReleaseFilesError> {
    let (uid, gid) = access.file_owner();
    if uid.is_some() || gid.is_some() {
        lchown(path, uid, gid).map_err(io_error("set the owner of", path))?;
    }
    datadir::set_mode(path, mode).map_err(io_error("set the mode of", path))
}
