//! The demo's server: a separate process with free ports and its own data folder. Dropping it stops the
//! server, unless the server is kept.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use wire::{ApiClient, Secret, Trusted};

use crate::CommandError;

/// The time within which a server must have started.
const START: Duration = Duration::from_secs(15);
/// The time after which a server that has not ended is killed.
const END: Duration = Duration::from_secs(30);
/// The time between two checks.
const LOOK: Duration = Duration::from_millis(20);

/// A running server and the folder of the demo.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) folder: PathBuf,
    pub(super) http: SocketAddr,
    pub(super) api: SocketAddr,
    pub(super) client: ApiClient,
    program: PathBuf,
    child: Option<Child>,
}

/// Returns two addresses for the server: with the default ports, or else with free ones.
pub(super) fn free_addresses() -> io::Result<(SocketAddr, SocketAddr)> {
    // Both ports stay bound until both are found, so that they differ.
    let (http, api) = (free(8080)?, free(7070)?);
    Ok((http.local_addr()?, api.local_addr()?))
}

fn free(usual: u16) -> io::Result<TcpListener> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    bind(usual).or_else(|_| bind(0))
}

impl Server {
    /// Starts `program server` and waits until it answers.
    pub(super) fn start(
        program: &Path,
        http: SocketAddr,
        api: SocketAddr,
    ) -> Result<Self, CommandError> {
        let act = "start the server";
        let folder = std::env::temp_dir().join(format!("segue-demo-{}", std::process::id()));
        let fail = |error: io::Error| CommandError::new(act, &error);
        fs::DirBuilder::new().mode(0o700).create(&folder).map_err(fail)?;
        let log = File::create(folder.join("server.log")).map_err(fail)?;
        let mut command = Command::new(program);
        command
            .arg("server")
            .arg("--data")
            .arg(folder.join("data"))
            .args(["--http", &http.to_string(), "--api", &api.to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(fail)?)
            .stderr(log)
            // Ctrl-C must reach only the demo, which then stops the server in order.
            .process_group(0);
        let child = command.spawn().map_err(fail)?;
        let client = |folder: &Path, token| {
            let client = ApiClient::in_folder(&folder.join("data"), token, Trusted::default());
            client.map_err(|error| CommandError::client(act, &error))
        };
        let program = program.to_owned();
        let (child, client_now) = (Some(child), client(&folder, None)?);
        let mut server = Self { folder, http, api, client: client_now, program, child };
        server.wait_until_up(act)?;
        let token = fs::read_to_string(server.folder.join("data/token")).map_err(fail)?;
        server.client = client(&server.folder, Some(Secret::new(token.trim())))?;
        Ok(server)
    }

    fn wait_until_up(&mut self, act: &str) -> Result<(), CommandError> {
        let started = Instant::now();
        while self.client.alive().is_err() {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if ended.is_some() || started.elapsed() > START {
                let said = fs::read_to_string(self.folder.join("server.log")).unwrap_or_default();
                let why = match ended {
                    Some(status) => format!("it ended: {status}"),
                    None => format!("it does not answer after {} s", START.as_secs()),
                };
                return Err(CommandError::because(act, format!("{why}\n{said}")));
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Leaves the server and its folder in place.
    pub(super) fn keep(mut self) {
        self.child = None;
    }

    /// Stops the instances that a killed server left running. Returns whether that succeeded.
    fn stop_instances(&self, data: &Path) -> bool {
        let mut down = Command::new(&self.program);
        down.args(["down", "--data"]).arg(data);
        down.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        down.status().is_ok_and(|status| status.success())
    }

    /// Stops the instances and the server, and deletes the folder.
    pub(super) fn end(&mut self) -> Result<(), CommandError> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let act = "stop the demo";
        let asked = self.client.down();
        let started = Instant::now();
        while child.try_wait().map_err(|error| CommandError::new(act, &error))?.is_none() {
            if asked.is_err() || started.elapsed() > END {
                // This kills only the one process that the demo has started.
                let _ = child.kill();
                let _ = child.wait();
                let data = self.folder.join("data");
                let failure = CommandError::because(act, "the server had to be killed");
                if self.stop_instances(&data) {
                    return Err(failure);
                }
                let hint = format!("`segue down --data {}` stops its instances", data.display());
                return Err(failure.hint(hint));
            }
            thread::sleep(LOOK);
        }
        asked.map_err(|error| CommandError::client(act, &error))?;
        fs::remove_dir_all(&self.folder).map_err(|error| CommandError::new(act, &error))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // This runs after a failure, which is reported to the user. Another error is ignored.
        let _ = self.end();
    }
}
