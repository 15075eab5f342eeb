//! The keys that seal users' cookies: on a server `DIR/affinity.keys`, on a proxy of its fleet
//! `DIR/keys/affinity.keys`, one per line in hexadecimal. Every start and every proxy uses the same keys. They are
//! never printed.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use proxy::AffinityKey;
use wire::Secret;

/// The age after which a new key is made. Cookies expire sooner.
const RENEW: Duration = Duration::from_secs(90 * 24 * 3_600);
/// The number of keys that are kept besides a new one. An older key no longer opens cookies.
const KEPT: usize = 3;

/// The use of a new key, besides opening cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextKey {
    /// The key seals nothing: a proxy may not have it yet.
    OnlyOpens,
    /// The key seals cookies from now on.
    MaySeal,
}

/// The keys that seal users' cookies. The first one seals, and all of them open.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CookieKeys(Vec<[u8; 32]>);

impl CookieKeys {
    /// Reads a server's keys from a file, and creates it on the first start. Once the newest key is older than
    /// [`RENEW`], a new one is added, which lies in a file beside it and only opens cookies until it may seal them.
    pub fn load_or_renew(path: &Path, next_key: NextKey) -> io::Result<Self> {
        let next_path = path.with_extension("next");
        let mut keys = Self::load(path)?;
        let mut next = Self::load(&next_path)?;
        if keys.0.is_empty() {
            keys.0.push(drawn()?);
            keys.save(path)?;
        }
        if !next.0.is_empty() && next_key == NextKey::MaySeal {
            keys.0.splice(0..0, std::mem::take(&mut next.0));
            keys.0.truncate(KEPT);
            keys.save(path)?;
            fs::remove_file(&next_path)?;
        } else if next.0.is_empty() && is_older(path, RENEW) {
            next.0.push(drawn()?);
            next.save(&next_path)?;
        }
        keys.0.append(&mut next.0);
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

    /// Returns the fingerprint of the keys, by which a proxy says that it uses them.
    pub fn fingerprint(&self) -> model::Digest {
        identity::Fingerprint::of(self.to_text().expose().as_bytes()).digest()
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

/// Returns whether a file was written longer ago than this.
fn is_older(path: &Path, age: Duration) -> bool {
    let written = fs::symlink_metadata(path).and_then(|file| file.modified());
    written.is_ok_and(|at| SystemTime::now().duration_since(at).unwrap_or_default() > age)
}

fn drawn() -> io::Result<[u8; 32]> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    Ok(key)
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

    /// Makes a file as old as this, and one second more.
    fn age(path: &Path, age: Duration) {
        let then = SystemTime::now() - age - Duration::from_secs(1);
        fs::File::options().append(true).open(path).unwrap().set_modified(then).unwrap();
    }

    #[test]
    fn a_new_key_only_opens_cookies_until_it_may_seal_them_however_old_its_file_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("affinity.keys");
        let load = || CookieKeys::load_or_renew(&path, NextKey::OnlyOpens).unwrap().0;
        let seal = || CookieKeys::load_or_renew(&path, NextKey::MaySeal).unwrap().0;
        let first = load();
        assert_eq!((first.len(), load()), (1, first.clone()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut keys = first;
        for _ in 0..4 {
            age(&path, RENEW);
            let both = load();
            assert_eq!((&both[..keys.len()], both.len()), (&keys[..], keys.len() + 1));
            assert_eq!(load(), both, "it is added once");
            let next = path.with_extension("next");
            assert_eq!(fs::metadata(&next).unwrap().permissions().mode() & 0o777, 0o600);
            age(&next, RENEW);
            assert_eq!(load(), both, "the server may have been off all the time");
            let renewed = seal();
            assert_eq!(renewed[0], both[keys.len()], "it seals now");
            assert_eq!(renewed[1], keys[0]);
            assert_eq!((load(), seal()), (renewed.clone(), renewed.clone()));
            keys = renewed;
        }
        assert_eq!(keys.len(), KEPT);
    }

    #[test]
    fn a_damaged_file_is_an_error_that_does_not_print_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("affinity.keys");
        fs::write(&path, "secret\n").unwrap();
        let loaded = CookieKeys::load_or_renew(&path, NextKey::MaySeal);
        let error = loaded.map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("not a key") && !error.contains("secret"), "{error}");
    }
}
