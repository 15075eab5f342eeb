//! `DIR/affinity.keys`: the keys that seal users' cookies, newest first, one per line in hexadecimal. Every
//! start and every proxy on this data folder uses the same keys. They are never printed.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use proxy::AffinityKey;

/// The age after which the next start adds a new key. Cookies expire sooner.
const RENEW: Duration = Duration::from_secs(90 * 24 * 3_600);
/// The number of keys that are kept. An older key no longer opens cookies.
const KEPT: usize = 2;

/// Returns the keys, newest first. Creates the file on the first start, and adds a new key once the newest is
/// older than [`RENEW`].
pub fn load_or_create(path: &Path) -> io::Result<Vec<AffinityKey>> {
    let text = match datadir::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let mut keys = text.lines().map(parse).collect::<io::Result<Vec<[u8; 32]>>>()?;
    let age = fs::symlink_metadata(path)
        .and_then(|file| file.modified())
        .map(|made| SystemTime::now().duration_since(made).unwrap_or_default());
    if keys.is_empty() || age.is_ok_and(|age| age > RENEW) {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        keys.insert(0, key);
        keys.truncate(KEPT);
        save(path, &keys)?;
    }
    Ok(keys.into_iter().map(AffinityKey::new).collect())
}

fn parse(line: &str) -> io::Result<[u8; 32]> {
    let digest: Result<model::Digest, _> = line.trim().parse();
    digest.map(|digest| *digest.as_bytes()).map_err(|_| {
        let why = "a line of it is not a key; delete the file to get new ones";
        io::Error::new(io::ErrorKind::InvalidData, why)
    })
}

fn save(path: &Path, keys: &[[u8; 32]]) -> io::Result<()> {
    let line = |key: &[u8; 32]| format!("{}\n", model::Digest::from_bytes(*key));
    datadir::write(path, keys.iter().map(line).collect::<String>().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn keys_are_made_once_renewed_in_time_and_only_their_owner_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("affinity.keys");
        assert_eq!(load_or_create(&path).unwrap().len(), 1);
        let first = fs::read_to_string(&path).unwrap();
        load_or_create(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), first);
        let old = SystemTime::now() - RENEW - Duration::from_secs(1);
        fs::File::options().append(true).open(&path).unwrap().set_modified(old).unwrap();
        assert_eq!(load_or_create(&path).unwrap().len(), 2);
        assert!(fs::read_to_string(&path).unwrap().ends_with(&first));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "secret\n").unwrap();
        let error = load_or_create(&path).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}
