//! The values of environment variables, stored in private files that are named by keyed digests. A value
//! never gets into an error, a log, a journal or a `Debug` text. Only an instance gets it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use model::{AppName, Digest, Keep, RolloutId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::folders::{apps_in, delete_unneeded, file_of, is_younger};
use crate::layout::Layout;

/// The reason why a value could not be stored or found. It contains names only.
#[derive(Debug, Error)]
pub enum SecretError {
    /// A file operation failed.
    #[error("cannot {act} the value of {name} for {app}")]
    Io {
        /// The act that failed.
        act: &'static str,
        /// The name of the variable.
        name: String,
        /// The app.
        app: AppName,
        /// The cause.
        source: io::Error,
    },
    /// The store has no such value.
    #[error(
        "cannot find the value of {name} for {app}\n\
         hint: deploy again with `--env {name}` or `--env-file`"
    )]
    Missing {
        /// The name of the variable.
        name: String,
        /// The app.
        app: AppName,
    },
}

/// The stored form of a value.
#[derive(Serialize, Deserialize)]
struct Kept {
    value: String,
    /// The digest of the value by this store's key, if the value is named by a digest of another store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    own: Option<Digest>,
}

/// The longest time for which the values of a deploy are protected, whatever its outcome.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// The protection of a value of a deploy, until a [`Keep`] command takes the deploy into account.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// The number of deploys with the value that are not answered yet.
    asked: u32,
    /// True if the value was not stored before the first of these deploys.
    is_new: bool,
    /// The last accepted rollout with the value.
    accepted: Option<RolloutId>,
    /// The time at which the last deploy put the value.
    at: Instant,
}

impl Mark {
    fn is_over(&self) -> bool {
        self.at.elapsed() >= PATIENCE
    }

    /// Returns whether control knew all deploys with the value when `last` was the app's last rollout.
    fn is_known_at(&self, last: RolloutId) -> bool {
        self.asked == 0 && self.accepted.is_none_or(|accepted| accepted <= last)
    }
}

/// The values of all apps' variables.
pub struct Secrets {
    layout: Layout,
    key: [u8; 32],
    marks: Mutex<BTreeMap<(AppName, Digest), Mark>>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

impl Secrets {
    /// Opens the values of a data folder. Creates the key if there is none.
    ///
    /// # Errors
    /// If the key cannot be read or created, or is not 32 bytes long.
    pub(crate) fn open(data: &Path) -> io::Result<Self> {
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
        Ok(Self { layout, key: bytes.try_into().map_err(wrong)?, marks: Mutex::default() })
    }

    /// Stores values, and returns the digests that refer to them from now on. A value of a variable of an app
    /// always has the same digest. The caller then reports the outcome of the deploy with
    /// [`Secrets::accepted`] or [`Secrets::refused`].
    ///
    /// # Errors
    /// If a value cannot be written. Then some or all of the values may be missing.
    pub fn put(
        &self,
        app: &AppName,
        values: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, Digest>, SecretError> {
        let mut marks = self.marks();
        marks.retain(|_, mark| !mark.is_over());
        values
            .iter()
            .map(|(name, value)| {
                let digest = self.digest(app, name, value);
                let path = self.path(app, digest);
                let is_new = !datadir::is_there(&path);
                if is_new {
                    let kept = Kept { value: value.clone(), own: None };
                    let written = datadir::private_folder(&self.folder(app))
                        .and_then(|()| datadir::write(&path, &serde_json::to_vec(&kept)?));
                    written.map_err(failed("keep", name, app))?;
                }
                let at = Instant::now();
                let unmarked = Mark { asked: 0, is_new, accepted: None, at };
                let mark = marks.entry((app.clone(), digest)).or_insert(unmarked);
                (mark.asked, mark.at) = (mark.asked + 1, at);
                Ok((name.clone(), digest))
            })
            .collect()
    }

    /// Notes that a deploy with these values became this rollout, or needed no rollout. The values stay until
    /// a [`Keep`] command that takes the rollout into account leaves them out.
    pub fn accepted(
        &self,
        app: &AppName,
        env: &BTreeMap<String, Digest>,
        rollout: Option<RolloutId>,
    ) {
        let mut marks = self.marks();
        for digest in env.values() {
            if let Some(mark) = marks.get_mut(&(app.clone(), *digest)) {
                mark.asked = mark.asked.saturating_sub(1);
                mark.is_new = false;
                mark.accepted = mark.accepted.max(rollout);
            }
        }
    }

    /// Notes that a deploy with these values was refused. Deletes the values that only this deploy has put.
    pub fn refused(&self, app: &AppName, env: &BTreeMap<String, Digest>) {
        let mut marks = self.marks();
        for digest in env.values() {
            let key = (app.clone(), *digest);
            let Some(mark) = marks.get_mut(&key) else { continue };
            mark.asked = mark.asked.saturating_sub(1);
            if mark.asked > 0 || mark.accepted.is_some() {
                continue;
            }
            if mark.is_new
                && let Err(e) = fs::remove_file(self.path(app, *digest))
            {
                tracing::warn!(%app, "cannot delete the value of a refused deploy: {e}");
            }
            marks.remove(&key);
        }
        // The system refuses to remove a folder that is not empty.
        let _ = fs::remove_dir(self.folder(app));
    }

    /// Returns the values for these digests.
    ///
    /// # Errors
    /// If a value is missing or cannot be read.
    pub fn values(
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
                if self.digest(app, name, &kept.value) != kept.own.unwrap_or(*digest) {
                    return Err(missing());
                }
                Ok((name.clone(), kept.value))
            })
            .collect()
    }

