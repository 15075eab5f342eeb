//! The folder of an instance's own unix socket. The folder belongs to the app's user and is closed to
//! everybody else (0700). It lies in a folder that only segue writes to. Therefore no other user can bind the
//! socket's name or connect to the socket, and the owner of the socket need not be checked.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, lchown};
use std::path::{Path, PathBuf};

use model::{InstanceId, SocketFolders};

use crate::identity::Access;
use crate::layout::InstanceLayout;
use crate::runfolder::RunFolder;

/// The number of attempts to create a folder that others delete meanwhile.
const TRIES: u32 = 100;
/// The variable that names the runtime folder of a user other than root. The folder exists while the user is
/// logged in.
const RUNTIME: &str = "XDG_RUNTIME_DIR";

/// Returns the folder for the sockets of this data folder's instances. It lies in the data folder. If that
/// makes the path too long, it lies in `/run` (as root) or `$XDG_RUNTIME_DIR`, under a name that no other
/// data folder has.
pub(crate) fn socket_folders(data: &Path) -> SocketFolders {
    let data = std::path::absolute(data).unwrap_or_else(|_| data.to_path_buf());
    let layout = InstanceLayout::new(&data);
    let own = layout.sockets();
    let (other, obstacle) = match other(&data) {
        Ok(other) => (other, None),
        // The folder gets a name all the same, so that an instance that cannot be started reports the reason.
        Err(why) => (within(Path::new("/run"), &data), Some(why)),
    };
    let text = |path: &Path| path.to_str().map(str::to_owned);
    // A path that is not valid UTF-8 counts as too long.
    let own = text(&own).unwrap_or_else(|| "/".repeat(model::Address::MOST_PATH));
    SocketFolders::new(own, text(&other).unwrap_or_default(), obstacle)
}

fn other(data: &Path) -> Result<PathBuf, String> {
    if nix::unistd::Uid::effective().is_root() {
        return Ok(within(Path::new("/run"), data));
    }
    let long = format!("the path of {} is too long for unix sockets", data.display());
    let named = std::env::var_os(RUNTIME).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = within(&named.ok_or_else(|| format!("{long}, and {RUNTIME} is not set"))?, data);
    let fits = folder.to_str().is_some_and(SocketFolders::fits_any);
    if fits { Ok(folder) } else { Err(format!("{long}, and so is that of {RUNTIME}")) }
}

fn within(folder: &Path, data: &Path) -> PathBuf {
    let hash = blake3::hash(data.as_os_str().as_encoded_bytes()).to_hex();
    folder.join(format!("segue-{}", &hash[..16]))
}

/// Creates the folder of this socket anew, so that it contains nothing of an earlier attempt. Does not do so
/// if another process is starting the instance or has started it.
pub(crate) fn make(
    data: &Path,
    run: &RunFolder,
    id: &InstanceId,
    socket: &Path,
    access: Access,
) -> Result<(), String> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |e: io::Error| format!("cannot make {path} for its socket: {e}")
    };
    let folder = expected(data, id, socket)?;
    let Some(_lock) = run.try_lock().map_err(failed(run.path()))? else { return Ok(()) };
    if run.is_used() {
        return Ok(());
    }
    // From here on, a later cleanup finds the folder.
    run.record_socket_folder(&folder).map_err(failed(&folder))?;
    delete(&folder).map_err(failed(&folder))?;
    create(&folder).map_err(failed(&folder))?;
    lchown(&folder, access.uid, access.gid).map_err(failed(&folder))
}

fn create(folder: &Path) -> io::Result<()> {
    let mut tries = 0;
    loop {
        if let Some(all) = folder.parent() {
            datadir::passable_folder(all)?;
            datadir::check_folder(all).map_err(io::Error::other)?;
        }
        match fs::DirBuilder::new().mode(0o700).create(folder) {
            // The last instance beside this one has just ended, and its cleanup has removed the common
            // folder.
            Err(e) if e.kind() == io::ErrorKind::NotFound && tries < TRIES => tries += 1,
            made => return made.and_then(|()| datadir::set_mode(folder, 0o700)),
        }
    }
}

/// Deletes the folder with everything that the app has put into it. Follows no links.
fn delete(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Returns the folder, if it lies where this server has its socket folders. Nobody else may choose a folder
/// whose owner is changed or that is deleted.
fn expected(data: &Path, id: &InstanceId, socket: &Path) -> Result<PathBuf, String> {
    let folder = socket.parent().filter(|_| socket.ends_with(SocketFolders::NAME));
    let all = folder.filter(|folder| folder.ends_with(id.to_string())).and_then(Path::parent);
    let known = [Some(InstanceLayout::new(data).sockets()), other(data).ok()];
    match (folder, all) {
        (Some(folder), Some(all)) if known.iter().flatten().any(|known| known == all) => {
            Ok(folder.to_path_buf())
        }
        (_, _) => {
            let hint = "a data folder with a shorter path has room for it";
            Err(format!("this server has no folder for {}; {hint}", socket.display()))
        }
    }
}

/// Deletes the folder of a socket, once its instance has ended.
pub(crate) fn remove_of(run: &RunFolder) {
    let folder = match run.socket_folder() {
        Ok(None) => return,
        Ok(Some(folder)) => delete(&folder).map(|()| folder),
        Err(e) => Err(e),
    };
    match folder {
        // The system refuses this while other instances have their folders in it.
        Ok(folder) => drop(folder.parent().map(fs::remove_dir)),
        Err(e) => {
            tracing::warn!("cannot delete the folder of a socket of {}: {e}", run.path().display());
        }
    }
}
