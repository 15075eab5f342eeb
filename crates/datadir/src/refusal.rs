//! The reason why a data folder, or an entry of it, is not used.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The reason why a data folder, or an entry of it, is not used.
#[derive(Debug, Error)]
#[error("{} cannot be trusted: {why}", path.display())]
pub struct Unsafe {
    path: PathBuf,
    why: String,
    hint: Option<&'static str>,
}

impl Unsafe {
    pub(crate) fn because(path: &Path, why: impl Into<String>) -> Self {
        Self { path: path.to_owned(), why: why.into(), hint: None }
    }

    pub(crate) fn hinting(self, hint: &'static str) -> Self {
        Self { hint: Some(hint), ..self }
    }

    /// Returns the change that would help, if there is one.
    pub fn hint(&self) -> Option<&'static str> {
        self.hint
    }

    pub(crate) fn io(act: &str, path: &Path, error: io::Error) -> Self {
        Self::because(path, format!("cannot {act} it: {error}"))
    }
}
