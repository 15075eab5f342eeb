//! The part of cgroup2 that is delegated to this server: where the control groups of instances are created,
//! which limits can be enforced there, and which processes have to be moved first. Moves only processes of
//! segue, and kills none.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{LimitObstacles, Obstacle, Resource, ResourceLimits};
use rustix::fs::Access;
use rustix::io::Errno;

use crate::cgroup;
use crate::context::Context;
use crate::disk::on_disk;
use crate::layout::InstanceLayout;
use crate::procfs;
use crate::unresponsive_shim;

/// The group of the server and its shims once an instance has a limit: cgroup2 limits the groups below a
/// group only if the group itself has no processes. This name is also the value of `DelegateSubgroup=` in the
/// unit.
const LEAF: &str = "segue-server";
/// The time limit for moving processes while others are being started.
const PATIENCE: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(10);

/// Returns the obstacles to limits on this host.
pub(crate) fn obstacles(layout: &InstanceLayout) -> LimitObstacles {
    let own = Delegation::own();
    let ours = || processes_of(layout);
    let found = Resource::ALL.into_iter().filter_map(|resource| {
        let obstacle = match &own {
            Some(own) => own.obstacle(resource, &ours),
            None => Some(unmounted(resource)),
        };
        Some((resource, obstacle?))
    });
    LimitObstacles::new(found)
}

/// Makes sure, before an instance is started, that these limits can be enforced. The first call moves the
/// server and its shims.
///
/// # Errors
/// If the limits cannot be enforced. The text says why, and what to do.
pub(crate) async fn make_room(
    context: &Arc<Context>,
    limits: &ResourceLimits,
) -> Result<(), String> {
    let resources: Vec<Resource> = limits.limited().collect();
    let Some(first) = resources.first() else { return Ok(()) };
    let own = Delegation::own().ok_or_else(|| told(&unmounted(*first)))?;
    if own.disabled(&resources).is_empty() {
        return Ok(());
    }
    // A shim moves the processes that it starts into the instance's group. Nothing else may move them at that
    // time.
    let _alone = context.starting.write().await;
    let shared = Arc::clone(context);
    let enabled = on_disk(move || own.enable(&resources, &|| processes_of(&shared.layout))).await;
    enabled.unwrap_or_else(|| Err("see the server's log".to_owned()))
}

/// Returns this process, all shims of this data folder, and their descendants.
fn processes_of(layout: &InstanceLayout) -> BTreeSet<u32> {
    let all = procfs::processes();
    let shims =
        all.keys().copied().filter(|pid| unresponsive_shim::is_shim_below(*pid, &layout.runs()));
    let roots = shims.chain([std::process::id()]).collect();
    procfs::with_descendants(roots, &all)
}

/// The control groups that a service manager has delegated to the server.
#[derive(Clone, Debug)]
pub(crate) struct Delegation {
    /// The folder of the group in which the groups of instances are made.
    home: PathBuf,
    /// The mount point of cgroup2: the folder of the highest group that can be seen.
    mount: PathBuf,
    /// The content of `/proc/self/cgroup`.
    groups: String,
    /// True if this process is in the leaf, and not in `home` itself.
    is_in_leaf: bool,
}

