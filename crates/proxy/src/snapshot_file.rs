//! `DIR/snapshot`: the last routing table, for a start without control. Checksummed, replaced by rename.
//! Not synced: a crash of the machine that loses the file ends the instances, too.

use std::io;
use std::path::Path;

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

/// Replaces the saved snapshot.
///
/// # Errors
/// If it cannot be written. The one before is still there then.
pub fn save(path: &Path, snapshot: &Snapshot) -> io::Result<()> {
    let body = serde_json::to_vec(snapshot).map_err(io::Error::other)?;
    let mut text = format!("{FORMAT} {}\n", blake3::hash(&body).to_hex()).into_bytes();
    text.extend(body);
    datadir::replace(path, &text)
}

/// Returns the saved snapshot, or `None` if none was ever saved.
///
/// # Errors
/// If it is damaged or cannot be read. The file is left as it is.
pub fn load(path: &Path) -> Result<Option<Snapshot>, Unusable> {
    let bytes = match datadir::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(Unusable::Damaged)?;
    let (head, body) = (&bytes[..end], &bytes[end + 1..]);
    let expected = format!("{FORMAT} {}", blake3::hash(body).to_hex());
    if head != expected.as_bytes() {
        return Err(Unusable::Damaged);
    }
    serde_json::from_slice(body).map(Some).map_err(|_| Unusable::Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_saved_snapshot_is_read_back_and_a_damaged_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot");
        assert!(load(&path).unwrap().is_none());
        let generation = model::Generation { term: 3, counter: 9 };
        let snapshot = Snapshot { generation, apps: Vec::new() };
        save(&path, &snapshot).unwrap();
        assert_eq!(load(&path).unwrap(), Some(snapshot));
        let mut bytes = fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            assert!(matches!(load(&path), Err(Unusable::Damaged)), "byte {at}");
            bytes[at] ^= 1;
        }
    }
}
