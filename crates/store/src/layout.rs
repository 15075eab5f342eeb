//! The paths of the store's files in the data folder. Checks that segue has created the files and folders.
//! Creates nothing and reads no file.

use std::path::{Path, PathBuf};

use datadir::{Unsafe, check_folder, check_names, check_tree};
use model::AppName;

use crate::folders::apps_in;

/// The store's paths in one data folder.
#[derive(Clone, Debug)]
pub struct Layout {
    data: PathBuf,
}

impl Layout {
    /// Returns the paths in `data`.
    pub fn new(data: &Path) -> Self {
        Self { data: data.to_path_buf() }
    }

    /// Checks that segue has created all files and folders of the store, before any of them is read. The
    /// folders of apps have other entries than the store's; these are not checked.
    ///
    /// # Errors
    /// If something was created by somebody else, or is a symbolic link.
    pub fn check(&self) -> Result<(), Unsafe> {
        for folder in [self.secrets(), self.blobs(), self.parts()] {
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

    /// Returns the data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Returns the folder with all apps' folders.
    pub fn apps(&self) -> PathBuf {
        self.data.join("apps")
    }

    /// Returns the folder of one app. It has everything but the app's secrets and run folders.
    pub fn app(&self, app: &AppName) -> PathBuf {
        self.apps().join(app.as_str())
    }

    /// Returns the folder with the lists of files of an app's releases, named by their digests.
    pub fn manifests(&self, app: &AppName) -> PathBuf {
        self.app(app).join("manifests")
    }

    /// Returns the folder with file contents, named by their digests and shared by all apps.
    pub fn blobs(&self) -> PathBuf {
        self.data.join("blobs")
    }

    /// Returns the folder with contents that are being fetched, named by their digests.
    pub fn parts(&self) -> PathBuf {
        self.data.join("parts")
    }

    /// Returns the folder with the values of all apps' environment variables.
    pub fn secrets(&self) -> PathBuf {
        self.data.join("env")
    }

    /// Returns the path of the key for the secrets' digests.
    pub fn secrets_key(&self) -> PathBuf {
        self.data.join("env.key")
    }
}
