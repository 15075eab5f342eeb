//! The proxy's end of the file that keepalived reads: starts the process that writes the file, and tells it the
//! priority again and again. If that process is killed, another one is started.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The least time between two starts of the process.
const AGAIN: Duration = Duration::from_secs(1);

/// The file with the priority.
#[derive(Debug)]
pub struct TrackFile {
    program: PathBuf,
    file: PathBuf,
    watcher: Child,
    started: Instant,
}

impl TrackFile {
    /// Starts the process that writes the file.
    ///
    /// # Errors
    /// If the file's folder cannot be made, or the process cannot be started.
    pub fn open(file: PathBuf) -> io::Result<Self> {
        if let Some(folder) = file.parent() {
            datadir::private_folder(folder)?;
        }
        let program = std::env::current_exe()?;
        let watcher = start(&program, &file)?;
        Ok(Self { program, file, watcher, started: Instant::now() })
    }

    /// Says the priority, which is also a sign of life. Blocks only if the process does not read.
    pub fn say(&mut self, priority: i32) {
        let told =
            self.watcher.stdin.as_mut().map(|it| it.write_all(format!("{priority}\n").as_bytes()));
        if matches!(told, Some(Ok(()))) || self.started.elapsed() < AGAIN {
            return;
        }
        tracing::warn!("the process that writes {} is gone: starting another", self.file.display());
        let _ = self.watcher.kill();
        let _ = self.watcher.wait();
        self.started = Instant::now();
        match start(&self.program, &self.file) {
            Ok(watcher) => self.watcher = watcher,
            Err(error) => tracing::error!(%error, "nobody tells keepalived of this proxy"),
        }
    }
}

fn start(program: &std::path::Path, file: &std::path::Path) -> io::Result<Child> {
    let mut command = Command::new(program);
    command.arg("__watch").arg(file).arg(std::process::id().to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()
}
