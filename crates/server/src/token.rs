//! The token file, created on the first start and readable by its owner only.

use std::io;
use std::path::Path;

use wire::Secret;

/// Reads `dir/token`, or creates the file with 256 random bits. The caller holds the lock on `dir`.
///
/// # Errors
/// If the file cannot be read or written, or holds no token.
pub fn load_or_create_token(dir: &Path) -> io::Result<Secret> {
    let path = dir.join("token");
    match datadir::read_to_string(&path) {
        Ok(text) => {
            let token = text.trim();
            if token.len() < 32 || !token.bytes().all(|b| b.is_ascii_graphic()) {
                let why = "it holds no token of 32 visible characters or more; delete it to get a \
                           new one";
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            Ok(Secret::new(token))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(&path),
        Err(error) => Err(error),
    }
}

fn create(path: &Path) -> io::Result<Secret> {
    let mut bits = [0_u8; 32];
    getrandom::fill(&mut bits).map_err(io::Error::other)?;
    let token: String = bits.iter().map(|byte| format!("{byte:02x}")).collect();
    datadir::write(path, format!("{token}\n").as_bytes())?;
    Ok(Secret::new(token))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_token_is_made_once_and_only_the_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let token = load_or_create_token(dir.path()).unwrap();
        assert_eq!(token.expose().len(), 64);
        assert_eq!(load_or_create_token(dir.path()).unwrap(), token);
        let mode = fs::metadata(dir.path().join("token")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing half-written stays");
    }

    #[test]
    fn a_file_that_holds_no_token_is_refused_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("token"), "\n").unwrap();
        assert!(load_or_create_token(dir.path()).is_err());
        assert_eq!(fs::read(dir.path().join("token")).unwrap(), b"\n");
    }
}
