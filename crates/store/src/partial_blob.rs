//! Contents that are fetched from another store. Each is written to a file that outlives a break, so that the
//! next try continues at the byte where the last one stopped. Nothing of a part is used before the whole
//! content has the right digest.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use model::Digest;

use crate::content_error::{ContentError, io_error};

/// A content that a list of files names and that is not stored completely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lacking {
    /// The size of the whole content, in bytes.
    pub size: u64,
    /// The number of bytes that an earlier try has fetched.
    pub fetched: u64,
}

/// A content that is being fetched. Only one exists for each content at a time. If it is dropped, the next one
/// continues where it stopped.
#[derive(Debug)]
pub struct PartialBlob {
    expected: Digest,
    size: u64,
    bytes: u64,
    /// Locked, and opened for appending.
    file: File,
    path: PathBuf,
}

impl PartialBlob {
    /// Opens the part with this path. Waits while it is open elsewhere.
    pub(crate) fn open(path: &Path, expected: Digest, size: u64) -> Result<Self, ContentError> {
        let file = open_alone(path).map_err(io_error("open", path))?;
        let mut bytes = file.metadata().map_err(io_error("read", path))?.len();
        if bytes > size {
            file.set_len(0).map_err(io_error("empty", path))?;
            bytes = 0;
        }
        Ok(Self { expected, size, bytes, file, path: path.to_path_buf() })
    }

    /// Returns the digest of the whole content.
    pub(crate) fn expected(&self) -> Digest {
        self.expected
    }

    /// Returns the number of bytes that were fetched so far: the position at which to continue.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the number of bytes that are still to be fetched.
    pub fn rest(&self) -> u64 {
        self.size.saturating_sub(self.bytes)
    }

    /// Adds the next bytes.
    ///
    /// # Errors
    /// If there are too many bytes, or they cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), ContentError> {
        if bytes.len() as u64 > self.rest() {
            return Err(ContentError::TooLong { expected: self.expected, bytes: self.size });
        }
        self.file.write_all(bytes).map_err(io_error("write", &self.path))?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Makes the content durable if it matches its digest. Otherwise deletes it. What counts is what the file
    /// has, not what was written to it: a fetch may take hours, and the file may be damaged meanwhile.
    pub(crate) fn verified(self) -> Result<Self, ContentError> {
        let mut hasher = blake3::Hasher::new();
        datadir::open(&self.path)
            .and_then(|mut written| io::copy(&mut written, &mut hasher))
            .map_err(io_error("read", &self.path))?;
        let found = Digest::from_bytes(*hasher.finalize().as_bytes());
        if found != self.expected {
            let expected = self.expected;
            self.discard()?;
            return Err(ContentError::Mismatch { expected, found });
        }
        self.file.sync_data().map_err(io_error("make durable", &self.path))?;
        Ok(self)
    }

    /// Gives the content its final name.
    pub(crate) fn rename(self, to: &Path) -> io::Result<()> {
        fs::rename(&self.path, to)
    }

    /// Throws away everything that was fetched.
    ///
    /// # Errors
    /// If the file cannot be deleted.
    pub fn discard(self) -> Result<(), ContentError> {
        fs::remove_file(&self.path).map_err(io_error("delete", &self.path))
    }
}

/// Returns the number of bytes of the part with this path.
pub(crate) fn length(path: &Path) -> u64 {
    fs::symlink_metadata(path).map_or(0, |found| found.len())
}

/// Opens a file for appending, and waits until nobody else has it open this way.
fn open_alone(path: &Path) -> io::Result<File> {
    loop {
        let file = datadir::append(path)?;
        file.lock()?;
        // While this waited, the file may have been stored or deleted. Its name is then free again.
        let named = fs::symlink_metadata(path);
        let found = file.metadata()?;
        if named.is_ok_and(|named| (named.dev(), named.ino()) == (found.dev(), found.ino())) {
            return Ok(file);
        }
    }
}

/// Deletes the parts of contents that are not needed any more.
pub(crate) fn delete_unneeded(folder: &Path, needed: &BTreeSet<Digest>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    for entry in entries {
        let entry = entry?;
        let digest = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if digest.is_none_or(|digest| needed.contains(&digest)) {
            continue;
        }
        match fs::remove_file(entry.path()) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}
