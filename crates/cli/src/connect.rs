//! Finds the server and its token, and decides to whom the token may be sent.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use clap::{Arg, Args};
use rustix::fs::{Mode, OFlags};
use wire::{ApiClient, SOCKET, Secret, Trusted, Unseen, user_id, user_name};

use crate::{CommandError, ExitStatus};

/// The name of the data folder that is searched for.
const DATA: &str = ".segue";
/// The default address of a server's API.
const API: &str = "http://127.0.0.1:7070";
/// The variable that names the user that the server runs as, by name or number.
const SERVER_USER: &str = "SEGUE_SERVER_USER";
/// The hint for a path that is not a data folder.
const MAKES_ONE: &str = "`segue server --data DIR` makes one";
/// The largest length of a token file, in bytes. A token is shorter.
const TOKEN_BYTES: u64 = 4096;

/// The options that choose the server.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConnectionOptions {
    /// The server's API [default: the socket in the data folder, else http://127.0.0.1:7070].
    #[arg(long, global = true, env = "SEGUE_SERVER", hide_env_values = true, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// The API's token [default: the one in the data folder].
    #[arg(long, global = true, env = "SEGUE_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub(crate) token: Option<wire::Secret>,
    /// The server's data folder [default: `.segue` here or above].
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

impl ConnectionOptions {
    /// Returns these options, hidden, for the help of a verb that calls no server. The verb accepts them, so
    /// that scripts may set them everywhere.
    pub(crate) fn unseen() -> Vec<Arg> {
        let all = Self::augment_args(clap::Command::new("unseen"));
        all.get_arguments().map(|arg| arg.clone().hide(true)).collect()
    }

    /// Returns these options, hidden, for a verb that has a `--data` of its own.
    pub(crate) fn unseen_but_for_data() -> Vec<Arg> {
        Self::unseen().into_iter().filter(|arg| arg.get_id() != "data").collect()
    }

    /// Creates a client for `act`. If neither the command line nor the environment names a server, the client
    /// connects to the server of the local data folder, through the folder's socket. If neither gives a
    /// token, the client uses the folder's token, which is sent only to this machine.
    pub(crate) fn client(&self, act: &str) -> Result<ApiClient, CommandError> {
        let server = self.server.as_deref();
        let here = server.is_none_or(is_local);
        let asked = self.token.clone().filter(|token| !token.expose().is_empty());
        let complete = server.is_some() && asked.is_some();
        let data = if here && !complete { self.data_folder()? } else { None };
        let failed = |error| CommandError::client(act, &error);
        let mut trusted = Trusted::default();
        if let Some(user) = std::env::var_os(SERVER_USER).filter(|user| !user.is_empty()) {
            trusted = trusted.user(server_user(&user.to_string_lossy())?);
        }
        let Some(DataFolder { path, owner, token }) = data else {
            let unseen = if server.is_some() { Unseen::Allow } else { Unseen::Refuse };
            let client = ApiClient::new(server.unwrap_or(API), asked, trusted.unseen(unseen));
            return client.map_err(failed);
        };
        // The server at the default port belongs to another folder.
        if server.is_none() && self.data.is_some() && matches!(token, Ok(None)) {
            let act = format!("use the data folder {}", path.display());
            let failure = CommandError::because(act, "no server has used it");
            return Err(failure.hint(MAKES_ONE));
        }
        let trusted = trusted.user(owner);
        // A user who may read the token may use the socket.
        if server.is_none() && token.is_ok() && path.join(SOCKET).exists() {
            let token = asked.map_or(token, |asked| Ok(Some(asked)))?;
            return ApiClient::in_folder(&path, token, trusted).map_err(failed);
        }
        let token = match asked {
            Some(token) => Some(token),
            None => token?,
        };
        let unseen = if server.is_some() { Unseen::Allow } else { Unseen::Refuse };
        ApiClient::new(server.unwrap_or(API), token, trusted.unseen(unseen)).map_err(failed)
    }

    /// Returns these options as they were given, each after a blank, for a command that is to be run again.
    /// The token is left out because it is secret.
    pub(crate) fn repeated(&self) -> String {
        let server = self.server.iter().map(|url| format!(" --server {url}"));
        let data = self.data.iter().map(|path| format!(" --data {}", path.display()));
        server.chain(data).collect()
    }

    /// Returns the data folder that the options name, or else the nearest one, here or in a parent folder,
    /// that has a token.
    fn data_folder(&self) -> Result<Option<DataFolder>, CommandError> {
        if let Some(path) = &self.data {
            return DataFolder::open(path.clone()).map(Some);
        }
        let Ok(here) = std::env::current_dir() else { return Ok(None) };
        let Some(token) = above(&here, &Path::new(DATA).join("token")) else { return Ok(None) };
        let Some(path) = token.parent() else { return Ok(None) };
        let folder = DataFolder::open(path.to_owned())?;
        if !Trusted::default().has(folder.owner) {
            let cause = format!("it belongs to {}", user_name(folder.owner));
            let failure =
                CommandError::because(format!("use the data folder {}", path.display()), cause);
            return Err(failure.hint("name it with --data if that is whom you trust"));
        }
        Ok(Some(folder))
    }