    /// Stores a value under the digest by which another store names it. This store cannot check that digest,
    /// since each store has a key of its own.
    ///
    /// # Errors
    /// If the value cannot be written.
    pub fn put_named(
        &self,
        app: &AppName,
        name: &str,
        digest: Digest,
        value: &str,
    ) -> Result<(), SecretError> {
        let kept = Kept { value: value.to_owned(), own: Some(self.digest(app, name, value)) };
        // While a value is put, none is deleted.
        let _marks = self.marks();
        datadir::private_folder(&self.folder(app))
            .and_then(|()| datadir::write(&self.path(app, digest), &serde_json::to_vec(&kept)?))
            .map_err(failed("keep", name, app))
    }

    /// Returns those of these values that are missing or damaged.
    pub fn lacking(
        &self,
        app: &AppName,
        env: &BTreeMap<String, Digest>,
    ) -> BTreeMap<String, Digest> {
        let lacks = |(name, digest): &(&String, &Digest)| {
            self.values(app, &BTreeMap::from([((*name).clone(), **digest)])).is_err()
        };
        env.iter().filter(lacks).map(|(name, digest)| (name.clone(), *digest)).collect()
    }

    /// Deletes the values of an app that this command does not keep. Values of a deploy that the command does
    /// not take into account stay.
    ///
    /// # Errors
    /// If the folder cannot be read or a file cannot be deleted.
    pub fn keep_only(&self, keep: &Keep) -> io::Result<()> {
        let mut marks = self.marks();
        marks.retain(|(of, _), mark| {
            *of != keep.app || !(mark.is_over() || mark.is_known_at(keep.last_rollout))
        });
        delete_unneeded(&self.folder(&keep.app), |digest| {
            Ok(keep.env.contains(&digest) || marks.contains_key(&(keep.app.clone(), digest)))
        })
    }

    /// Deletes an app's values that are neither in use nor younger than `age`. No [`Keep`] command comes for
    /// an app that never existed, or for a deploy during which the server ended early.
    pub(crate) fn collect(
        &self,
        app: &AppName,
        in_use: &BTreeSet<Digest>,
        age: Duration,
    ) -> io::Result<()> {
        let (mut marks, folder) = (self.marks(), self.folder(app));
        marks.retain(|_, mark| !mark.is_over());
        delete_unneeded(&folder, |digest| {
            let is_named = in_use.contains(&digest) || marks.contains_key(&(app.clone(), digest));
            Ok(is_named || is_younger(&folder, digest, age)?)
        })
    }

    /// Returns the apps that have values.
    pub(crate) fn apps(&self) -> io::Result<BTreeSet<AppName>> {
        apps_in(&self.layout.secrets())
    }

