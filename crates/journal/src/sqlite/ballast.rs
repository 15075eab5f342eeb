//! A file that only reserves space. It is deleted when the disk is full, so that a rollback, an abort or a
//! restart can still be journaled. It is never deleted for another purpose.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Minimum time between two tries, since each try queries the file system.
const BETWEEN_TRIES: Duration = Duration::from_secs(1);

/// The file beside the journal.
#[derive(Debug)]
pub(crate) struct Ballast {
    path: PathBuf,
    bytes: u64,
    there: bool,
    tried: Option<Instant>,
}

impl Ballast {
    /// Returns the ballast of the journal at `journal`, in the state it is found in.
    pub fn beside(journal: &Path, bytes: u64) -> Self {
        let path = journal.with_file_name("ballast");
        let there = fs::symlink_metadata(&path).is_ok_and(|file| file.len() == bytes);
        Self { path, bytes, there, tried: None }
    }

    /// Returns whether the space for a rollback is still reserved.
    pub fn is_there(&self) -> bool {
        self.there || self.bytes == 0
    }

    /// Gives the space back to the disk. Returns `false` if there was none to give.
    pub fn free(&mut self) -> bool {
        let freed = self.there && fs::remove_file(&self.path).is_ok();
        self.there = false;
        self.tried = Some(Instant::now());
        freed
    }

    /// Creates the file again once the disk has room for twice its size.
    pub fn restore(&mut self) {
        let rested = self.tried.is_none_or(|at| at.elapsed() >= BETWEEN_TRIES);
        if self.there || !rested || self.bytes == 0 {
            return;
        }
        self.tried = Some(Instant::now());
        // A ballast that cannot be made is not an error. `is_there` reports it.
        self.there = self.make().unwrap_or(false);
    }

    fn make(&self) -> io::Result<bool> {
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty());
        let disk = rustix::fs::statvfs(folder.unwrap_or(Path::new(".")))?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < self.bytes * 2 {
            return Ok(false);
        }
        // The file is written in full, not only allocated: some file systems reserve no space for holes.
        let temporary = self.path.with_extension("new");
        let outcome = self.fill(&temporary);
        if outcome.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        outcome.map(|()| true)
    }

    fn fill(&self, temporary: &Path) -> io::Result<()> {
        let mut file = datadir::create_private(temporary)?;
        let block = [0xB5; 16 * 1024];
        let mut left = self.bytes;
        while left > 0 {
            let part = left.min(block.len() as u64);
            file.write_all(&block[..usize::try_from(part).unwrap_or(block.len())])?;
            left -= part;
        }
        file.sync_all()?;
        fs::rename(temporary, &self.path)
    }
}
