//! Where things of instances lie in the data folder, beside the store's, and whether it was segue that
//! put them there. Makes nothing, reads no file.

use std::path::{Path, PathBuf};

use datadir::{Unsafe, check_folder, check_names, check_tree};
use model::{AppName, InstanceId, ReleaseNo};

/// The paths below one data folder.
#[derive(Clone, Debug)]
pub(crate) struct InstanceLayout {
    store: store::Layout,
}

impl InstanceLayout {
    pub fn new(data: &Path) -> Self {
        Self { store: store::Layout::new(data) }
    }

    /// Looks whether all of it was made by segue, before any of it is read. What belongs to apps, their
    /// state and the insides of their releases, is theirs and is not looked at.
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

    /// The run folders of all instances.
    pub fn runs(&self) -> PathBuf {
        self.store.data().join("run")
    }

    /// One instance's lock, socket, records and output.
    pub fn run(&self, id: &InstanceId) -> PathBuf {
        self.runs().join(id.to_string())
    }

    /// The folders of instances' own sockets, where their paths are short enough.
    pub fn sockets(&self) -> PathBuf {
        self.store.data().join("sock")
    }

    /// All apps' folders.
    pub fn apps(&self) -> PathBuf {
        self.store.apps()
    }

    /// Everything of one app but its secrets and run folders.
    pub fn app(&self, app: &AppName) -> PathBuf {
        self.store.app(app)
    }

    /// Returns the folder that outlives the releases of an app: `SEGUE_STATE_DIR`.
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
}
