//! What a proxy that is a member of a fleet keeps in its data folder of what the server has told it, so that it
//! starts without a server: the table in use, the settings, and the keys of users' cookies.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use cli::CommandError;
use model::{ProxyDuty, ProxySettings, in_full};
use proxy::snapshot_file::{self, SavedSnapshot};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cookie_keys::CookieKeys;
use crate::membership::credentials_file;

/// The files of a proxy.
#[derive(Clone, Debug)]
pub struct ProxyFiles {
    /// The table in use.
    pub table: PathBuf,
    settings: PathBuf,
    duty: PathBuf,
    hosts: PathBuf,
    keys: PathBuf,
    /// The proxy's identity, which somebody else keeps there.
    pub credentials: PathBuf,
}

impl ProxyFiles {
    /// Returns the files in this data folder.
    pub fn of(data: &Path) -> Self {
        Self {
            table: data.join("snapshot"),
            settings: data.join("settings.json"),
            duty: data.join("duty.json"),
            hosts: data.join("hosts.json"),
            keys: data.join("keys").join("affinity.keys"),
            credentials: credentials_file(data),
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
        known(&self.settings)
    }

    /// Keeps the settings.
    pub fn keep_settings(&self, settings: &ProxySettings) {
        keep(&self.settings, settings);
    }

    /// Returns what the proxy is used for; active if it is not known or cannot be read.
    pub fn duty(&self) -> ProxyDuty {
        known(&self.duty)
    }

    /// Keeps what the proxy is used for: one that a person drained stays so when it is started anew.
    pub fn keep_duty(&self, duty: ProxyDuty) {
        keep(&self.duty, &duty);
    }

    /// Returns the addresses at which hosts confirm their instances; none if none are known or can be read.
    pub fn hosts(&self) -> Vec<SocketAddr> {
        known(&self.hosts)
    }

    /// Keeps the addresses at which hosts confirm their instances. Unless these are all, those known before stay, but
    /// for other ports of the same addresses.
    pub fn keep_hosts(&self, hosts: &[SocketAddr], complete: bool) {
        let mut all = hosts.to_vec();
        if !complete {
            let is_other = |known: &SocketAddr| hosts.iter().all(|host| host.ip() != known.ip());
            all.extend(self.hosts().into_iter().filter(is_other));
        }
        keep(&self.hosts, &all);
    }

    /// Returns the keys of users' cookies; none if none are known or can be read.
    pub fn keys(&self) -> CookieKeys {
        CookieKeys::load(&self.keys).unwrap_or_else(|error| {
            tracing::warn!(%error, "the keys of users' cookies come from the server");
            CookieKeys::default()
        })
    }

    /// Keeps the keys of users' cookies.
    pub fn keep_keys(&self, keys: &CookieKeys) -> io::Result<()> {
        keys.save(&self.keys)
    }

    /// Deletes everything.
    pub fn delete(&self) -> Result<(), CommandError> {
        let next = snapshot_file::next(&self.table);
        let own = [&self.table, &next, &self.settings, &self.duty, &self.hosts, &self.keys];
        for file in own {
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

/// Returns what a file says; the default if there is none, or it cannot be read.
fn known<T: Default + DeserializeOwned>(file: &Path) -> T {
    let read = match datadir::read(file) {
        Ok(text) => serde_json::from_slice(&text).map_err(io::Error::from),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return T::default(),
        Err(error) => Err(error),
    };
    read.unwrap_or_else(|error| {
        tracing::warn!(%error, file = %file.display(), "what it says is asked of the server");
        T::default()
    })
}

/// Keeps something the server has said in a file.
fn keep(file: &Path, what: &impl Serialize) {
    let text = serde_json::to_vec_pretty(what).unwrap_or_default();
    if let Err(error) = datadir::write(file, &text) {
        tracing::warn!(%error, file = %file.display(), "what the server says is not saved");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_does_not_know_all_hosts_yet_takes_none_of_them_away() {
        let dir = tempfile::tempdir().expect("a folder");
        let files = ProxyFiles::of(dir.path());
        let at = |last: u8, port: u16| SocketAddr::from(([10, 0, 0, last], port));
        files.keep_hosts(&[at(1, 7444), at(2, 7444)], true);
        files.keep_hosts(&[], false);
        assert_eq!(files.hosts(), [at(1, 7444), at(2, 7444)]);
        files.keep_hosts(&[at(2, 7555), at(3, 7444)], false);
        assert_eq!(files.hosts(), [at(2, 7555), at(3, 7444), at(1, 7444)]);
        files.keep_hosts(&[at(3, 7444)], true);
        assert_eq!(files.hosts(), [at(3, 7444)], "the others were removed");
    }
}
