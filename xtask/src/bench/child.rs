//! A program started by the bench, on one core. Measures the cost of the program and its children. Ends them
//! by their ids, however the bench ends. Never touches a process it did not start.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::run::Done;

const STEP: Duration = Duration::from_millis(10);
const START: Duration = Duration::from_secs(10);
const END: Duration = Duration::from_secs(3);

/// A running program.
#[derive(Debug)]
pub(super) struct Child {
    name: String,
    process: std::process::Child,
    said: PathBuf,
}

/// One process according to `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    id: i32,
    parent: i32,
    /// User and system time, in clock ticks.
    ticks: u64,
    /// Start time. Together with the id it identifies a process permanently, since ids are reused.
    started: u64,
}

impl Child {
    /// Starts `program` on `core`, with its output in a file in `folder`. It gets a SIGTERM if this process
    /// dies without ending it.
    pub(super) fn start<S: AsRef<OsStr>>(
        (name, core): (&str, usize),
        program: &str,
        args: impl IntoIterator<Item = S>,
        folder: &Path,
    ) -> Result<Self, String> {
        let core = core.to_string();
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned());
        let words = ["-c", &core, program].map(OsString::from).into_iter().chain(args);
        Self::start_anywhere(name, "taskset", words, folder)
    }

    /// Like [`Child::start`], on any core.
    pub(super) fn start_anywhere<S: AsRef<OsStr>>(
        name: &str,
        program: &str,
        args: impl IntoIterator<Item = S>,
        folder: &Path,
    ) -> Result<Self, String> {
        let wrong = |error| format!("cannot start {name}: {error}");
        let said = folder.join(format!("{name}.said"));
        let out = File::create(&said).map_err(wrong)?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", program]);
        command.args(args).stdin(Stdio::null());
        command.stderr(out.try_clone().map_err(wrong)?).stdout(out);
        let process = command.spawn().map_err(wrong)?;
        Ok(Self { name: name.to_owned(), process, said })
    }

    /// Waits until `address` accepts connections.
    pub(super) fn listens(&mut self, address: SocketAddr) -> Done {
        let deadline = Instant::now() + START;
        while TcpStream::connect_timeout(&address, START).is_err() {
            if self.process.try_wait().is_ok_and(|ended| ended.is_some()) {
                return Err(format!("{} ended at once: {}", self.name, self.said()));
            }
            if Instant::now() > deadline {
                return Err(format!("{} does not listen on {address}: {}", self.name, self.said()));
            }
            thread::sleep(STEP);
        }
        Ok(())
    }

    /// Waits until the program has ended. After `patience`, ends it and returns an error.
    pub(super) fn wait(&mut self, patience: Duration) -> Result<ExitStatus, String> {
        let ended = self.ended_within(patience);
        ended
            .ok_or_else(|| format!("{} takes longer than {patience:?}: {}", self.name, self.said()))
    }

    /// Sends `signal` to the program.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(id) = pid(self.id()) {
            // If it has ended already, that is fine.
            let _gone = kill_process(id, signal);
        }
    }

    /// Returns the program's output, from both streams.
    pub(super) fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap_or_default().trim().to_owned()
    }

    /// Returns the user and system time of the program and its children so far, in clock ticks.
    pub(super) fn ticks(&self) -> u64 {
        self.family().iter().map(|process| process.ticks).sum()
    }

    /// Returns the memory of the program and its children in bytes. Shared pages count in proportion.
    pub(super) fn pss(&self) -> Result<u64, String> {
        let mut sum = 0;
        for id in self.ids() {
            let file = format!("/proc/{id}/smaps_rollup");
            let text = fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
            let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
            sum += kib.ok_or_else(|| format!("{file} does not tell the memory"))? * 1024;
        }
        Ok(sum)
    }

    /// Returns the ids of the program and its children.
    pub(super) fn ids(&self) -> Vec<i32> {
        self.family().iter().map(|process| process.id).collect()
    }

    fn id(&self) -> i32 {
        i32::try_from(self.process.id()).unwrap_or(i32::MAX)
    }

    fn family(&self) -> Vec<Process> {
        family(self.id(), &everyone())
    }

    fn ended_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Some(status);
            }
            if Instant::now() > deadline {
                return None;
            }
            thread::sleep(STEP);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Once the process was waited for, its id may belong to another one.
        if self.process.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        let family = self.family();
        self.signal(Signal::TERM);
        if self.ended_within(END).is_none() {
            let _gone = self.process.kill();
            let _status = self.process.wait();
        }
        let left = everyone();
        for process in family {
            let same =
                |other: &&Process| (other.id, other.started) == (process.id, process.started);
            if let Some(id) = left.iter().find(same).and_then(|process| pid(process.id)) {
                let _gone = kill_process(id, Signal::KILL);
            }
        }
    }
}

fn pid(id: i32) -> Option<Pid> {
    Pid::from_raw(id)
}

/// Returns every process on the machine.
fn everyone() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().parse::<i32>().is_ok())
        .filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok())
        .filter_map(|stat| parse(&stat))
        .collect()
}

/// Returns the process `id` and its descendants.
fn family(id: i32, everyone: &[Process]) -> Vec<Process> {
    let mut family: Vec<Process> = everyone.iter().filter(|one| one.id == id).copied().collect();
    let mut at = 0;
    while let Some(parent) = family.get(at).map(|one| one.id) {
        family.extend(everyone.iter().filter(|one| one.parent == parent));
        at += 1;
    }
    family
}

/// Parses `/proc/PID/stat`. The name may contain blanks and brackets; only numbers follow it.
fn parse(stat: &str) -> Option<Process> {
    let (id, _) = stat.split_once(' ')?;
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Process {
        id: id.parse().ok()?,
        parent: fields.get(1)?.parse().ok()?,
        ticks: number(11)? + number(12)?,
        started: number(19)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat =
            "4711 (a) b (c) S 12 4711 4711 0 -1 4194560 1 2 3 4 150 50 7 8 20 0 1 0 9876 1 2";
        let expected = Process { id: 4711, parent: 12, ticks: 200, started: 9876 };
        assert_eq!(parse(stat), Some(expected));
        assert_eq!(parse("4711 (short) S 12"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn a_family_is_a_process_and_all_that_come_from_it() {
        let one = |id, parent| Process { id, parent, ticks: 1, started: 1 };
        let everyone = [one(1, 0), one(7, 1), one(9, 7), one(8, 7), one(3, 1), one(10, 9)];
        let ids: Vec<i32> = family(7, &everyone).iter().map(|one| one.id).collect();
        assert_eq!(ids, [7, 9, 8, 10]);
        assert_eq!(family(99, &everyone), []);
    }
}
