//! Laying a release's files out in its folder: built under another name, renamed when it is whole.
//! Copies or reflinks, never hard-links: an app that writes into its folder changes no other's.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use model::{AppName, Digest, ReleaseNo};

use crate::content::{Content, ContentError, flush, io_error};
use crate::durable;
use wire::{Kind, Manifest};

impl Content {
    /// The folder of a release, laid out if it is not yet. Without content the folder is empty.
    ///
    /// # Errors
    /// If the list of files or a content is missing, or the disk is full.
    pub fn materialise(
        &self,
        app: &AppName,
        release: ReleaseNo,
        content: Option<Digest>,
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
        durable::passable_folder(&self.layout.app(app))
            .and_then(|()| durable::passable_folder(&self.layout.releases(app)))
            .map_err(io_error("create the folders above", &folder))?;
        let _shared = self.blobs_in_use.read().unwrap_or_else(PoisonError::into_inner);
        let building = durable::temporary(&folder);
        let built = self.build(&building, &manifest).and_then(|()| {
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

    fn build(&self, folder: &Path, manifest: &Manifest) -> Result<(), ContentError> {
        remove(folder).map_err(io_error("clear", folder))?;
        fs::create_dir_all(folder).map_err(io_error("create", folder))?;
        set_mode(folder, 0o755).map_err(io_error("open up", folder))?;
        let mut files = Vec::new();
        for entry in &manifest.entries {
            let path = folder.join(&entry.path);
            let parent = path.parent().unwrap_or(folder);
            fs::create_dir_all(parent).map_err(io_error("create", parent))?;
            match &entry.kind {
                Kind::Dir => fs::create_dir_all(&path).map_err(io_error("create", &path))?,
                Kind::Symlink { target } => {
                    symlink(target, &path).map_err(io_error("link", &path))?;
                }
                Kind::File { digest, size, executable } => {
                    self.lay_out(*digest, *size, &path).map_err(io_error("copy", &path))?;
                    // Readable for the app's own user; no other bit comes along.
                    let mode = if *executable { 0o755 } else { 0o644 };
                    set_mode(&path, mode).map_err(io_error("set the mode of", &path))?;
                    files.push(path);
                }
            }
        }
        flush(folder, &files).map_err(io_error("make durable", folder))
    }

    fn lay_out(&self, digest: Digest, size: u64, path: &Path) -> io::Result<()> {
        let blob = self.blob(digest);
        reflink_copy::reflink_or_copy(&blob, path)?;
        if fs::metadata(path)?.len() == size {
            Ok(())
        } else {
            let why = format!("its stored content {digest} is damaged");
            Err(io::Error::new(io::ErrorKind::InvalidData, why))
        }
    }
}

fn is_laid_out(folder: &Path, wanted: &str) -> bool {
    folder.exists() && fs::read_to_string(label_of(folder)).is_ok_and(|found| found == wanted)
}

/// The label goes first: a folder under its final name always has one.
fn put_in_place(building: &Path, folder: &Path, wanted: &str) -> io::Result<()> {
    let label = label_of(folder);
    if fs::read_to_string(&label).is_ok_and(|found| found != wanted) {
        // Left by a removed app of the same name; nothing runs from it.
        remove(folder)?;
    }
    durable::write(&label, wanted.as_bytes())?;
    match fs::rename(building, folder) {
        // Somebody else has laid out the same in the meantime.
        Err(_) if is_laid_out(folder, wanted) => fs::remove_dir_all(building),
        Err(e) => Err(e),
        Ok(()) => durable::sync_parent(folder),
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
    if doomed.exists() {
        fs::remove_dir_all(&doomed)?;
    }
    fs::rename(folder, &doomed)?;
    fs::remove_dir_all(&doomed)
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}
