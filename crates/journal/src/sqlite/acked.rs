//! The mark of the last acknowledged record, in a small file of its own.
//!
//! SQLite takes a damaged tail of its write-ahead log for a write that a crash cut short, and drops the tail
//! silently. This mark distinguishes the two cases. It is written after the fsync of a commit and before its
//! acknowledgement, so it is never ahead of the disk. A journal that is behind its mark has lost
//! acknowledged records. The mark itself is not fsynced. After a power failure it may be older, which is
//! harmless.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::chain::{Chain, sum};
use crate::record::Seq;

const LENGTH: usize = 8 + 8 + 32 + 32;

/// The position acknowledged last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AckMark {
    pub term: u64,
    pub head: Seq,
    pub chain: Chain,
}

/// The file that holds the mark.
#[derive(Debug)]
pub(crate) struct Acked {
    file: File,
}

/// Returns the path of the mark of the journal at `journal`.
pub(crate) fn path_of(journal: &Path) -> PathBuf {
    let mut name = journal.as_os_str().to_owned();
    name.push("-acked");
    name.into()
}

/// Reads the mark. Returns `Ok(None)` if there is none, and `InvalidData` if it is damaged.
pub(crate) fn read(journal: &Path) -> io::Result<Option<AckMark>> {
    let mut bytes = Vec::with_capacity(LENGTH + 1);
    match datadir::open(&path_of(journal)) {
        Ok(file) => file.take(LENGTH as u64 + 1).read_to_end(&mut bytes)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    decode(&bytes).map(Some).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

impl Acked {
    /// Opens the file for writing and writes the first mark. A new file is made durable here, so that every
    /// later mark is one overwrite in place.
    pub fn open(journal: &Path, mark: AckMark) -> io::Result<Self> {
        let path = path_of(journal);
        let new = !datadir::is_there(&path);
        let making = path.with_extension("db-acked.new");
        let file = datadir::open_or_create(if new { &making } else { &path })?;
        let acked = Self { file };
        acked.write(mark)?;
        if new {
            acked.file.sync_all()?;
            std::fs::rename(&making, &path)?;
        }
        Ok(acked)
    }

    /// Returns a mark that cannot be written, as on a failing disk.
    #[cfg(test)]
    pub fn unwritable(journal: &Path) -> io::Result<Self> {
        Ok(Self { file: std::fs::File::open(path_of(journal))? })
    }

    /// Moves the mark.
    pub fn write(&self, mark: AckMark) -> io::Result<()> {
        self.file.write_all_at(&encode(mark), 0)
    }
}

fn encode(mark: AckMark) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes[..8].copy_from_slice(&mark.term.to_le_bytes());
    bytes[8..16].copy_from_slice(&mark.head.0.to_le_bytes());
    bytes[16..48].copy_from_slice(&mark.chain.0);
    let check = sum(b"acked", &[&bytes[..48]]);
    bytes[48..].copy_from_slice(&check);
    bytes
}

fn decode(bytes: &[u8]) -> Option<AckMark> {
    let bytes: &[u8; LENGTH] = bytes.try_into().ok()?;
    let mark = AckMark {
        term: u64::from_le_bytes(bytes[..8].try_into().ok()?),
        head: Seq(u64::from_le_bytes(bytes[8..16].try_into().ok()?)),
        chain: Chain(bytes[16..48].try_into().ok()?),
    };
    (encode(mark) == *bytes).then_some(mark)
}
