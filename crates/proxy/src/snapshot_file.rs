//! `DIR/snapshot`: the last routing table, for a start without control. Checksummed, replaced by rename.
//!
//! Beside instances of the same machine it need not be synced: a crash of the machine that loses the file ends the
//! instances, too. A proxy elsewhere writes and syncs the next table before it may use it, and only renames it then.

use std::io;
use std::path::{Path, PathBuf};

use model::Snapshot;

/// The first word of the file, with the version of its format.
const FORMAT: &str = "segue-snapshot-1";

/// The reason why there is no saved snapshot to start with.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The file cannot be read.
    #[error("the saved snapshot cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The file is not what was saved, or another version of segue saved it.
    #[error("the saved snapshot is damaged, or of another version")]
    Damaged,
}

/// A saved snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SavedSnapshot {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// The boot of the machine during which it was saved, if that matters to whoever saved it.
    pub boot: Option<String>,
}

/// Replaces the saved snapshot. `boot` is the id of the machine's boot, a word without blanks, for those to
/// whom it matters at the next start.
///
/// # Errors
/// If it cannot be written. The one before is still there then.
pub fn save(path: &Path, snapshot: &Snapshot, boot: Option<&str>) -> io::Result<()> {
    datadir::replace(path, &text(snapshot, boot)?)
}

/// Writes the snapshot that may be used next beside the saved one, so that a crash of the machine does not lose it.
/// `boot` is as for [`save`].
///
/// # Errors
/// If it cannot be written.
pub fn save_next(path: &Path, snapshot: &Snapshot, boot: Option<&str>) -> io::Result<()> {
    datadir::write(&next(path), &text(snapshot, boot)?)
}

/// Replaces the saved snapshot with the one that was written by [`save_next`]. Waits for no disk: after a crash of the
/// machine within a moment, the one before may be there again.
///
/// # Errors
/// If it cannot be renamed.
pub fn use_next(path: &Path) -> io::Result<()> {
    std::fs::rename(next(path), path)
}

/// Returns where the snapshot is that may be used next.
pub fn next(path: &Path) -> PathBuf {
    path.with_extension("next")
}

fn text(snapshot: &Snapshot, boot: Option<&str>) -> io::Result<Vec<u8>> {
    let body = serde_json::to_vec(snapshot).map_err(io::Error::other)?;
    let boot = boot.map(|boot| format!(" {boot}")).unwrap_or_default();
    let mut text = format!("{FORMAT} {}{boot}\n", checksum(&boot, &body)).into_bytes();
    text.extend(body);
    Ok(text)
}

/// Returns the saved snapshot, or `None` if none was ever saved.
///
/// # Errors
/// If it is damaged or cannot be read. The file is left as it is.
pub fn load(path: &Path) -> Result<Option<SavedSnapshot>, Unusable> {
    let bytes = match datadir::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(Unusable::Damaged)?;
    let (head, body) = (&bytes[..end], &bytes[end + 1..]);
    let head = std::str::from_utf8(head).map_err(|_| Unusable::Damaged)?;
    let rest = head.strip_prefix(FORMAT).and_then(|rest| rest.strip_prefix(' '));
    let rest = rest.ok_or(Unusable::Damaged)?;
    let (sum, boot) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
    if sum != checksum(boot, body) {
        return Err(Unusable::Damaged);
    }
    let snapshot = serde_json::from_slice(body).map_err(|_| Unusable::Damaged)?;
    Ok(Some(SavedSnapshot { snapshot, boot: boot.strip_prefix(' ').map(str::to_owned) }))
}

/// Returns the checksum over the end of the first line, if there is more on it, and the body.
fn checksum(boot: &str, body: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(boot.as_bytes()).update(body);
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_next_snapshot_is_not_read_before_it_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot");
        let table = |counter| Snapshot {
            generation: model::Generation { term: 3, counter },
            apps: Vec::new(),
        };
        let saved = || load(&path).unwrap().map(|saved| saved.snapshot.generation.counter);
        save_next(&path, &table(1), Some("boot")).unwrap();
        assert_eq!(saved(), None);
        use_next(&path).unwrap();
        save_next(&path, &table(2), Some("boot")).unwrap();
        save_next(&path, &table(3), Some("boot")).unwrap();
        assert_eq!(saved(), Some(1));
        use_next(&path).unwrap();
        assert_eq!(saved(), Some(3));
        assert!(use_next(&path).is_err(), "there is no other one");
        assert_eq!(saved(), Some(3));
    }

    #[test]
    fn a_saved_snapshot_is_read_back_and_a_damaged_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot");
        assert!(load(&path).unwrap().is_none());
        let generation = model::Generation { term: 3, counter: 9 };
        let snapshot = Snapshot { generation, apps: Vec::new() };
        for boot in [None, Some("3f1c-boot")] {
            save(&path, &snapshot, boot).unwrap();
            let saved = SavedSnapshot { snapshot: snapshot.clone(), boot: boot.map(str::to_owned) };
            assert_eq!(load(&path).unwrap(), Some(saved));
            let mut bytes = fs::read(&path).unwrap();
            for at in 0..bytes.len() {
                bytes[at] ^= 1;
                fs::write(&path, &bytes).unwrap();
                assert!(matches!(load(&path), Err(Unusable::Damaged)), "byte {at}");
                bytes[at] ^= 1;
            }
        }
    }
}
