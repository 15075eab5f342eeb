//! What an instance finds around it: its environment and its state folder. Hands down nothing of the
//! server's own environment but a short list of names.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::Path;

use model::{Address, Launch, Run};
use nix::unistd::{Group, Uid, User};

/// Names that are handed down, besides those that start with `LC_`.
const HANDED_DOWN: [&str; 6] = ["PATH", "HOME", "LANG", "TZ", "TMPDIR", "USER"];
/// Where commands are looked for if the server has no PATH.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The whole environment of an instance: handed down, then the app's own, then segue's.
pub(crate) fn of(
    launch: &Launch,
    state: &Path,
    own: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut env = BTreeMap::from([("PATH".to_owned(), PATH.to_owned())]);
    env.extend(std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok().filter(|name| is_handed_down(name))?;
        Some((name, value.into_string().ok()?))
    }));
    if let Some(user) = other_user(&launch.run) {
        env.insert("HOME".to_owned(), user.dir.display().to_string());
        env.insert("USER".to_owned(), user.name);
    }
    env.extend(own);
    let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
    match &launch.address {
        Address::Tcp(address) => {
            set("HOST", address.ip().to_string());
            set("PORT", address.port().to_string());
        }
        Address::Unix(path) => {
            set("SEGUE_SOCKET", path.clone());
        }
    }
    set("SEGUE_APP", launch.id.app.to_string());
    set("SEGUE_RELEASE", launch.label.to_string());
    set("SEGUE_INSTANCE", launch.id.to_string());
    set("SEGUE_STATE_DIR", state.display().to_string());
    env
}

fn is_handed_down(name: &str) -> bool {
    HANDED_DOWN.contains(&name) || name.starts_with("LC_")
}

/// The user to run as, if it is one this machine knows; if it does not, the start will say so.
fn other_user(run: &Run) -> Option<User> {
    let name = run.user.as_deref()?;
    let found = match name.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(name),
    };
    found.ok().flatten()
}

/// Makes the folder that outlives releases, and gives it to the user the app runs as.
pub(crate) fn make_state_folder(path: &Path, run: &Run) -> io::Result<()> {
    let new = !path.exists();
    fs::DirBuilder::new().recursive(true).mode(0o750).create(path)?;
    if !new || !Uid::effective().is_root() {
        return Ok(());
    }
    let user = other_user(run);
    let group = run.group.as_deref().and_then(|name| Group::from_name(name).ok().flatten());
    let gid = group.map(|group| group.gid).or(user.as_ref().map(|user| user.gid));
    chown(path, user.map(|user| user.uid.as_raw()), gid.map(|gid| gid.as_raw()))
}
