//! A control group per instance, where a cgroup2 mount allows: it holds the whole process tree,
//! whatever the processes do to leave it, and ends it at one word. Sets no limits.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A group of processes.
#[derive(Clone, Debug)]
pub(crate) struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// A new group below our own; `None` where that is not possible.
    pub fn create(name: &str) -> Option<Self> {
        let path = own()?.join(name);
        match fs::create_dir(&path) {
            Ok(()) => Some(Self { path }),
            // Left over from a start that was cut short, with the same name and so the same purpose.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Some(Self { path }),
            Err(_) => None,
        }
    }

    /// A group that was made earlier.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_path_buf() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves a process in; what it starts from then on is in as well.
    pub fn add(&self, pid: u32) -> io::Result<()> {
        fs::write(self.path.join("cgroup.procs"), pid.to_string())
    }

    /// The processes in it.
    pub fn members(&self) -> Vec<u32> {
        let text = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Ends all of them at once. Before Linux 5.14 this does nothing, and the caller's signals have
    /// to do.
    pub fn kill(&self) {
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
    }

    /// Removes the empty group; one that is not empty stays.
    pub fn remove(&self) {
        let _ = fs::remove_dir(&self.path);
    }
}

/// The folder of our own group.
fn own() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| folder(line, own))
}

/// The folder of the group `own` if this line of `mountinfo` mounts it.
fn folder(line: &str, own: &str) -> Option<PathBuf> {
    let (mount, kind) = line.split_once(" - ")?;
    if kind.split(' ').next()? != "cgroup2" {
        return None;
    }
    let mut fields = mount.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    let below = Path::new(own).strip_prefix(root).ok()?;
    // A mount point with a blank in it is written with escapes; nobody does that to this one.
    (!point.contains('\\')).then(|| Path::new(point).join(below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_a_group_is_found_below_the_mount() {
        let line = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";
        let found = folder(line, "/system.slice/segue.service").unwrap();
        assert_eq!(found, Path::new("/sys/fs/cgroup/unified/system.slice/segue.service"));
        let inner = "41 31 0:38 /docker/1 /sys/fs/cgroup ro - cgroup2 cgroup rw";
        assert_eq!(folder(inner, "/docker/1/a").unwrap(), Path::new("/sys/fs/cgroup/a"));
        assert_eq!(folder("31 23 0:28 / /sys rw - tmpfs tmpfs rw", "/"), None);
    }
}
