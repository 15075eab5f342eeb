//! Folders of the store as lists. There is one folder per app; it has one file `DIGEST.json` per entry.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{AppName, Digest};

/// Returns the apps that have a folder with their name in this folder. Skips entries with other names.
///
/// # Errors
/// If the folder cannot be read.
pub fn apps_in(folder: &Path) -> io::Result<BTreeSet<AppName>> {
    let app = |entry: io::Result<fs::DirEntry>| {
        entry.map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()))
    };
    fs::read_dir(folder)?.map(app).filter_map(Result::transpose).collect()
}

/// Returns the path of an entry's file.
pub(crate) fn file_of(folder: &Path, digest: Digest) -> PathBuf {
    folder.join(format!("{digest}.json"))
}

/// Returns the entries of a folder; none if the folder does not exist.
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

/// Deletes the entries that are not needed, and the folder if it is then empty.
pub(crate) fn delete_unneeded(
    folder: &Path,
    is_needed: impl Fn(Digest) -> io::Result<bool>,
) -> io::Result<()> {
    for digest in entries(folder)? {
        if !is_needed(digest)? {
            fs::remove_file(file_of(folder, digest))?;
        }
    }
    // The system refuses to remove a folder that is not empty.
    let _ = fs::remove_dir(folder);
    Ok(())
}

/// Returns whether an entry was created less than `age` ago.
pub(crate) fn is_younger(folder: &Path, digest: Digest, age: Duration) -> io::Result<bool> {
    let made = fs::symlink_metadata(file_of(folder, digest))?.modified()?;
    // If the clock was set back, the entry counts as young.
    Ok(made.elapsed().unwrap_or_default() < age)
}
