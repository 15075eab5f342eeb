//! What a proxy that is a member of a fleet keeps in its data folder of what the server has told it, so that it
//! starts without a server: the table in use, the settings, and the keys of users' cookies.

use std::io;
use std::path::{Path, PathBuf};

use cli::CommandError;
use model::{ProxySettings, in_full};
use proxy::snapshot_file::{self, SavedSnapshot};

use crate::cookie_keys::CookieKeys;

/// The files of a proxy.
#[derive(Clone, Debug)]
pub struct ProxyFiles {
    /// The table in use.
    pub table: PathBuf,
    settings: PathBuf,
    keys: PathBuf,
}

impl ProxyFiles {
    /// Returns the files in this data folder.
    pub fn of(data: &Path) -> Self {
        Self {
            table: data.join("snapshot"),
            settings: data.join("settings.json"),
            keys: data.join("keys").join("affinity.keys"),
        }
    }

    /// Returns the table that was used last, if there is one that can be read.
    pub fn table(&self) -> Option<SavedSnapshot> {
        snapshot_file::load(&self.table).unwrap_or_else(|error| {
            tracing::warn!(error = in_full(&error), "traffic starts with an empty table");
            None
        })
    }

    /// Returns the settings; the defaults if none are known or can be read.
    pub fn settings(&self) -> ProxySettings {
        let read = match datadir::read(&self.settings) {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Default::default(),
            Err(error) => Err(error),
        };
        read.unwrap_or_else(|error| {
            tracing::warn!(%error, "the settings in settings.json come from the server");
            ProxySettings::default()
        })
    }

    /// Keeps the settings.
    pub fn keep_settings(&self, settings: &ProxySettings) {
        let text = serde_json::to_vec_pretty(settings).unwrap_or_default();
        if let Err(error) = datadir::write(&self.settings, &text) {
            tracing::warn!(%error, "the settings are not saved");
        }
    }

    /// Returns the keys of users' cookies; none if none are known or can be read.
    pub fn keys(&self) -> CookieKeys {
        CookieKeys::load(&self.keys).unwrap_or_else(|error| {
            tracing::warn!(%error, "the keys of users' cookies come from the server");
            CookieKeys::default()
        })
    }

    /// Keeps the keys of users' cookies.
    pub fn keep_keys(&self, keys: &CookieKeys) {
        if let Err(error) = keys.save(&self.keys) {
            tracing::warn!(%error, "the keys of users' cookies are not saved");
        }
    }

    /// Deletes everything.
    pub fn delete(&self) -> Result<(), CommandError> {
        for file in [&self.table, &self.settings, &self.keys] {
            match std::fs::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(CommandError::new(format!("delete {}", file.display()), &error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}
