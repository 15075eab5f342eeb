//! A control group per instance, where a cgroup2 mount allows it. The group holds the whole process tree,
//! which cannot leave it. The group limits the tree's total use of resources, and can kill all its processes
//! at once.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use model::ResourceLimits;

/// The period of CPU limits, in microseconds; the kernel's default.
const PERIOD_US: u64 = 100_000;

/// A group of processes.
#[derive(Clone, Debug)]
pub(crate) struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Creates a group.
    pub fn create(path: &Path) -> io::Result<Self> {
        match fs::create_dir(path) {
            // An interrupted start has left the group. It has the same name and so the same purpose.
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
            Ok(()) | Err(_) => Ok(Self::at(path)),
        }
    }

    /// Opens a group that was created earlier.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_path_buf() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves a process into the group. Processes that it starts from then on are in the group as well.
    pub fn add(&self, pid: u32) -> io::Result<()> {
        write(&self.path.join("cgroup.procs"), &pid.to_string())
    }

    /// Returns the processes in the group.
    pub fn members(&self) -> Vec<u32> {
        let text = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Sets limits for all processes of the group together.
    ///
    /// # Errors
    /// If the kernel has no such file or does not accept the value. Then some limits are not set.
    pub fn limit(&self, limits: &ResourceLimits) -> io::Result<()> {
        let ResourceLimits { memory, pids, cpu } = limits;
        if let Some(bytes) = memory {
            self.set("memory.max", &bytes.to_string())?;
            // An app that has lost some of its processes is worse than one that is restarted.
            self.set("memory.oom.group", "1")?;
        }
        if let Some(count) = pids {
            self.set("pids.max", &count.to_string())?;
        }
        if let Some(thousandths) = cpu {
            let quota = u64::from(*thousandths) * PERIOD_US / 1_000;
            self.set("cpu.max", &format!("{quota} {PERIOD_US}"))?;
        }
        Ok(())
    }

    fn set(&self, file: &str, value: &str) -> io::Result<()> {
        let path = self.path.join(file);
        let told = |e| io::Error::other(format!("cannot write {value} to {}: {e}", path.display()));
        write(&path, value).map_err(told)
    }

    /// Returns the effects of the limits on the group's processes, one sentence each without a subject.
    pub fn hit_limits(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        let events = self.path.join("memory.events");
        if count(&events, "oom_kill ") > 0 {
            let limit = self.value("memory.max").filter(|_| count(&events, "oom ") > 0);
            sentences.push(match limit {
                Some(bytes) => {
                    // The size in tenths, rounded.
                    let tenths = (bytes * 10 + (1 << 19)) >> 20;
                    let size = match (tenths / 10, tenths % 10) {
                        (whole, 0) => format!("{whole} MiB"),
                        (whole, tenth) => format!("{whole}.{tenth} MiB"),
                    };
                    format!("killed for using more than {size} (`memory` in [run])")
                }
                None => "killed because memory ran out outside of its own limit".to_owned(),
            });
        }
        let refused = count(&self.path.join("pids.events"), "max ");
        if let (Some(limit), 1..) = (self.value("pids.max"), refused) {
            let times = if refused == 1 { "once".into() } else { format!("{refused} times") };
            sentences.push(format!(
                "could not start a process or thread {times}: it had {limit} (`pids` in [run])"
            ));
        }
        sentences
    }

    /// Returns the number in a file; `None` if the file says `max`.
    fn value(&self, file: &str) -> Option<u64> {
        fs::read_to_string(self.path.join(file)).ok()?.trim().parse().ok()
    }

    /// Kills all processes at once. Before Linux 5.14 this does nothing, and the caller has to send signals.
    pub fn kill(&self) {
        let _ = write(&self.path.join("cgroup.kill"), "1");
    }

    /// Removes the group. Returns false if it still exists, because it is not empty.
    pub fn remove(&self) -> bool {
        let removed = fs::remove_dir(&self.path);
        removed.is_ok() || !datadir::is_there(&self.path)
    }
}

/// Writes to an existing file. The kernel creates the files of a group, and which files depends on the
/// controllers.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).truncate(true).open(path)?;
    file.write_all(text.as_bytes())
}

/// Returns the number after this name in a file of `NAME NUMBER` lines; 0 if the name is missing.
fn count(path: &Path, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let number = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    number.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(files: &[(&str, &str)]) -> (tempfile::TempDir, Cgroup) {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let group = Cgroup::at(folder.path());
        (folder, group)
    }

    #[test]
    fn each_limit_is_written_as_the_kernel_reads_it_and_no_other_file_is_touched() {
        let files = ["memory.max", "memory.oom.group", "pids.max", "cpu.max"];
        let fresh = files.map(|name| (name, "before"));
        let written = |limits: &ResourceLimits| {
            let (folder, group) = group(&fresh);
            group.limit(limits).unwrap();
            files.map(|name| fs::read_to_string(folder.path().join(name)).unwrap())
        };
        let all = ResourceLimits { memory: Some(512 << 20), pids: Some(200), cpu: Some(1_500) };
        assert_eq!(written(&all), ["536870912", "1", "200", "150000 100000"]);
        let least = ResourceLimits { memory: None, pids: None, cpu: Some(10) };
        assert_eq!(written(&least), ["before", "before", "before", "1000 100000"]);
    }

    #[test]
    fn a_limit_whose_file_is_missing_is_an_error_and_makes_no_file() {
        let (folder, group) = group(&[("memory.max", "max"), ("memory.oom.group", "0")]);
        let limits = ResourceLimits { pids: Some(7), ..ResourceLimits::default() };
        let e = group.limit(&limits).unwrap_err().to_string();
        assert!(e.contains("/pids.max: No such file"), "{e}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_the_limits_did_is_told_with_the_limit() {
        let told = |memory: &str, limit: &str, pids: &str| {
            let files = [("memory.events", memory), ("memory.max", limit), ("pids.events", pids)];
            let (_folder, group) = group(&[&files[..], &[("pids.max", "200\n")]].concat());
            group.hit_limits()
        };
        let killed = "low 0\nhigh 0\nmax 80\noom 1\noom_kill 3\noom_group_kill 1\n";
        let said = ["killed for using more than 512 MiB (`memory` in [run])"];
        assert_eq!(told(killed, "536870912\n", "max 0\n"), said);
        let half = ["killed for using more than 1.5 MiB (`memory` in [run])"];
        assert_eq!(told(killed, "1572864\n", "max 0\n"), half);
        // The limit of a surrounding group, or the machine's memory.
        let around = "max 0\noom 0\noom_kill 1\n";
        let said = ["killed because memory ran out outside of its own limit"];
        assert_eq!(told(around, "max\n", "max 0\n"), said);
        // Near its limit the kernel only reclaims memory.
        assert_eq!(told("max 80\noom 0\noom_kill 0\n", "536870912\n", "max 0\n"), [""; 0]);
        let said = ["could not start a process or thread 4 times: it had 200 (`pids` in [run])"];
        assert_eq!(told("", "max\n", "max 4\n"), said);
        let (_folder, without) = group(&[]);
        assert_eq!(without.hit_limits(), [""; 0]);
    }
}
