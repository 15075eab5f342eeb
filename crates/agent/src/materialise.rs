//! Laying a release's files out in its folder: built under another name, renamed when it is whole.
//! Copies or reflinks, never hard-links: an app that writes into its folder changes no other's.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use model::{AppName, Digest, ReleaseNo};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};

use crate::content::{Content, ContentError, flush, io_error};
use crate::identity::Access;
use wire::{Kind, Manifest};

impl Content {
    /// The folder of a release, laid out if it is not yet, with the owner and modes of `access`. Without
    /// content the folder is empty.
    ///
    /// # Errors
    /// If the list of files or a content is missing, or the disk is full.
    pub fn materialise(
        &self,
        app: &AppName,
        release: ReleaseNo,
        content: Option<Digest>,
        access: Access,
    ) -> Result<PathBuf, ContentError> {
        let turn = self.turn(app, release);
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = self.layout.release(app, release);
        let wanted = content.map_or_else(|| "none".to_owned(), |digest| digest.to_string());
        if is_laid_out(&folder, &wanted) {
            return Ok(folder);
        }
        let manifest =
            match content {
                None => Manifest::default(),
                Some(digest) => self.manifest(app, digest).ok_or_else(|| {
                    ContentError::NoManifest { app: app.clone(), release, manifest: digest }
                })?,
            };
        datadir::passable_folder(&self.layout.app(app))
            .and_then(|()| datadir::passable_folder(&self.layout.releases(app)))
            .map_err(io_error("create the folders above", &folder))?;
        let _shared = self.blobs_in_use.read().unwrap_or_else(PoisonError::into_inner);
        let building = datadir::temporary(&folder);
        let built = self.build(&building, &manifest, access).and_then(|()| {
            put_in_place(&building, &folder, &wanted).map_err(io_error("name", &folder))
        });
        if built.is_err() {
            let _ = fs::remove_dir_all(&building);
        }
        built?;
        if let Some(digest) = content {
            self.is_released(app, digest, &manifest);
        }
        Ok(folder)
    }

    fn build(
        &self,
        folder: &Path,
        manifest: &Manifest,
        access: Access,
    ) -> Result<(), ContentError> {
        remove(folder).map_err(io_error("clear", folder))?;
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
                    self.lay_out(*digest, *size, &path).map_err(io_error("copy", &path))?;
                    give(&path, access.file(*executable), access)?;
                    if let Some(seconds) = entry.modified {
                        set_time(&path, seconds).map_err(io_error("set the time of", &path))?;
                    }
                    files.push(path);
                }
            }
        }
        // The innermost first: a folder that is given away is closed for whoever is not root.
        for path in folders.iter().rev() {
            give(path, access.folder(), access)?;
        }
        flush(folder, &files).map_err(io_error("make durable", folder))
    }

    fn lay_out(&self, digest: Digest, size: u64, path: &Path) -> io::Result<()> {
        let blob = self.blob(digest);
        reflink_copy::reflink_or_copy(&blob, path)?;
        if fs::symlink_metadata(path)?.len() == size {
            Ok(())
        } else {
            let why = format!("its stored content {digest} is damaged");
            Err(io::Error::new(io::ErrorKind::InvalidData, why))
        }
    }
}

fn is_laid_out(folder: &Path, wanted: &str) -> bool {
    datadir::is_there(folder)
        && datadir::read_to_string(&label_of(folder)).is_ok_and(|found| found == wanted)
}

/// The label goes first: a folder under its final name always has one.
fn put_in_place(building: &Path, folder: &Path, wanted: &str) -> io::Result<()> {
    let label = label_of(folder);
    if datadir::read_to_string(&label).is_ok_and(|found| found != wanted) {
        // Left by a removed app of the same name; nothing runs from it.
        remove(folder)?;
    }
    datadir::write(&label, wanted.as_bytes())?;
    match fs::rename(building, folder) {
        // Somebody else has laid out the same in the meantime.
        Err(_) if is_laid_out(folder, wanted) => fs::remove_dir_all(building),
        Err(e) => Err(e),
        Ok(()) => datadir::sync_parent(folder),
    }
}

/// The file that names the content of a release's folder.
pub(crate) fn label_of(folder: &Path) -> PathBuf {
    folder.with_extension("content")
}

/// Deletes a folder so that a crash leaves no part of it under its name.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    if fs::symlink_metadata(folder).is_err() {
        return Ok(());
    }
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let doomed = folder.with_file_name(format!(".doomed-{name}"));
    if datadir::is_there(&doomed) {
        fs::remove_dir_all(&doomed)?;
    }
    fs::rename(folder, &doomed)?;
    fs::remove_dir_all(&doomed)
}

/// Sets when a file was last changed.
fn set_time(path: &Path, seconds: u64) -> io::Result<()> {
    let unchanged = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
    let changed = Timespec { tv_sec: i64::try_from(seconds).unwrap_or(i64::MAX), tv_nsec: 0 };
    let times = Timestamps { last_access: unchanged, last_modification: changed };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Sets the owner and the mode: whatever the umask, and whatever the file was copied from.
fn give(path: &Path, mode: u32, access: Access) -> Result<(), ContentError> {
    let (uid, gid) = access.file_owner();
    if uid.is_some() || gid.is_some() {
        lchown(path, uid, gid).map_err(io_error("set the owner of", path))?;
    }
    datadir::set_mode(path, mode).map_err(io_error("set the mode of", path))
}
