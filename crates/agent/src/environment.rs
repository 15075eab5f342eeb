//! The environment variables and the state folder of an instance. Only a short list of the server's own
//! variables is passed on.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};

use model::{Address, AppName, Launch, Variable};

use crate::identity::{Access, Identity};
use crate::layout::InstanceLayout;

/// The server's variables that are passed on, besides those that start with `LC_`.
const HANDED_DOWN: [&str; 6] = ["PATH", "HOME", "LANG", "TZ", "TMPDIR", "USER"];
/// The PATH of an instance if the server has none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Returns the whole environment of an instance: variables passed on, then the app's own, then segue's.
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
    let run = &launch.run;
    // If the machine does not have the user, the start reports that.
    let identity = Identity::of(run.user.as_deref(), run.group.as_deref());
    if let Some(user) = identity.ok().and_then(|identity| identity.user) {
        env.insert("HOME".to_owned(), user.dir.display().to_string());
        env.insert("USER".to_owned(), user.name);
    }
    env.extend(own);
    let mut set = |variable: Variable, value: String| env.insert(variable.name().to_owned(), value);
    match launch.serving.as_ref().map(|serving| &serving.address) {
        Some(Address::Tcp(address)) => {
            set(Variable::Host, address.ip().to_string());
            set(Variable::Port, address.port().to_string());
        }
        Some(Address::Unix(path)) => {
            set(Variable::Socket, path.clone());
        }
        None => {}
    }
    let health_address = launch.serving.as_ref().and_then(|it| it.health_address.as_ref());
    if let Some(Address::Tcp(address)) = health_address {
        set(Variable::HealthPort, address.port().to_string());
    }
    if let Some(token) = launch.token {
        set(Variable::LeaseToken, token.0.to_string());
    }
    set(Variable::App, launch.id.app.to_string());
    set(Variable::Release, launch.label.to_string());
    set(Variable::Instance, launch.id.to_string());
    set(Variable::StateDir, state.display().to_string());
    env
}

fn is_handed_down(name: &str) -> bool {
    HANDED_DOWN.contains(&name) || name.starts_with("LC_")
}

/// Creates the folder that outlives releases. Only the app's user can access it, and its group if the app
/// names one. A folder that exists stays as it is.
pub(crate) fn make_state_folder(path: &Path, access: Access) -> io::Result<()> {
    if datadir::is_there(path) {
        return datadir::private_folder(path);
    }
    datadir::private_folder(path)?;
    lchown(path, access.uid, access.gid)?;
    datadir::set_mode(path, access.state())
}

/// Returns the apps whose state folder is not empty, with the paths of these folders. They may include
/// removed apps.
///
/// # Errors
/// If the folders cannot be listed.
pub fn states(data: &Path) -> io::Result<BTreeMap<AppName, PathBuf>> {
    let layout = InstanceLayout::new(data);
    let with_state = |app: AppName| {
        let state = layout.state(&app);
        let holds_something = fs::read_dir(&state).is_ok_and(|mut found| found.next().is_some());
        holds_something.then_some((app, state))
    };
    Ok(store::apps_in(&layout.apps())?.into_iter().filter_map(with_state).collect())
}