    /// Returns the path of the data folder that the options name, or else of the default one, here or in a
    /// parent folder, or else here.
    pub(crate) fn data(&self) -> PathBuf {
        let found = || {
            let here = std::env::current_dir().ok()?;
            let token = above(&here, &Path::new(DATA).join("token"))?;
            token.parent().map(Path::to_owned)
        };
        self.data.clone().or_else(found).unwrap_or_else(|| Path::new(".").join(DATA))
    }
}

/// A server's data folder, as a client uses it.
struct DataFolder {
    path: PathBuf,
    owner: u32,
    /// `None` if no server has used the folder; an error if the client must not use its token.
    token: Result<Option<Secret>, CommandError>,
}

impl DataFolder {
    fn open(path: PathBuf) -> Result<Self, CommandError> {
        let act = format!("use the data folder {}", path.display());
        let found =
            fs::metadata(&path).map_err(|error| CommandError::new(act, &error).hint(MAKES_ONE))?;
        let token = token(&path);
        Ok(Self { path, owner: found.uid(), token })
    }
}

/// Returns the token of a data folder. A file that other users could have created or changed does not count
/// as a token: it may be part of a repository that the user has checked out.
fn token(folder: &Path) -> Result<Option<Secret>, CommandError> {
    let path = folder.join("token");
    let act = format!("read {}", path.display());
    let failed = |error: io::Error| {
        let hint =
            "only the user that the server runs as can read it; pass --token or set SEGUE_TOKEN";
        CommandError::new(&*act, &error).hint(hint)
    };
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let open = rustix::fs::open(&path, flags | OFlags::CLOEXEC, Mode::empty());
    let file = match open.map_err(io::Error::from) {
        Ok(open) => File::from(open),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() || found.mode() & 0o077 != 0 {
        let failure =
            CommandError::because(&*act, "others may read or change it, so it is not used");
        return Err(failure.hint(format!("if it is yours: chmod 600 {}", path.display())));
    }
    let mut text = String::new();
    file.take(TOKEN_BYTES).read_to_string(&mut text).map_err(failed)?;
    Ok(Some(Secret::new(text.trim())))
}

fn server_user(name: &str) -> Result<u32, CommandError> {
    user_id(name).ok_or_else(|| {
        let failure = CommandError::because(
            format!("read {SERVER_USER}"),
            format!("there is no user {name:?}"),
        );
        failure.exit(ExitStatus::Usage)
    })
}

fn is_local(url: &str) -> bool {
    let host = url.strip_prefix("http://").unwrap_or(url);
    ["127.0.0.1", "localhost", "[::1]"].iter().any(|name| {
        host.strip_prefix(name)
            .is_some_and(|rest| matches!(rest.chars().next(), None | Some(':' | '/')))
    })
}

/// Finds a file in this folder or in the nearest parent folder that has it.
pub(crate) fn above(here: &Path, name: &Path) -> Option<PathBuf> {
    here.ancestors().map(|folder| folder.join(name)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn the_local_token_goes_to_this_machine_only() {
        for url in ["http://127.0.0.1:7070", "http://localhost", "http://[::1]:1/"] {
            assert!(is_local(url), "{url}");
        }
        for url in
            ["http://127.0.0.1.evil.example:7070", "http://localhost.evil", "http://10.0.0.1"]
        {
            assert!(!is_local(url), "{url}");
        }
    }

    #[test]
    fn a_token_that_others_could_have_planted_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let cause = || token(dir.path()).unwrap_err().cause;
        assert!(matches!(token(dir.path()), Ok(None)));
        fs::write(&path, "secret\n").unwrap();
        // The mode that `git clone` gives the file.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(cause(), "others may read or change it, so it is not used");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(token(dir.path()).unwrap().unwrap().expose(), "secret");
        fs::rename(&path, dir.path().join("elsewhere")).unwrap();
        symlink("elsewhere", &path).unwrap();
        assert!(cause().contains("symbolic links"), "{}", cause());
    }

    #[test]
    fn a_named_folder_that_no_server_has_used_leads_to_no_other_server() {
        let dir = tempfile::tempdir().unwrap();
        let named = |server: Option<&str>| ConnectionOptions {
            server: server.map(str::to_owned),
            token: Some(Secret::new("of another server")),
            data: Some(dir.path().to_owned()),
        };
        let refused = named(None).client("stop everything").unwrap_err();
        assert_eq!(refused.cause, "no server has used it");
        let repeated = format!(" --server {API} --data {}", dir.path().display());
        assert_eq!(named(Some(API)).repeated(), repeated);
    }

    #[test]
    fn a_file_above_is_found() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        std::fs::write(dir.path().join("a/segue.toml"), "").unwrap();
        let found = above(&dir.path().join("a/b"), Path::new("segue.toml"));
        assert_eq!(found, Some(dir.path().join("a/segue.toml")));
    }
}
