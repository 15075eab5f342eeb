//! Where things lie in the data folder, and whether it was segue that put them there. Makes nothing,
//! reads no file.

use std::path::{Path, PathBuf};

use datadir::{Unsafe, check_folder, check_names, check_tree};
use model::{AppName, InstanceId, ReleaseNo};

/// The paths below one data folder.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    data: PathBuf,
}

impl Layout {
    pub fn new(data: &Path) -> Self {
        Self { data: data.to_path_buf() }
    }

    /// Looks whether all of it was made by segue, before any of it is read. What belongs to apps, their
    /// state and the insides of their releases, is theirs and is not looked at.
    pub fn check(&self) -> Result<(), Unsafe> {
        for folder in [self.runs(), self.secrets(), self.blobs()] {
            check_folder(&folder)?;
            check_tree(&folder, 2)?;
        }
        check_names(&self.sockets())?;
        check_names(&self.apps())?;
        let Ok(apps) = std::fs::read_dir(self.apps()) else { return Ok(()) };
        for app in apps.filter_map(|app| app.ok()?.file_name().to_str()?.parse().ok()) {
            check_names(&self.app(&app))?;
            check_names(&self.releases(&app))?;
            check_folder(&self.manifests(&app))?;
            check_tree(&self.manifests(&app), 1)?;
        }
        Ok(())
    }

    /// The run folders of all instances.
    pub fn runs(&self) -> PathBuf {
        self.data.join("run")
    }

    /// One instance's lock, socket, records and output.
    pub fn run(&self, id: &InstanceId) -> PathBuf {
        self.runs().join(id.to_string())
    }

    /// The folders of instances' own sockets, where their paths are short enough.
    pub fn sockets(&self) -> PathBuf {
        self.data.join("sock")
    }

    /// All apps' folders.
    pub fn apps(&self) -> PathBuf {
        self.data.join("apps")
    }

    /// Everything of one app but its secrets and run folders.
    pub fn app(&self, app: &AppName) -> PathBuf {
        self.apps().join(app.as_str())
    }

    /// What outlives the releases of an app: `SEGUE_STATE_DIR`.
    pub fn state(&self, app: &AppName) -> PathBuf {
        self.app(app).join("state")
    }

    /// The releases' files, and beside each folder a file that names its content.
    pub fn releases(&self, app: &AppName) -> PathBuf {
        self.app(app).join("releases")
    }

    /// One release's files.
    pub fn release(&self, app: &AppName, no: ReleaseNo) -> PathBuf {
        self.releases(app).join(no.0.to_string())
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
