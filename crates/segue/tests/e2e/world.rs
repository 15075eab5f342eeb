//! One server in a folder of its own, and its command line.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::app;

pub const SEGUE: &str = env!("CARGO_BIN_EXE_segue");
/// Nothing here takes so long unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A server, its data folder, and an app folder beside it. Everything ends with it.
pub struct World {
    dir: tempfile::TempDir,
    server: Option<Child>,
    pub http: SocketAddr,
    pub api: SocketAddr,
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    /// The last line of stdout as JSON: the receipt.
    pub fn receipt(&self) -> Value {
        let last = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl World {
    /// Starts a server; the app's file watches for `watch`.
    pub fn start(watch: &str) -> Self {
        Self::with(&app::watch(watch), &[])
    }

    /// Starts a server with these variables in its environment.
    pub fn with(more: &str, env: &[(&str, String)]) -> Self {
        let mut world = Self::unserved(more);
        world.serve(env);
        world
    }

    /// Starts a server on a data folder whose path is too long for a socket.
    pub fn far_away(more: &str, env: &[(&str, String)]) -> Self {
        let dir = tempfile::Builder::new().prefix(&"far".repeat(40)).tempdir().unwrap();
        let mut world = Self::unserved_in(dir, more);
        world.serve(env);
        world
    }

    /// Starts a server on a data folder that `write` puts where it is told.
    pub fn from_data(write: impl FnOnce(&Path)) -> Self {
        let mut world = Self::unserved("");
        write(&world.data());
        world.serve(&[]);
        world
    }

    fn unserved(more: &str) -> Self {
        Self::unserved_in(tempfile::tempdir().unwrap(), more)
    }

    fn unserved_in(dir: tempfile::TempDir, more: &str) -> Self {
        app::write(&dir.path().join("app"), more);
        Self { dir, server: None, http: testport::reserve(), api: testport::reserve() }
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn app_dir(&self) -> PathBuf {
        self.dir.path().join("app")
    }

    /// Starts the server (again), on the same ports as before.
    pub fn serve(&mut self, env: &[(&str, String)]) {
        assert!(self.try_serve(env), "the server died at its start");
    }

    /// Starts the server; false if it died before it was ready.
    pub fn try_serve(&mut self, env: &[(&str, String)]) -> bool {
        let mut child = Command::new(SEGUE)
            .args(["server", "--workers", "2", "--http", &self.http.to_string()])
            .args(["--api", &self.api.to_string(), "--data"])
            .arg(self.data())
            .envs(env.iter().cloned())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        self.server = Some(child);
        let (said, hears) = mpsc::channel();
        std::thread::spawn(move || {
            // Read to the end, so that the server never waits for us.
            for line in stderr.lines().map_while(Result::ok) {
                let _ = said.send(line);
            }
        });
        let address = |line: &str, before: &str| -> Option<SocketAddr> {
            let rest = line.split(before).nth(1)?;
            rest.split([',', ' ', '\u{1b}']).next()?.parse().ok()
        };
        let (mut http, mut api) = (None, None);
        let mut heard = Vec::new();
        while http.is_none() || api.is_none() {
            let line = match hears.recv_timeout(PATIENCE) {
                Ok(line) => line,
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    self.kill_server();
                    return false;
                }
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("the server hangs: {heard:?}"),
            };
            http = http.or(address(&line, "apps are served on http://"));
            api = api.or(address(&line, "the API listens on http://"));
            heard.push(line);
        }
        (self.http, self.api) = (http.unwrap(), api.unwrap());
        true
    }

    /// `kill -9`, if it still lives.
    pub fn kill_server(&mut self) {
        if let Some(mut child) = self.server.take() {
            let _ = child.kill();
            child.wait().unwrap();
        }
    }

    /// SIGTERM, and the exit code.
    pub fn end_server(&mut self) -> Option<i32> {
        let mut child = self.server.take()?;
        signal(child.id(), Signal::TERM);
        child.wait().unwrap().code()
    }

    /// Waits until the server has died by itself.
    pub fn server_dies(&mut self, within: Duration) -> bool {
        let Some(child) = self.server.as_mut() else { return true };
        let until = Instant::now() + within;
        while Instant::now() < until {
            if child.try_wait().unwrap().is_some() {
                self.server = None;
                return true;
            }
            // it waits: for a process to die
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    /// The server's process.
    pub fn server_pid(&self) -> u32 {
        self.server.as_ref().expect("the server runs").id()
    }

    /// Waits until it is so.
    pub fn eventually(&self, what: &str, so: impl Fn() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !so() {
            assert!(Instant::now() < until, "never: {what}");
            // it waits: for a real server to come that far
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A command that talks to this server.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(SEGUE);
        command.args(args).args(["--server", &format!("http://{}", self.api)]);
        let token = std::fs::read_to_string(self.data().join("token")).unwrap_or_default();
        command.env("SEGUE_TOKEN", token.trim()).env("NO_COLOR", "1").current_dir(self.app_dir());
        command
    }

    pub fn segue(&self, args: &[&str]) -> Said {
        let Output { status, stdout, stderr } = self.command(args).output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Said { code: status.code(), stdout: text(&stdout), stderr: text(&stderr) }
    }

    /// Deploys a version of the app that behaves so.
    pub fn deploy(&self, version: &str, mode: &str) -> Said {
        let (version_is, mode_is) = (format!("VERSION={version}"), format!("MODE={mode}"));
        self.segue(&[
            "deploy",
            "--json",
            "--release",
            version,
            "--env",
            &version_is,
            "--env",
            &mode_is,
        ])
    }

    pub fn status(&self) -> Value {
        let said = self.segue(&["status", "web", "--json"]);
        serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"))
    }

    /// Looks at the status until it is as wanted.
    pub fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < until, "never {what}: {status:#}");
            // it waits: for a real server to come that far
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until no rollout is under way and all that should be is healthy.
    pub fn at_rest(&self) -> Value {
        self.until("at rest", |status| {
            let arms = ["live", "standby"].map(|arm| status[arm]["instances"].clone());
            let well = |i: &Value| i["stage"] == "serving" && i["health"] == "up";
            let all = arms.iter().filter_map(Value::as_array);
            status["rollout"].is_null()
                && all.into_iter().all(|arm| arm.len() == 2 && arm.iter().all(well))
        })
    }

    /// The processes that have this world's data folder in their command line or folder.
    pub fn processes(&self) -> Vec<u32> {
        let data = self.data();
        let is_ours = |pid: &u32| {
            let proc = Path::new("/proc").join(pid.to_string());
            let stat = std::fs::read_to_string(proc.join("stat")).unwrap_or_default();
            let zombie = stat.rsplit(')').next().is_some_and(|rest| rest.trim().starts_with('Z'));
            let within =
                std::fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd.starts_with(&data));
            let line = std::fs::read(proc.join("cmdline")).unwrap_or_default();
            let named = String::from_utf8_lossy(&line).contains(&*data.to_string_lossy());
            !zombie && (within || named)
        };
        let entries = std::fs::read_dir("/proc").unwrap();
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter(is_ours)
            .filter(|pid| Some(*pid) != self.server.as_ref().map(Child::id))
            .collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.kill_server();
        let _ = Command::new(SEGUE)
            .args(["down", "--server", "http://127.0.0.1:1", "--data"])
            .arg(self.data())
            .env("SEGUE_TOKEN", "x")
            .output();
        for pid in self.processes() {
            signal(pid, Signal::KILL);
        }
    }
}

/// The pids of an arm of a status, in order.
pub fn pids(status: &Value, arm: &str) -> Vec<u64> {
    let instances = status[arm]["instances"].as_array().cloned().unwrap_or_default();
    instances.iter().filter_map(|instance| instance["pid"].as_u64()).collect()
}

/// Returns whether a process exists.
pub fn lives(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

pub fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    // It may have ended already.
    let _ = kill_process(pid, signal);
}
