//! Where the store keeps things in the data folder, and whether it was segue that put them there. Makes
//! nothing, reads no file.

use std::path::{Path, PathBuf};

use datadir::{Unsafe, check_folder, check_names, check_tree};
use model::AppName;

use crate::folders::apps_in;

/// The store's paths below one data folder.
#[derive(Clone, Debug)]
pub struct Layout {
    data: PathBuf,
}

impl Layout {
    /// The paths below `data`.
    pub fn new(data: &Path) -> Self {
        Self { data: data.to_path_buf() }
    }

    /// Looks whether all of it was made by segue, before any of it is read. The folders of apps hold more
    /// than the store's: what else is in them is not looked at.
    ///
    /// # Errors
    /// If something was made by somebody else, or is a symbolic link.
    pub fn check(&self) -> Result<(), Unsafe> {
        for folder in [self.secrets(), self.blobs()] {
            check_folder(&folder)?;
            check_tree(&folder, 2)?;
        }
        check_names(&self.apps())?;
        let Ok(apps) = apps_in(&self.apps()) else { return Ok(()) };
        for app in apps {
            check_names(&self.app(&app))?;
            check_folder(&self.manifests(&app))?;
            check_tree(&self.manifests(&app), 1)?;
        }
        Ok(())
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// All apps' folders.
    pub fn apps(&self) -> PathBuf {
        self.data.join("apps")
    }

    /// Everything of one app but its secrets and run folders.
    pub fn app(&self, app: &AppName) -> PathBuf {
        self.apps().join(app.as_str())
    }

    /// The lists of files of an app's releases, by their digest.
    pub fn manifests(&self, app: &AppName) -> PathBuf {
        self.app(app).join("manifests")
    }

    /// File contents by their digest, shared by all apps.
    pub fn blobs(&self) -> PathBuf {
        self.data.join("blobs")
    }

    /// Values of environment variables, of all apps.
    pub fn secrets(&self) -> PathBuf {
        self.data.join("env")
    }

    /// The key of the secrets' digests.
    pub fn secrets_key(&self) -> PathBuf {
        self.data.join("env.key")
    }
}
