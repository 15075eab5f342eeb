//! Paths of the unix sockets of instances that have no port: `listen` in `[run]`. Opens nothing.

use alloc::format;
use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::{Address, AppName, InstanceId};

/// The kind of address that an instance listens on: `listen` in `[run]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Listen {
    /// A port of its own. The instance gets it as `HOST` and `PORT`.
    #[default]
    Port,
    /// A unix socket in a folder of its own. The instance gets the path as `SOCKET`.
    Unix,
}

impl Listen {
    pub(crate) fn is_port(&self) -> bool {
        *self == Self::Port
    }
}

/// The folders of a host that contain the socket folders of instances. The path of a socket may have
/// [`Address::MOST_PATH`] bytes at most, and a data folder's path may be longer than that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketFolders {
    own: String,
    other: String,
    obstacle: Option<String>,
}

impl SocketFolders {
    /// The name of a socket in its instance's folder.
    pub const NAME: &str = "app.sock";
    /// Maximum number of digits of an instance's number.
    const DIGITS: usize = 20;
    /// Maximum length of an app's name.
    const APP: usize = 40;

    /// Returns folders in `own` wherever the path is short enough, otherwise in `other`. `obstacle` is the
    /// reason why nothing can be created in `other`, if so.
    pub fn new(own: String, other: String, obstacle: Option<String>) -> Self {
        Self { own, other, obstacle }
    }

    /// Returns the address of this instance: `FOLDER/APP-N/app.sock`.
    pub fn address(&self, id: &InstanceId) -> Address {
        let folder = if self.fits_own(&id.app) { &self.own } else { &self.other };
        Address::Unix(format!("{folder}/{id}/{}", Self::NAME))
    }

    /// Returns why no instance of the app can have a socket here, if so.
    pub fn obstacle(&self, app: &AppName) -> Option<&str> {
        if self.fits_own(app) { None } else { self.obstacle.as_deref() }
    }

    /// Returns whether the socket of any instance of any app fits into this folder.
    pub fn fits_any(folder: &str) -> bool {
        Self::fits(folder, Self::APP)
    }

    /// Returns whether a socket's path fits into the data folder. The result is identical for all instances
    /// of an app, whatever their number.
    fn fits_own(&self, app: &AppName) -> bool {
        Self::fits(&self.own, app.as_str().len())
    }

    fn fits(folder: &str, app: usize) -> bool {
        let name = "/".len() + app + "-".len() + Self::DIGITS;
        folder.len() + name + "/".len() + Self::NAME.len() <= Address::MOST_PATH
    }
}

impl Default for SocketFolders {
    /// Returns the folders of a host whose data folder is unknown.
    fn default() -> Self {
        Self::new("/run/segue".into(), "/run/segue".into(), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_path_is_never_too_long_and_all_of_an_app_are_in_one_folder() {
        let name: AppName = "a".repeat(40).parse().unwrap();
        for length in 1..200 {
            let own = format!("/{}", "d".repeat(length));
            let folders = SocketFolders::new(own.clone(), "/run/segue-01234567".into(), None);
            let of =
                |number| folders.address(&InstanceId { app: name.clone(), number }).to_string();
            let (first, last) = (of(1), of(u64::MAX));
            assert!(last.parse::<Address>().is_ok(), "{last}");
            assert_eq!(first.contains(&own), last.contains(&own));
        }
    }

    #[test]
    fn what_is_in_the_way_of_the_other_folder_matters_only_to_names_that_need_it() {
        let own = format!("/{}", "d".repeat(70));
        let folders = SocketFolders::new(own, "/run/x".into(), Some("no".into()));
        assert_eq!(folders.obstacle(&"w".parse().unwrap()), None);
        assert_eq!(folders.obstacle(&"w".repeat(20).parse().unwrap()), Some("no"));
    }
}
