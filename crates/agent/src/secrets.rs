//! Values of environment variables: kept in private files, named by keyed digests. A value never
//! comes into an error, a log, a journal or a `Debug` text; only an instance gets it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::{AppName, Digest};
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

/// One value as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    value: String,
}

/// A value that no command about what to keep has named yet stays for this time after its deploy.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// What protects a value that no release is known to use yet.
#[derive(Clone, Copy, Debug)]
enum New {
    /// Deploys that brought it are being answered; it was not here before the first of them.
    Asked { deploys: u32, at: Instant },
    /// A deploy with it was accepted.
    Accepted { at: Instant },
}

impl New {
    fn is_over(self) -> bool {
        let (Self::Asked { at, .. } | Self::Accepted { at }) = self;
        at.elapsed() >= PATIENCE
    }
}

/// The values of all apps' variables.
pub struct Secrets {
    layout: Layout,
    key: [u8; 32],
    /// Taken for every change: a value that is put again is not deleted at the same time.
    new: Mutex<BTreeMap<(AppName, Digest), New>>,
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
        Ok(Self { layout, key: bytes.try_into().map_err(wrong)?, new: Mutex::default() })
    }

    /// Keeps values; the digests that stand for them from now on. The same value of the same
    /// variable of the same app always has the same digest. Whoever puts values says with
    /// [`Secrets::accepted`] or [`Secrets::refused`] what became of their deploy.
    ///
    /// # Errors
    /// If a value cannot be written; then none of them has to be there.
    pub fn put(
        &self,
        app: &AppName,
        values: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, Digest>, SecretError> {
        let mut new = self.new.lock().unwrap_or_else(PoisonError::into_inner);
        new.retain(|_, new| !new.is_over());
        values
            .iter()
            .map(|(name, value)| {
                let digest = self.digest(app, name, value);
                let path = self.path(app, digest);
                let at = Instant::now();
                if !datadir::is_there(&path) {
                    let kept = Kept { value: value.clone() };
                    let written = datadir::private_folder(&self.folder(app))
                        .and_then(|()| datadir::write(&path, &serde_json::to_vec(&kept)?));
                    written.map_err(failed("keep", name, app))?;
                    new.insert((app.clone(), digest), New::Asked { deploys: 0, at });
                }
                if let Some(New::Asked { deploys, at: since }) = new.get_mut(&(app.clone(), digest))
                {
                    (*deploys, *since) = (*deploys + 1, at);
                } else {
                    // It may be of a release that is about to go: it is this deploy's as well.
                    new.insert((app.clone(), digest), New::Accepted { at });
                }
                Ok((name.clone(), digest))
            })
            .collect()
    }

    /// A deploy with these values was accepted: they stay until a command about what to keep names
    /// them, or leaves them out.
    pub fn accepted(&self, app: &AppName, env: &BTreeMap<String, Digest>) {
        let mut new = self.new.lock().unwrap_or_else(PoisonError::into_inner);
        for digest in env.values() {
            new.insert((app.clone(), *digest), New::Accepted { at: Instant::now() });
        }
    }

    /// A deploy with these values was refused: those that only it has brought are deleted.
    pub fn refused(&self, app: &AppName, env: &BTreeMap<String, Digest>) {
        let mut new = self.new.lock().unwrap_or_else(PoisonError::into_inner);
        for digest in env.values() {
            let key = (app.clone(), *digest);
            match new.get_mut(&key) {
                Some(New::Asked { deploys, .. }) if *deploys > 1 => *deploys -= 1,
                Some(New::Asked { .. }) => {
                    new.remove(&key);
                    if let Err(e) = fs::remove_file(self.path(app, *digest)) {
                        tracing::warn!(%app, "cannot delete the value of a refused deploy: {e}");
                    }
                }
                Some(New::Accepted { .. }) | None => {}
            }
        }
        // Refused by the system if there are others in it.
        let _ = fs::remove_dir(self.folder(app));
    }

    /// The values that stand behind the digests.
    pub(crate) fn values(
        &self,
        app: &AppName,
        env: &BTreeMap<String, Digest>,
    ) -> Result<BTreeMap<String, String>, SecretError> {
        env.iter()
            .map(|(name, digest)| {
                let kept =
                    self.read(&self.path(app, *digest)).map_err(failed("read", name, app))?;
                let missing = || SecretError::Missing { name: name.clone(), app: app.clone() };
                let kept = kept.ok_or_else(missing)?;
                if self.digest(app, name, &kept.value) != *digest {
                    return Err(missing());
                }
                Ok((name.clone(), kept.value))
            })
            .collect()
    }

    /// Deletes an app's values but these, and those of a deploy that no command has told of yet.
    pub(crate) fn keep_only(&self, app: &AppName, keep: &BTreeSet<Digest>) -> io::Result<()> {
        let mut new = self.new.lock().unwrap_or_else(PoisonError::into_inner);
        // What is named is a release's from now on; what is not named later belongs to none any more.
        new.retain(|(of, digest), new| {
            let is_named = of == app && keep.contains(digest);
            !is_named && !new.is_over()
        });
        let entries = match fs::read_dir(self.folder(app)) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let digest = name.to_str().and_then(|name| name.strip_suffix(".json")?.parse().ok());
            let Some(digest) = digest else { continue };
            if !keep.contains(&digest) && !new.contains_key(&(app.clone(), digest)) {
                fs::remove_file(entry.path())?;
            }
        }
        // Refused by the system if there are others in it.
        let _ = fs::remove_dir(self.folder(app));
        Ok(())
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
        assert_eq!(secrets.values(&app, &env).unwrap()["KEY"], "hunter2");
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
        fs::write(&path, r#"{"value":["hunter2"]}"#).unwrap();
        let damaged = secrets.values(&app, &env).unwrap_err();
        assert!(!format!("{damaged} {damaged:?} {secrets:?}").contains("hunter2"), "{damaged:?}");
        fs::remove_file(&path).unwrap();
        let missing = secrets.values(&app, &env).unwrap_err();
        assert!(missing.to_string().contains("--env KEY"), "{missing}");
    }

    #[test]
    fn a_value_lives_as_long_as_a_kept_release_names_it() {
        let data = tempfile::tempdir().unwrap();
        let app: AppName = "web".parse().unwrap();
        let secrets = Secrets::open(data.path()).unwrap();
        let keep = |env: &[&BTreeMap<String, Digest>]| {
            let named = env.iter().flat_map(|env| env.values().copied()).collect();
            secrets.keep_only(&app, &named).unwrap();
        };
        let (old, new) = (put(&secrets, &app, "old"), put(&secrets, &app, "new"));
        secrets.accepted(&app, &old);
        keep(&[&old]);
        assert!(secrets.values(&app, &new).is_ok(), "its deploy is still being asked");
        // Another release of the same value fails, goes, and the live one keeps the value.
        assert_eq!(put(&secrets, &app, "old"), old);
        secrets.accepted(&app, &old);
        secrets.accepted(&app, &new);
        keep(&[&old, &new]);
        keep(&[&old]);
        assert!(secrets.values(&app, &old).is_ok());
        assert!(secrets.values(&app, &new).is_err());
        keep(&[]);
        assert!(secrets.values(&app, &old).is_err());
        assert!(!secrets.folder(&app).exists());
    }

    #[test]
    fn what_a_refused_deploy_brought_goes_unless_another_brought_it_too() {
        let data = tempfile::tempdir().unwrap();
        let app: AppName = "web".parse().unwrap();
        let secrets = Secrets::open(data.path()).unwrap();
        let lives = |env: &BTreeMap<String, Digest>| secrets.values(&app, env).is_ok();
        let first = put(&secrets, &app, "one");
        secrets.refused(&app, &first);
        assert!(!lives(&first) && !secrets.folder(&app).exists());
        // Two at once: one is refused, then the other.
        put(&secrets, &app, "one");
        put(&secrets, &app, "one");
        secrets.refused(&app, &first);
        assert!(lives(&first));
        secrets.refused(&app, &first);
        assert!(!lives(&first));
        // One is accepted, the other refused, in either order.
        put(&secrets, &app, "one");
        put(&secrets, &app, "one");
        secrets.accepted(&app, &first);
        secrets.refused(&app, &first);
        assert!(lives(&first));
        // A release has it already.
        secrets.keep_only(&app, &first.values().copied().collect()).unwrap();
        put(&secrets, &app, "one");
        secrets.refused(&app, &first);
        assert!(lives(&first));
    }

    #[test]
    fn a_value_that_an_earlier_version_kept_is_read() {
        let data = tempfile::tempdir().unwrap();
        let app: AppName = "web".parse().unwrap();
        let secrets = Secrets::open(data.path()).unwrap();
        let env = put(&secrets, &app, "hunter2");
        fs::write(secrets.path(&app, env["KEY"]), r#"{"value":"hunter2","used_by":[1,2]}"#)
            .unwrap();
        assert_eq!(secrets.values(&app, &env).unwrap()["KEY"], "hunter2");
    }
}
