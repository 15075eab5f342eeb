//! The keys that seal users' cookies, newest first: on a server `DIR/affinity.keys`, on a proxy of its fleet
//! `DIR/keys/affinity.keys`, one per line in hexadecimal. Every start and every proxy uses the same keys. They are
//! never printed.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use proxy::AffinityKey;
use wire::Secret;

/// The age after which the next start adds a new key. Cookies expire sooner.
const RENEW: Duration = Duration::from_secs(90 * 24 * 3_600);
/// The number of keys that are kept. An older key no longer opens cookies.
const KEPT: usize = 2;

/// The keys that seal users' cookies.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CookieKeys(Vec<[u8; 32]>);

impl CookieKeys {
    /// Reads the keys from a file. Creates it on the first start, and adds a new key once the newest is older
    /// than [`RENEW`].
    pub fn load_or_create(path: &Path) -> io::Result<Self> {
        let mut keys = Self::load(path)?;
        let age = fs::symlink_metadata(path)
            .and_then(|file| file.modified())
            .map(|made| SystemTime::now().duration_since(made).unwrap_or_default());
        if keys.0.is_empty() || age.is_ok_and(|age| age > RENEW) {
            let mut key = [0; 32];
            getrandom::fill(&mut key).map_err(io::Error::other)?;
            keys.0.insert(0, key);
            keys.0.truncate(KEPT);
            keys.save(path)?;
        }
        Ok(keys)
    }

    /// Reads the keys from a file. There are none if there is no file.
    pub fn load(path: &Path) -> io::Result<Self> {
        match datadir::read_to_string(path) {
            Ok(text) => Self::parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Reads the keys from the text that [`CookieKeys::to_text`] returns.
    pub fn parse(text: &str) -> io::Result<Self> {
        text.lines().map(parse).collect::<io::Result<_>>().map(Self)
    }

    /// Returns the keys as the text of a file.
    pub fn to_text(&self) -> Secret {
        let line = |key: &[u8; 32]| format!("{}\n", model::Digest::from_bytes(*key));
        Secret::new(self.0.iter().map(line).collect::<String>())
    }

    /// Writes the keys to a file that only its owner can read. The file is replaced as a whole.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        datadir::write(path, self.to_text().expose().as_bytes())
    }

    /// Returns the keys as a proxy takes them.
    pub fn to_proxy(&self) -> Vec<AffinityKey> {
        self.0.iter().copied().map(AffinityKey::new).collect()
    }
}

fn parse(line: &str) -> io::Result<[u8; 32]> {
    let digest: Result<model::Digest, _> = line.trim().parse();
    digest.map(|digest| *digest.as_bytes()).map_err(|_| {
        let why = "a line of it is not a key; delete the file to get new ones";
        io::Error::new(io::ErrorKind::InvalidData, why)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn keys_are_made_once_renewed_in_time_and_only_their_owner_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("affinity.keys");
        assert_eq!(CookieKeys::load_or_create(&path).unwrap().0.len(), 1);
        let first = fs::read_to_string(&path).unwrap();
        CookieKeys::load_or_create(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), first);
        let old = SystemTime::now() - RENEW - Duration::from_secs(1);
        fs::File::options().append(true).open(&path).unwrap().set_modified(old).unwrap();
        assert_eq!(CookieKeys::load_or_create(&path).unwrap().0.len(), 2);
        assert!(fs::read_to_string(&path).unwrap().ends_with(&first));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "secret\n").unwrap();
        let error = CookieKeys::load_or_create(&path).map(|_| ()).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}
