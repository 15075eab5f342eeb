//! The data folder as the program uses it: first checked, then locked. Reads none of its files.

use std::fs::{File, TryLockError};
use std::path::Path;

use cli::CommandError;
use datadir::DataDir;

/// A data folder that segue has created or is about to create.
pub struct DataFolder {
    dir: DataDir,
    act: String,
}

impl DataFolder {
    /// Checks the folder, and creates it if it does not exist.
    pub fn open_or_create(path: &Path) -> Result<Self, CommandError> {
        Self::checked(path, DataDir::open_or_create)
    }

    /// Checks a folder that exists.
    pub fn open(path: &Path) -> Result<Self, CommandError> {
        Self::checked(path, DataDir::open)
    }

    /// Checks the folder, creates it if it does not exist, takes its lock, and deletes files that an earlier
    /// process had not finished. Files of this process whose mode is not set, such as those that a library
    /// creates, are for segue's user only from here on.
    pub fn claim(path: &Path) -> Result<(Self, File), CommandError> {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let folder = Self::open_or_create(path)?;
        let lock = folder.lock()?;
        datadir::clear_unfinished(folder.path())
            .map_err(|error| CommandError::new(folder.act.as_str(), &error))?;
        Ok((folder, lock))
    }

    fn checked(
        path: &Path,
        open: impl FnOnce(&Path) -> Result<DataDir, datadir::Unsafe>,
    ) -> Result<Self, CommandError> {
        let act = format!("use the data folder {}", path.display());
        match open(path) {
            Ok(dir) => Ok(Self { dir, act }),
            Err(why) => {
                let failure = CommandError::new(act, &why);
                Err(match why.hint() {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                })
            }
        }
    }

    /// Returns the folder's path, absolute and without symbolic links.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Takes the folder's lock. Only one server at a time uses a data folder.
    pub fn lock(&self) -> Result<File, CommandError> {
        self.try_lock()?.ok_or_else(|| {
            let failure = CommandError::because(self.act.as_str(), "another server uses it");
            failure.hint("choose another with --data, or stop that server first")
        })
    }

    /// Takes the folder's lock; `None` if a server has it.
    pub fn try_lock(&self) -> Result<Option<File>, CommandError> {
        let failed = |error: std::io::Error| CommandError::new(self.act.as_str(), &error);
        let file = datadir::open_or_create(&self.path().join("lock")).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}