impl Delegation {
    /// Finds the delegation to this process; `None` without cgroup2.
    pub fn own() -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        Self::find(groups, &mounts)
    }

    fn find(groups: String, mounts: &str) -> Option<Self> {
        let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
        let (mount, group) = mounts.lines().find_map(|line| folder(line, own))?;
        let is_in_leaf = group.ends_with(LEAF) && group != mount;
        let home = if is_in_leaf { group.parent()?.to_path_buf() } else { group };
        Some(Self { home, mount, groups, is_in_leaf })
    }

    /// Returns the folder of a group of this name.
    pub fn group(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    /// Returns the resources whose controllers are not enabled yet for the groups of instances.
    fn disabled(&self, resources: &[Resource]) -> Vec<Resource> {
        let enabled = words(&self.home.join("cgroup.subtree_control"));
        let is_off = |resource: &Resource| !enabled.iter().any(|name| name == resource.name());
        resources.iter().copied().filter(is_off).collect()
    }

    /// Returns the obstacle to enforcing a limit of this resource, if there is one. `ours` are segue's
    /// processes. Changes nothing.
    fn obstacle(&self, resource: Resource, ours: &dyn Fn() -> BTreeSet<u32>) -> Option<Obstacle> {
        if !words(&self.home.join("cgroup.controllers")).iter().any(|it| it == resource.name()) {
            return Some(self.missing(resource));
        }
        if !self.is_delegated() {
            let why = format!("segue may not make limits in its control group {}", self.shown());
            return Some(obstacle(resource, &why, "set `Delegate=yes` in segue's unit"));
        }
        if self.disabled(&[resource]).is_empty() || self.is_root() {
            return None;
        }
        if self.home.extension().is_some_and(|kind| kind == "service") && !self.is_in_leaf {
            let unit = self.home.file_name().unwrap_or_default().display();
            let why = format!("systemd could not restart {unit} while instances have limits");
            let hint = format!(
                "set `DelegateSubgroup={LEAF}` beside `Delegate=yes` in the unit (systemd 254 or \
                 later) and restart it"
            );
            return Some(obstacle(resource, &why, &hint));
        }
        let kind = words(&self.home.join("cgroup.type")).join(" ");
        if kind != "domain" {
            let why = format!("segue's control group {} is of the type `{kind}`", self.shown());
            return Some(obstacle(resource, &why, "start segue in another one"));
        }
        let processes = self.processes();
        let stranger = stranger_in(&processes, &ours())?;
        Some(obstacle(resource, &self.shared_with(stranger), START_ALONE))
    }

    /// Returns the reason why the controller does not exist.
    fn missing(&self, resource: Resource) -> Obstacle {
        let name = resource.name();
        // Each line is `NUMBER:CONTROLLERS:GROUP`; the line of cgroup2 names no controllers.
        let first_version = self.groups.lines().any(|line| {
            let controllers = line.split(':').nth(1).unwrap_or_default();
            controllers.split(',').any(|controller| controller == name)
        });
        if first_version {
            let why = format!("this machine has the `{name}` controller in cgroup version 1");
            let hint = "boot it with `systemd.unified_cgroup_hierarchy=1`";
            return obstacle(resource, &why, hint);
        }
        if self.home != self.mount
            && words(&self.mount.join("cgroup.controllers")).iter().any(|it| it == name)
        {
            let home = self.shown();
            let why = format!("the `{name}` controller is not delegated to {home}");
            return obstacle(resource, &why, "set `Delegate=yes` in segue's unit");
        }
        let why = format!("there is no `{name}` controller in {}", self.mount.display());
        let hint = format!(
            "some machines have to be booted with `cgroup_enable={name}`, and a container has to be \
             given it"
        );
        obstacle(resource, &why, &hint)
    }

    /// Returns whether segue may create and change groups here. systemd undoes changes to groups that it has
    /// not delegated. For root, only the mark that systemd leaves on delegated groups shows this.
    fn is_delegated(&self) -> bool {
        let files = ["", "cgroup.procs", "cgroup.subtree_control"].map(|name| self.home.join(name));
        if !files.iter().all(|path| rustix::fs::access(path, Access::WRITE_OK).is_ok()) {
            return false;
        }
        let kind = self.home.extension().and_then(|kind| kind.to_str());
        let is_of_systemd = matches!(kind, Some("service" | "scope" | "slice"));
        let is_marked = |name: &str| {
            let mut value = [0; 8];
            rustix::fs::getxattr(&self.home, name, &mut value).is_ok_and(|n| value[..n] == *b"1")
        };
        !(is_of_systemd && rustix::process::geteuid().is_root())
            || is_marked("trusted.delegate")
            || is_marked("user.delegate")
    }

    /// Returns whether this is the machine's root group, which may have processes beside groups with limits.
    fn is_root(&self) -> bool {
        !datadir::is_there(&self.home.join("cgroup.type"))
    }

    /// Returns the processes in this group itself. A process that this one cannot see has the number 0.
    fn processes(&self) -> Vec<u32> {
        let processes = words(&self.home.join("cgroup.procs"));
        processes.iter().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// Enables the controllers of these resources for the groups of instances.
    fn enable(
        &self,
        resources: &[Resource],
        ours: &dyn Fn() -> BTreeSet<u32>,
    ) -> Result<(), String> {
        let disabled = self.disabled(resources);
        let found = disabled.iter().find_map(|resource| self.obstacle(*resource, ours));
        if let Some(found) = found {
            return Err(told(&found));
        }
        let names: Vec<String> = disabled.iter().map(|it| format!("+{}", it.name())).collect();
        self.enable_controllers(&names.join(" "), ours)
    }

    fn enable_controllers(
        &self,
        names: &str,
        ours: &dyn Fn() -> BTreeSet<u32>,
    ) -> Result<(), String> {
        let file = self.home.join("cgroup.subtree_control");
        let give_up = Instant::now() + PATIENCE;
        loop {
            if !self.is_root() {
                self.clear(ours)?;
            }
            match cgroup::write(&file, names) {
                Ok(()) => break,
                // A process was started here while others were moved.
                Err(e)
                    if e.raw_os_error() == Some(Errno::BUSY.raw_os_error())
                        && Instant::now() < give_up => {}
                Err(e) => return Err(format!("cannot write {names} to {}: {e}", file.display())),
            }
            std::thread::sleep(AGAIN);
        }
        tracing::info!("instances can be limited below {}: {names}", self.shown());
        Ok(())
    }

    /// Moves all processes in this group itself into the leaf, if all of them are segue's.
    fn clear(&self, ours: &dyn Fn() -> BTreeSet<u32>) -> Result<(), String> {
        let processes = self.processes();
        if let Some(stranger) = stranger_in(&processes, &ours()) {
            return Err(format!("{}; {START_ALONE}", self.shared_with(stranger)));
        }
        let leaf = self.home.join(LEAF);
        match fs::create_dir(&leaf) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                return Err(format!("cannot make the control group {}: {e}", leaf.display()));
            }
            Ok(()) | Err(_) => {}
        }
        for pid in processes {
            match cgroup::write(&leaf.join("cgroup.procs"), &pid.to_string()) {
                Err(e) if e.raw_os_error() != Some(Errno::SRCH.raw_os_error()) => {
                    return Err(format!("cannot move pid {pid} to {}: {e}", leaf.display()));
                }
                // The process has ended.
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    fn shared_with(&self, pid: u32) -> String {
        let who = match pid {
            0 => "a process that segue cannot see".to_owned(),
            pid => format!("{} (pid {pid})", procfs::name_of(pid)),
        };
        format!("{who} is in segue's control group {}, too", self.shown())
    }

    fn shown(&self) -> impl fmt::Display {
        self.home.display()
    }
}

/// Returns the first living process of `processes` that is not in `ours`.
fn stranger_in(processes: &[u32], ours: &BTreeSet<u32>) -> Option<u32> {
    let lives = |pid: u32| pid == 0 || procfs::process(pid).is_some();
    processes.iter().copied().find(|pid| !ours.contains(pid) && lives(*pid))
}

/// The hint for foreign processes in segue's own group.
const START_ALONE: &str = "start segue in a control group of its own, such as a unit with \
                           `Delegate=yes` and `DelegateSubgroup=segue-server`";

fn unmounted(resource: Resource) -> Obstacle {
    let why = "segue finds no mount of cgroup2 with its own control group";
    obstacle(resource, why, "mount cgroup2 at /sys/fs/cgroup")
}

fn obstacle(resource: Resource, why: &str, hint: &str) -> Obstacle {
    let key = resource.name();
    Obstacle {
        why: format!("`{key}` in [run] cannot be enforced: {why}"),
        hint: format!("{hint}; or leave `{key}` out"),
    }
}

/// Returns the obstacle and its hint as one sentence.
fn told(obstacle: &Obstacle) -> String {
    format!("{}; {}", obstacle.why, obstacle.hint)
}

/// Returns the words of a small file; no words if the file cannot be read.
fn words(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

/// Returns where this line of `mountinfo` mounts cgroup2, and the folder of the group `own` there.
fn folder(line: &str, own: &str) -> Option<(PathBuf, PathBuf)> {
    let (mount, kind) = line.split_once(" - ")?;
    if kind.split(' ').next()? != "cgroup2" {
        return None;
    }
    let mut fields = mount.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    let below = Path::new(own).strip_prefix(root).ok()?;
    // A mount point with a blank in its path is written with escapes. In practice this one has none.
    let point = Path::new(point);
    let group = if below.as_os_str().is_empty() { point.into() } else { point.join(below) };
    (!point.to_str()?.contains('\\')).then(|| (point.to_path_buf(), group))
}

#[cfg(test)]
#[path = "delegation_tests.rs"]
mod tests;
