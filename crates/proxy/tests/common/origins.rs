//! The origins: servers of different makers, as they come with Debian, each on a port and in a folder
//! of its own. All say in `X-Seen` what they were asked: an app on them does, or one behind them.
#![allow(dead_code, reason = "each test uses its part")]

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{Client, eventually, field, read_body, read_head, upstream};

/// A server of one maker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    Nginx,
    Apache,
    Lighttpd,
    Haproxy,
    Node,
    Gunicorn,
    Waitress,
    /// Reads with h11, which is written in Python.
    Uvicorn,
    /// Reads with httptools, which was Node's parser once.
    UvicornHttptools,
    Hypercorn,
}

/// A running server.
#[derive(Debug)]
pub struct Origin {
    pub at: SocketAddr,
    maker: Maker,
    settings: Settings,
    process: Child,
    folder: tempfile::TempDir,
}

/// What its environment says, by name.
pub type Settings = &'static [(&'static str, &'static str)];

impl Origin {
    pub fn start(maker: Maker) -> Self {
        Self::set(maker, &[])
    }

    pub fn set(maker: Maker, settings: Settings) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // Some servers give up their rights before they open their files there.
        std::fs::set_permissions(
            folder.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o777),
        )
        .expect("a folder for all");
        let at = testport::reserve();
        let process = spawn(maker, settings, at, folder.path());
        let mut origin = Self { at, maker, settings, process, folder };
        origin.is_ready();
        origin
    }

    fn is_ready(&mut self) {
        eventually("the origin answers", || self.answers().then_some(()));
    }

    /// Kills it; it is gone when this returns, and with it all its connections.
    pub fn kill(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("a child");
    }

    /// Starts it anew, on the same port.
    pub fn restart(&mut self) {
        self.process = spawn(self.maker, self.settings, self.at, self.folder.path());
        self.is_ready();
    }

    /// Stops it where it is: its connections stand, and nobody reads.
    pub fn hang(&self) {
        self.signal(Signal::STOP);
    }

    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("it runs");
    }

    fn answers(&mut self) -> bool {
        let ended = self.process.try_wait().expect("a child");
        let hint = "hint: `cargo xtask test` installs the servers";
        assert!(ended.is_none(), "it ended with {ended:?}: {}\n{hint}", self.said());
        TcpStream::connect(self.at).is_ok() && {
            let got = Client::connect(self.at).try_get("/ready");
            got.is_ok_and(|got| got.field("x-seen").is_some())
        }
    }

    /// What it printed.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("said")).unwrap_or_default()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        if !matches!(self.process.try_wait(), Ok(None)) {
            return;
        }
        let pid = Pid::from_child(&self.process);
        // Some have children, which end when they are told to. One that hangs hears it later.
        let _ = kill_process(pid, Signal::TERM);
        let _ = kill_process(pid, Signal::CONT);
        let _ = self.process.wait();
    }
}

fn spawn(maker: Maker, settings: Settings, at: SocketAddr, folder: &Path) -> Child {
    let said = std::fs::File::options().create(true).append(true).open(folder.join("said"));
    let said = said.expect("a file");
    let mut command = command(maker, at, folder);
    command.envs(settings.iter().copied()).stdin(Stdio::null());
    command.stdout(said.try_clone().expect("a descriptor")).stderr(said);
    command.spawn().expect("env is everywhere")
}

fn command(maker: Maker, at: SocketAddr, folder: &Path) -> Command {
    let apps = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/origins");
    let (address, port) = (at.to_string(), at.port().to_string());
    let words: Vec<&str> = match maker {
        Maker::Nginx => {
            configure(folder, include_str!("origins/nginx.conf"), at);
            vec!["nginx", "-c", "conf"]
        }
        Maker::Apache => {
            configure(folder, include_str!("origins/apache2.conf"), at);
            vec!["apache2", "-X", "-f", "conf"]
        }
        Maker::Lighttpd => {
            configure(folder, include_str!("origins/lighttpd.conf"), at);
            vec!["lighttpd", "-D", "-f", "conf"]
        }
        Maker::Haproxy => {
            configure(folder, include_str!("origins/haproxy.cfg"), at);
            vec!["haproxy", "-db", "-f", "conf"]
        }
        Maker::Node => vec!["node", "seen.js"],
        Maker::Gunicorn => {
            vec!["gunicorn", "-b", &address, "-k", "gthread", "--threads", "8", "seen_wsgi:app"]
        }
        Maker::Waitress => vec!["waitress-serve", "--listen", &address, "seen_wsgi:app"],
        Maker::Uvicorn => {
            vec!["uvicorn", "--port", &port, "--http", "h11", "--no-access-log", "seen_asgi:app"]
        }
        Maker::UvicornHttptools => {
            vec![
                "uvicorn",
                "--port",
                &port,
                "--http",
                "httptools",
                "--no-access-log",
                "seen_asgi:app",
            ]
        }
        Maker::Hypercorn => vec!["hypercorn", "-b", &address, "seen_asgi:app"],
    };
    // It looks the server up on the path that is set here, not on ours.
    let mut command = Command::new("env");
    command.arg("--").args(words.iter().map(|word| match *word {
        "conf" => folder.join("conf").into_os_string(),
        word => word.into(),
    }));
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin")).env("PORT", port);
    command.current_dir(apps).env("PYTHONPATH", apps).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Writes the configuration of a server that passes requests on to one of ours.
fn configure(folder: &Path, text: &str, at: SocketAddr) {
    let behind = behind();
    let text = text
        .replace("{folder}", &folder.display().to_string())
        .replace("{modules}", "/usr/lib/apache2/modules")
        .replace("{address}", &at.to_string())
        .replace("{port}", &at.port().to_string())
        .replace("{behind_port}", &behind.port().to_string())
        .replace("{behind}", &behind.to_string());
    std::fs::write(folder.join("conf"), text).expect("a configuration");
}

/// Stands behind the servers that run no apps: one request per connection.
fn behind() -> SocketAddr {
    upstream(|_, mut stream| {
        let Some(head) = read_head(&mut stream) else { return };
        // Apache passes the question on.
        if field(&head, "expect").is_some() {
            let _ = stream.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let Ok((body, _)) = read_body(&head, &mut stream) else { return };
        let mut words = head.split(' ');
        let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let hex: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nX-Seen: {method} {target} +{hex}\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n"
        );
        let _ = stream.get_mut().write_all(answer.as_bytes());
    })
}
