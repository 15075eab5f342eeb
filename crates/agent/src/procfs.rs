//! Information about processes from the kernel. Reads `/proc` and changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

/// Returns the id of this boot of the machine; empty if the kernel does not tell it.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// A process, reduced to what is needed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessInfo {
    pub parent: u32,
    /// The ticks from boot to the process's start. Together with the pid and the boot id, this identifies a
    /// process for ever.
    pub start: u64,
    /// True if the process has ended, but its parent has not reaped it yet.
    pub zombie: bool,
}

/// Returns the process with this number, if there is one.
pub(crate) fn process(pid: u32) -> Option<ProcessInfo> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Returns all processes that exist now.
pub(crate) fn processes() -> BTreeMap<u32, ProcessInfo> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeMap::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(|pid| Some((pid, process(pid)?)))
        .collect()
}

/// Returns those of the roots that exist, and all descendants of any of them.
pub(crate) fn with_descendants(
    roots: BTreeSet<u32>,
    all: &BTreeMap<u32, ProcessInfo>,
) -> BTreeSet<u32> {
    let mut found = roots;
    // A child may have a smaller number than its parent, so the loop repeats until nothing is added.
    loop {
        let more: Vec<u32> = all
            .iter()
            .filter(|(pid, process)| !found.contains(pid) && found.contains(&process.parent))
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            found.retain(|pid| all.contains_key(pid));
            return found;
        }
        found.extend(more);
    }
}

/// Returns the inode numbers of the sockets that a process has open.
pub(crate) fn sockets_of(pid: u32) -> io::Result<Vec<u64>> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"))?;
    let socket = |entry: io::Result<fs::DirEntry>| {
        let target = fs::read_link(entry.ok()?.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    Ok(entries.filter_map(socket).collect())
}

/// Returns the effective user of a process.
pub(crate) fn user_of(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    ids.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Returns the name of a process with unprintable characters replaced. A process may give itself any name.
pub(crate) fn name_of(pid: u32) -> String {
    let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    let name = String::from_utf8_lossy(&name);
    let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    name.trim_end_matches('\n').chars().map(plain).collect()
}

/// Sends a signal to the process that was found with this number and this start time, and never to another
/// process that has got the number since. Does nothing if the process has ended.
pub(crate) fn signal(pid: u32, start: u64, signal: Signal) {
    let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    let opened = rustix::process::pidfd_open(number, PidfdFlags::empty());
    // From here on the descriptor refers to one process: either the one that was found, or another.
    if process(pid).is_none_or(|found| found.start != start) {
        return;
    }
    match opened {
        Ok(descriptor) => {
            let _ = rustix::process::pidfd_send_signal(&descriptor, signal);
        }
        // Before Linux 5.3, or where a sandbox forbids it.
        Err(Errno::NOSYS | Errno::PERM) => {
            let _ = rustix::process::kill_process(number, signal);
        }
        Err(_) => {}
    }
}

/// Parses `PID (NAME) STATE PARENT …`. The name may contain anything, so the line is split at the last
/// bracket.
fn parse(stat: &str) -> Option<ProcessInfo> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    Some(ProcessInfo {
        parent: fields.get(1)?.parse().ok()?,
        start: fields.get(19)?.parse().ok()?,
        zombie: matches!(*fields.first()?, "Z" | "X"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_whose_name_looks_like_more_fields_is_read_right() {
        let stat = "17 (a) Z 9 (b) S 5 17 17 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 9876 1 2 3";
        assert_eq!(parse(stat), Some(ProcessInfo { parent: 5, start: 9876, zombie: false }));
    }

    #[test]
    fn a_signal_reaches_the_process_that_was_found_and_no_other_with_its_number() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let found = process(child.id()).unwrap();
        signal(child.id(), found.start + 1, Signal::KILL);
        signal(child.id(), found.start - 1, Signal::KILL);
        assert_eq!(child.try_wait().unwrap(), None);
        signal(child.id(), found.start, Signal::KILL);
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn descendants_are_found_whatever_their_numbers() {
        let all = [(9, 1), (4, 9), (12, 4), (3, 12), (8, 1)];
        let all = all
            .map(|(pid, parent)| (pid, ProcessInfo { parent, start: 0, zombie: false }))
            .into_iter()
            .collect();
        assert_eq!(with_descendants([9].into(), &all), [3, 4, 9, 12].into());
        assert_eq!(with_descendants([77].into(), &all), [].into());
    }
}
