//! Finds the server and its token.

use std::path::{Path, PathBuf};

use wire::{Client, Secret};

use crate::Failure;
use crate::args::Connection;

/// The name of the data folder that is looked for.
const DATA: &str = ".segue";

impl Connection {
    /// A client for `act`. Without a token from the command line or environment, a server on this
    /// machine gets the one of the local data folder; it is sent nowhere else.
    pub(crate) fn client(&self, act: &str) -> Result<Client, Failure> {
        let local = is_local(&self.server);
        let token = self.token.clone().or_else(|| local.then(local_token).flatten());
        Client::new(&self.server, token).map_err(|error| Failure::client(act, &error))
    }
}

fn is_local(url: &str) -> bool {
    let host = url.strip_prefix("http://").unwrap_or(url);
    ["127.0.0.1", "localhost", "[::1]"].iter().any(|name| {
        host.strip_prefix(name)
            .is_some_and(|rest| matches!(rest.chars().next(), None | Some(':' | '/')))
    })
}

fn local_token() -> Option<Secret> {
    let here = std::env::current_dir().ok()?;
    let path = above(&here, &Path::new(DATA).join("token"))?;
    let text = std::fs::read_to_string(path).ok()?;
    Some(Secret::new(text.trim()))
}

/// A file in this folder or the nearest above that has it.
pub(crate) fn above(here: &Path, name: &Path) -> Option<PathBuf> {
    here.ancestors().map(|folder| folder.join(name)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_local_token_goes_to_this_machine_only() {
        for url in ["http://127.0.0.1:7070", "http://localhost", "http://[::1]:1/"] {
            assert!(is_local(url), "{url}");
        }
        for url in
            ["http://127.0.0.1.evil.example:7070", "http://localhost.evil", "http://10.0.0.1"]
        {
            assert!(!is_local(url), "{url}");
        }
    }

    #[test]
    fn a_file_above_is_found() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        std::fs::write(dir.path().join("a/segue.toml"), "").unwrap();
        let found = above(&dir.path().join("a/b"), Path::new("segue.toml"));
        assert_eq!(found, Some(dir.path().join("a/segue.toml")));
    }
}
