//! Folders of the store as lists: one folder per app, and in it one file `DIGEST.json` per entry.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{AppName, Digest};

/// The apps that have a folder of their name in this one. What has another name is left out.
///
/// # Errors
/// If the folder cannot be read.
pub fn apps_in(folder: &Path) -> io::Result<BTreeSet<AppName>> {
    let app = |entry: io::Result<fs::DirEntry>| {
        entry.map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()))
    };
    fs::read_dir(folder)?.map(app).filter_map(Result::transpose).collect()
}

/// The file of an entry.
pub(crate) fn file_of(folder: &Path, digest: Digest) -> PathBuf {
    folder.join(format!("{digest}.json"))
}

/// The entries of a folder; none if the folder is not there.
pub(crate) fn entries(folder: &Path) -> io::Result<Vec<Digest>> {
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

/// Deletes the entries that nothing needs, and the folder if none is left.
pub(crate) fn delete_unneeded(
    folder: &Path,
    is_needed: impl Fn(Digest) -> io::Result<bool>,
) -> io::Result<()> {
    for digest in entries(folder)? {
        if !is_needed(digest)? {
            fs::remove_file(file_of(folder, digest))?;
        }
    }
    // Refused by the system if there are others in it.
    let _ = fs::remove_dir(folder);
    Ok(())
}

/// Whether an entry was made less than `age` ago.
pub(crate) fn is_younger(folder: &Path, digest: Digest, age: Duration) -> io::Result<bool> {
    let made = fs::symlink_metadata(file_of(folder, digest))?.modified()?;
    // A clock that was set back makes it young.
    Ok(made.elapsed().unwrap_or_default() < age)
}
