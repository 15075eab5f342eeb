//! Values of environment variables: kept in private files, named by keyed digests. A value never
//! comes into an error, a log, a journal or a `Debug` text; only an instance gets it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use model::{AppName, Digest, ReleaseNo};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::layout::Layout;

/// Why a value could not be kept or found. Holds names only.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The disk did not do what it should.
    #[error("cannot {act} the value of {name} for {app}")]
    Io {
        /// What we were doing.
        act: &'static str,
        /// The variable.
        name: String,
        /// The app.
        app: AppName,
        /// Why not.
        source: io::Error,
    },
    /// It is not there.
    #[error(
        "cannot find the value of {name} for {app}\n\
         hint: deploy again with `--env {name}` or `--env-file`"
    )]
    Missing {
        /// The variable.
        name: String,
        /// The app.
        app: AppName,
    },
}

/// One value, and which releases have been started with it.
#[derive(Serialize, Deserialize)]
struct Kept {
    value: String,
    used_by: BTreeSet<u32>,
}

/// The values of all apps' variables.
pub struct Secrets {
    layout: Layout,
    key: [u8; 32],
    /// Taken for every change: a value that is put again is not deleted at the same time.
    changes: Mutex<()>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

impl Secrets {
    /// The store in a data folder; its key is made if there is none.
    ///
    /// # Errors
    /// If the key cannot be read or made, or is not 32 bytes long.
    pub fn open(data: &Path) -> io::Result<Self> {
        let layout = Layout::new(data);
        datadir::private_folder(&layout.secrets())?;
        for app in fs::read_dir(layout.secrets())? {
            datadir::clear_unfinished(&app?.path())?;
        }
        let path = layout.secrets_key();
        let bytes = match datadir::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let mut key = vec![0; 32];
                getrandom::fill(&mut key).map_err(io::Error::other)?;
                datadir::write(&path, &key)?;
                key
            }
            Err(e) => return Err(e),
        };
        let wrong = |_| io::Error::new(io::ErrorKind::InvalidData, "env.key is not 32 bytes long");
        Ok(Self { layout, key: bytes.try_into().map_err(wrong)?, changes: Mutex::new(()) })
    }

    /// Keeps values; the digests that stand for them from now on. The same value of the same
    /// variable of the same app always has the same digest.
    ///
    /// # Errors
    /// If a value cannot be written; then none of them has to be there.
    pub fn put(
        &self,
        app: &AppName,
        values: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, Digest>, SecretError> {
        let _guard = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        values
            .iter()
            .map(|(name, value)| {
                let digest = self.digest(app, name, value);
                // Put again means: about to be used by a release that has not started yet.
                let kept = Kept { value: value.clone(), used_by: BTreeSet::new() };
                let written = datadir::private_folder(&self.folder(app))
                    .and_then(|()| self.write(app, digest, &kept));
                written.map_err(failed("keep", name, app))?;
                Ok((name.clone(), digest))
            })
            .collect()
    }

    /// The values that stand behind the digests, for an instance of this release.
    pub(crate) fn values(
        &self,
        app: &AppName,
        release: ReleaseNo,
        env: &BTreeMap<String, Digest>,
    ) -> Result<BTreeMap<String, String>, SecretError> {
        let _guard = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        env.iter()
            .map(|(name, digest)| {
                let kept =
                    self.read(&self.path(app, *digest)).map_err(failed("read", name, app))?;
                let missing = || SecretError::Missing { name: name.clone(), app: app.clone() };
                let mut kept = kept.ok_or_else(missing)?;
                if self.digest(app, name, &kept.value) != *digest {
                    return Err(missing());
                }
                if kept.used_by.insert(release.0) {
                    self.write(app, *digest, &kept).map_err(failed("mark", name, app))?;
                }
                Ok((name.clone(), kept.value))
            })
            .collect()
    }

    /// Deletes the values that only other releases have used. What no release has used yet stays:
    /// it belongs to one that is about to start.
    pub(crate) fn keep_only(&self, app: &AppName, releases: &BTreeSet<u32>) -> io::Result<()> {
        let _guard = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = match fs::read_dir(self.folder(app)) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        };
        for entry in entries {
            let path = entry?.path();
            let Some(kept) = self.read(&path)? else { continue };
            if !kept.used_by.is_empty() && kept.used_by.is_disjoint(releases) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Deletes all values of an app.
    pub(crate) fn forget(&self, app: &AppName) -> io::Result<()> {
        let _guard = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        match fs::remove_dir_all(self.folder(app)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn folder(&self, app: &AppName) -> PathBuf {
        self.layout.secrets().join(app.as_str())
    }

    fn path(&self, app: &AppName, digest: Digest) -> PathBuf {
        self.folder(app).join(format!("{digest}.json"))
    }

    /// What stands for a value of a variable of an app: a keyed digest.
    pub fn digest(&self, app: &AppName, name: &str, value: &str) -> Digest {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        for part in [app.as_str(), name, value] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        Digest::from_bytes(*hasher.finalize().as_bytes())
    }

    fn read(&self, path: &Path) -> io::Result<Option<Kept>> {
        match datadir::read(path) {
            // The parser's own words could quote the value.
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the file is damaged")),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn write(&self, app: &AppName, digest: Digest, kept: &Kept) -> io::Result<()> {
        datadir::write(&self.path(app, digest), &serde_json::to_vec(kept)?)
    }
}

fn failed(act: &'static str, name: &str, app: &AppName) -> impl FnOnce(io::Error) -> SecretError {
    let (name, app) = (name.to_owned(), app.clone());
    move |source| SecretError::Io { act, name, app, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn put(secrets: &Secrets, app: &AppName, value: &str) -> BTreeMap<String, Digest> {
        secrets.put(app, &BTreeMap::from([("KEY".to_owned(), value.to_owned())])).unwrap()
    }

    #[test]
    fn values_come_back_by_their_digest_from_private_files() {
        let data = tempfile::tempdir().unwrap();
        let app: AppName = "web".parse().unwrap();
        let env = put(&Secrets::open(data.path()).unwrap(), &app, "hunter2");
        let secrets = Secrets::open(data.path()).unwrap();
        assert_eq!(put(&secrets, &app, "hunter2"), env, "the key outlives the process");
        assert_ne!(put(&secrets, &"other".parse().unwrap(), "hunter2"), env);
        assert_eq!(secrets.values(&app, ReleaseNo(1), &env).unwrap()["KEY"], "hunter2");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&secrets.path(&app, env["KEY"])), 0o600);
        assert_eq!(mode(&secrets.folder(&app)), 0o700);
        assert_eq!(mode(&data.path().join("env.key")), 0o600);
    }

    #[test]
    fn a_missing_or_damaged_value_is_named_but_never_shown() {
        let data = tempfile::tempdir().unwrap();
        let app: AppName = "web".parse().unwrap();
        let secrets = Secrets::open(data.path()).unwrap();
        let env = put(&secrets, &app, "hunter2");
        let path = secrets.path(&app, env["KEY"]);
        fs::write(&path, r#"{"value":"hunter2","used_by":"hunter2"}"#).unwrap();
        let damaged = secrets.values(&app, ReleaseNo(1), &env).unwrap_err();
        assert!(!format!("{damaged} {damaged:?} {secrets:?}").contains("hunter2"), "{damaged:?}");
        fs::remove_file(&path).unwrap();
        let missing = secrets.values(&app, ReleaseNo(1), &env).unwrap_err();
        assert!(missing.to_string().contains("--env KEY"), "{missing}");
    }

    #[test]
    fn a_value_lives_as_long_as_a_kept_release_used_it_or_one_is_about_to() {
        let data = tempfile::tempdir().unwrap();
        let app: AppName = "web".parse().unwrap();
        let secrets = Secrets::open(data.path()).unwrap();
        let (old, new) = (put(&secrets, &app, "old"), put(&secrets, &app, "new"));
        secrets.values(&app, ReleaseNo(1), &old).unwrap();
        secrets.keep_only(&app, &[1].into()).unwrap();
        secrets.values(&app, ReleaseNo(1), &old).unwrap();
        put(&secrets, &app, "old");
        secrets.keep_only(&app, &[3].into()).unwrap();
        secrets.values(&app, ReleaseNo(2), &old).unwrap();
        secrets.keep_only(&app, &[3].into()).unwrap();
        assert!(secrets.values(&app, ReleaseNo(2), &old).is_err());
        secrets.values(&app, ReleaseNo(3), &new).unwrap();
    }
}