    /// Locks the marks. Every change takes this lock, so that no value is deleted while it is put again.
    fn marks(&self) -> MutexGuard<'_, BTreeMap<(AppName, Digest), Mark>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn folder(&self, app: &AppName) -> PathBuf {
        self.layout.secrets().join(app.as_str())
    }

    fn path(&self, app: &AppName, digest: Digest) -> PathBuf {
        file_of(&self.folder(app), digest)
    }

    /// Returns the keyed digest that names a value of a variable of an app.
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
            // The error of the parser could quote the value, so it is left out.
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

    /// Creates control's command after the rollout `last`, the app's last one.
    fn keep(app: &AppName, last: u32, env: &[&BTreeMap<String, Digest>]) -> Keep {
        Keep {
            app: app.clone(),
            releases: Vec::new(),
            env: env.iter().flat_map(|env| env.values().copied()).collect(),
            instances: Vec::new(),
            forget_state: None,
            last_rollout: RolloutId(last),
        }
    }

    #[test]
    fn a_value_lives_as_long_as_a_kept_release_names_it() {
        let data = tempfile::tempdir().unwrap();
        let app: AppName = "web".parse().unwrap();
        let secrets = Secrets::open(data.path()).unwrap();
        let says = |last, env: &[&BTreeMap<String, Digest>]| {
            secrets.keep_only(&keep(&app, last, env)).unwrap();
        };
        let lives = |env: &BTreeMap<String, Digest>| secrets.values(&app, env).is_ok();
        let (old, new) = (put(&secrets, &app, "old"), put(&secrets, &app, "new"));
        secrets.accepted(&app, &old, Some(RolloutId(1)));
        says(1, &[&old]);
        assert!(lives(&new), "its deploy is still being asked");
        secrets.accepted(&app, &new, Some(RolloutId(2)));
        says(1, &[&old]);
        assert!(lives(&new), "this was said before its rollout");
        says(2, &[&old]);
        assert!(lives(&old) && !lives(&new), "its rollout has failed by now");
        // The value of a release that is being removed is put again meanwhile.
        assert_eq!(put(&secrets, &app, "old"), old);
        says(2, &[&old]);
        says(2, &[]);
        secrets.accepted(&app, &old, Some(RolloutId(3)));
        says(2, &[]);
        assert!(lives(&old));
        says(3, &[&old]);
        says(3, &[]);
        assert!(!lives(&old) && !secrets.folder(&app).exists());
    }

    /// Control may report the rollout and its failure before the deploy is answered.
    #[test]
    fn no_value_of_a_removed_app_is_left_whenever_its_deploys_are_answered() {
        let data = tempfile::tempdir().unwrap();
        let app: AppName = "web".parse().unwrap();
        let secrets = Secrets::open(data.path()).unwrap();
        let first = put(&secrets, &app, "one");
        secrets.keep_only(&keep(&app, 1, &[&first])).unwrap();
        secrets.keep_only(&keep(&app, 1, &[])).unwrap();
        secrets.accepted(&app, &first, Some(RolloutId(1)));
        assert_eq!(put(&secrets, &app, "one"), first);
        secrets.accepted(&app, &first, None);
        secrets.keep_only(&keep(&app, 1, &[])).unwrap();
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
        // Two deploys at the same time: one is refused, then the other.
        put(&secrets, &app, "one");
        put(&secrets, &app, "one");
        secrets.refused(&app, &first);
        assert!(lives(&first));
        secrets.refused(&app, &first);
        assert!(!lives(&first));
        // Of two deploys, one is accepted and the other refused, in either order.
        for accepted_first in [true, false] {
            put(&secrets, &app, "one");
            put(&secrets, &app, "one");
            if accepted_first {
                secrets.accepted(&app, &first, Some(RolloutId(1)));
            }
            secrets.refused(&app, &first);
            if !accepted_first {
                secrets.accepted(&app, &first, Some(RolloutId(1)));
            }
            assert!(lives(&first));
            // A release has the value already.
            secrets.keep_only(&keep(&app, 1, &[&first])).unwrap();
            put(&secrets, &app, "one");
            secrets.refused(&app, &first);
            assert!(lives(&first));
            secrets.keep_only(&keep(&app, 1, &[])).unwrap();
            assert!(!lives(&first));
        }
    }

    /// The digests of the server's values mean nothing to the store of another host, which has another key.
    #[test]
    fn a_value_of_another_store_is_kept_under_its_name_and_checked() {
        let [server, host] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let app: AppName = "web".parse().unwrap();
        let env = put(&Secrets::open(server.path()).unwrap(), &app, "hunter2");
        let secrets = Secrets::open(host.path()).unwrap();
        assert_eq!(secrets.lacking(&app, &env), env);
        secrets.put_named(&app, "KEY", env["KEY"], "hunter2").unwrap();
        assert!(secrets.lacking(&app, &env).is_empty());
        assert_eq!(secrets.values(&app, &env).unwrap()["KEY"], "hunter2");
        let path = secrets.path(&app, env["KEY"]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        for damaged in [text.replace("hunter2", "hunter3"), text[..text.len() / 2].to_owned()] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(secrets.lacking(&app, &env), env, "it has to be fetched again");
            assert!(secrets.values(&app, &env).is_err());
        }
        // Under another variable's name it is another value.
        secrets.put_named(&app, "KEY", env["KEY"], "hunter2").unwrap();
        let other = BTreeMap::from([("OTHER".to_owned(), env["KEY"])]);
        assert!(secrets.values(&app, &other).is_err());
        secrets.keep_only(&keep(&app, 1, &[&env])).unwrap();
        assert!(secrets.lacking(&app, &env).is_empty());
        secrets.keep_only(&keep(&app, 1, &[])).unwrap();
        assert!(!secrets.folder(&app).exists());
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
