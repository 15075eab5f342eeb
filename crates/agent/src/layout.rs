//! The paths of instances' files in the data folder, beside those of the store. Checks that segue has created
//! the folders. Creates nothing and reads no file.

use std::path::{Path, PathBuf};

use datadir::{Unsafe, check_folder, check_names, check_tree};
use model::{AppName, InstanceId, ReleaseNo};

/// The paths in one data folder.
#[derive(Clone, Debug)]
pub(crate) struct InstanceLayout {
    store: store::Layout,
}

impl InstanceLayout {
    pub fn new(data: &Path) -> Self {
        Self { store: store::Layout::new(data) }
    }

    /// Checks that segue has created all these folders, before any of them is read. State folders and the
    /// contents of releases belong to the apps and are not checked.
    pub fn check(&self) -> Result<(), Unsafe> {
        check_folder(&self.runs())?;
        check_tree(&self.runs(), 2)?;
        check_names(&self.sockets())?;
        let Ok(apps) = store::apps_in(&self.store.apps()) else { return Ok(()) };
        for app in apps {
            check_names(&self.app(&app))?;
            check_names(&self.releases(&app))?;
        }
        Ok(())
    }

    /// Returns the folder with the run folders of all instances.
    pub fn runs(&self) -> PathBuf {
        self.store.data().join("run")
    }

    /// Returns the run folder of one instance, with its lock, socket, records and output.
    pub fn run(&self, id: &InstanceId) -> PathBuf {
        self.runs().join(id.to_string())
    }

    /// Returns the folder for instances' own sockets. It is used where their paths are short enough.
    pub fn sockets(&self) -> PathBuf {
        self.store.data().join("sock")
    }

    /// Returns the folder with all apps' folders.
    pub fn apps(&self) -> PathBuf {
        self.store.apps()
    }

    /// Returns the folder of one app. It contains everything but the app's secrets and run folders.
    pub fn app(&self, app: &AppName) -> PathBuf {
        self.store.app(app)
    }

    /// Returns the folder that outlives the releases of an app: `SEGUE_STATE_DIR`.
    pub fn state(&self, app: &AppName) -> PathBuf {
        self.app(app).join("state")
    }

    /// Returns the folder with the releases' files. Beside each release's folder lies a file that names its
    /// content.
    pub fn releases(&self, app: &AppName) -> PathBuf {
        self.app(app).join("releases")
    }

    /// Returns the folder with the files of one release.
    pub fn release(&self, app: &AppName, no: ReleaseNo) -> PathBuf {
        self.releases(app).join(no.0.to_string())
    }
}
