//! Tests of limits on machines of all kinds: with folders that look like cgroup2, and with real control
//! groups.

use std::process::{Child, Command};

use super::*;

const FIRST_VERSION: &str = "8:pids:/\n4:cpu,memory:/\n0::/\n";
const UNIFIED: &str = "0::/\n";

/// A mount of cgroup2 with one group, which contains segue.
struct Machine {
    folder: tempfile::TempDir,
    own: Delegation,
}

impl Machine {
    /// Creates the group `group` with these files, in addition to the files that a kernel always creates.
    fn new(group: &str, groups: &str, files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (mount, home) = (folder.path().to_path_buf(), folder.path().join(group));
        fs::create_dir_all(home.join(LEAF)).unwrap();
        fs::write(mount.join("cgroup.controllers"), "cpu memory pids\n").unwrap();
        fs::write(home.join(LEAF).join("cgroup.procs"), "").unwrap();
        let own = Delegation { home, mount, groups: groups.to_owned(), is_in_leaf: false };
        let machine = Self { folder, own };
        let usual = [
            ("cgroup.controllers", "cpu io memory pids\n"),
            ("cgroup.subtree_control", "\n"),
            ("cgroup.type", "domain\n"),
            ("cgroup.procs", ""),
        ];
        usual.iter().chain(files).for_each(|(name, content)| machine.write(name, content));
        machine
    }

    fn write(&self, file: &str, content: &str) {
        fs::write(self.own.home.join(file), content).unwrap();
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.own.home.join(file)).unwrap()
    }

    /// Returns the obstacle to limiting memory, with the folder's name shortened.
    fn obstacle(&self) -> Option<String> {
        let obstacle = self.own.obstacle(Resource::Memory, &nobody)?;
        Some(told(&obstacle).replace(self.folder.path().to_str().unwrap(), "/cg"))
    }
}

fn nobody() -> BTreeSet<u32> {
    BTreeSet::new()
}

#[test]
fn a_group_that_segue_has_alone_needs_nothing_else() {
    assert_eq!(Machine::new("own", UNIFIED, &[]).obstacle(), None);
    // The processes of the machine's root group may stay in it.
    let me = std::process::id().to_string();
    let root = Machine::new("", UNIFIED, &[("cgroup.procs", &me)]);
    fs::remove_file(root.own.home.join("cgroup.type")).unwrap();
    assert_eq!(root.obstacle(), None);
    root.own.enable(&[Resource::Pids, Resource::Cpu], &nobody).unwrap();
    assert_eq!(root.read("cgroup.subtree_control"), "+pids +cpu");
    assert_eq!(root.read("segue-server/cgroup.procs"), "", "nothing was moved");
}

#[test]
fn each_machine_without_the_controller_hears_what_it_lacks() {
    let told = |machine: Machine| machine.obstacle().unwrap();
    let cannot = "`memory` in [run] cannot be enforced: ";
    let out = "; or leave `memory` out";
    let none = [("cgroup.controllers", "hugetlb\n")];
    assert_eq!(
        told(Machine::new("", FIRST_VERSION, &none)),
        format!(
            "{cannot}this machine has the `memory` controller in cgroup version 1; boot it with \
             `systemd.unified_cgroup_hierarchy=1`{out}"
        )
    );
    assert_eq!(
        told(Machine::new("own", UNIFIED, &none)),
        format!(
            "{cannot}the `memory` controller is not delegated to /cg/own; set `Delegate=yes` in \
             segue's unit{out}"
        )
    );
    assert_eq!(
        told(Machine::new("", UNIFIED, &none)),
        format!(
            "{cannot}there is no `memory` controller in /cg; some machines have to be booted with \
             `cgroup_enable=memory`, and a container has to be given it{out}"
        )
    );
    // A missing controller is no reason to refuse limits of other resources.
    let pids = Machine::new("own", UNIFIED, &[("cgroup.controllers", "pids\n")]);
    assert_eq!(pids.own.obstacle(Resource::Pids, &nobody), None);
    assert!(pids.own.obstacle(Resource::Cpu, &nobody).is_some());
}

#[test]
fn a_unit_that_systemd_could_not_start_again_is_left_alone() {
    // Users other than root get the ownership of the files instead of the mark.
    let is_root = rustix::process::geteuid().is_root();
    // The mark of a unit with `Delegate=yes`.
    let unit = |marked: bool| {
        let machine = Machine::new("segue.service", UNIFIED, &[]);
        let flags = rustix::fs::XattrFlags::empty();
        if marked && is_root {
            rustix::fs::setxattr(&machine.own.home, "trusted.delegate", b"1", flags).unwrap();
        }
        machine
    };
    let unmarked = unit(false).obstacle();
    if is_root {
        let why = unmarked.unwrap();
        assert!(
            why.contains("may not make limits in its control group /cg/segue.service"),
            "{why}"
        );
        assert!(why.contains("set `Delegate=yes`"), "{why}");
    }
    let mut marked = unit(true);
    let told = marked.obstacle().unwrap();
    assert!(told.contains("systemd could not restart segue.service while"), "{told}");
    assert!(told.contains("set `DelegateSubgroup=segue-server` beside `Delegate=yes`"), "{told}");
    let refused = marked.own.enable(&[Resource::Memory], &nobody).unwrap_err();
    assert!(refused.contains("DelegateSubgroup"), "{refused}");
    assert_eq!(marked.read("cgroup.subtree_control"), "\n", "nothing was enabled");
    // With the subgroup, systemd starts segue in the leaf.
    marked.own.is_in_leaf = true;
    assert_eq!(marked.obstacle(), None);
    marked.own.enable(&[Resource::Memory], &nobody).unwrap();
    assert_eq!(marked.read("cgroup.subtree_control"), "+memory");
}

#[test]
fn strangers_in_the_group_are_not_moved() {
    let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = stranger.id();
    let shared = Machine::new("own", UNIFIED, &[("cgroup.procs", &format!("{pid}\n"))]);
    let refusals =
        [shared.obstacle().unwrap(), shared.own.enable(&[Resource::Cpu], &nobody).unwrap_err()];
    let unseen = Machine::new("own", UNIFIED, &[("cgroup.procs", "0\n")]).obstacle().unwrap();
    shared.own.enable(&[Resource::Cpu], &|| [pid].into()).unwrap();
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    for why in &refusals {
        assert!(why.contains(&format!("sleep (pid {pid}) is in segue's control group")), "{why}");
        assert!(why.contains("start segue in a control group of its own"), "{why}");
    }
    assert!(unseen.contains("a process that segue cannot see"), "{unseen}");
    assert_eq!(shared.read("segue-server/cgroup.procs"), pid.to_string());
    assert_eq!(shared.obstacle(), None, "it has ended");
    let threaded = Machine::new("own", UNIFIED, &[("cgroup.type", "domain invalid\n")]);
    let why = threaded.obstacle().unwrap();
    assert!(why.contains("is of the type `domain invalid`"), "{why}");
}

#[test]
fn only_what_is_missing_is_enabled() {
    let on = [("cgroup.subtree_control", "memory pids\n")];
    let machine = Machine::new("own", UNIFIED, &on);
    assert_eq!(machine.own.disabled(&[Resource::Memory, Resource::Cpu]), [Resource::Cpu]);
    machine.own.enable(&[Resource::Memory, Resource::Cpu], &nobody).unwrap();
    assert_eq!(machine.read("cgroup.subtree_control"), "+cpu");
}

#[test]
fn the_group_of_instances_is_found_below_the_mount_and_beside_the_leaf() {
    let find = |groups: &str, line: &str| {
        let own = Delegation::find(groups.to_owned(), line)?;
        Some((own.group("segue-web-1").display().to_string(), own.is_in_leaf))
    };
    let hybrid = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";
    let unit = "4:memory:/x\n0::/system.slice/segue.service\n";
    let at = "/sys/fs/cgroup/unified/system.slice/segue.service/segue-web-1".to_owned();
    assert_eq!(find(unit, hybrid), Some((at.clone(), false)));
    let leaf = "0::/system.slice/segue.service/segue-server\n";
    assert_eq!(find(leaf, hybrid), Some((at, true)));
    let inner = "41 31 0:38 /docker/1 /sys/fs/cgroup ro - cgroup2 cgroup rw";
    let below = Some(("/sys/fs/cgroup/a/segue-web-1".to_owned(), false));
    assert_eq!(find("0::/docker/1/a\n", inner), below);
    let top = Some(("/sys/fs/cgroup/segue-web-1".to_owned(), false));
    assert_eq!(find("0::/docker/1\n", inner), top);
    assert_eq!(find("0::/\n", "31 23 0:28 / /sys rw - tmpfs tmpfs rw"), None);
    assert_eq!(find("4:memory:/x\n", hybrid), None, "version 1 alone");
}

/// A real control group, emptied and removed at the end.
struct Real {
    own: Delegation,
    children: Vec<Child>,
}

impl Real {
    /// Creates a group; returns `None` if this user may not.
    fn new(name: &str) -> Option<Self> {
        let own = Delegation::own()?;
        let home = own.group(&format!("{name}-{}", std::process::id()));
        fs::create_dir(&home).ok()?;
        Some(Self { own: Delegation { home, is_in_leaf: false, ..own }, children: Vec::new() })
    }

    /// Starts a process in the group.
    fn start(&mut self) -> u32 {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = child.id();
        self.children.push(child);
        cgroup::write(&self.own.home.join("cgroup.procs"), &pid.to_string()).unwrap();
        pid
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir(self.own.home.join(LEAF));
        let _ = fs::remove_dir(&self.own.home);
    }
}

#[test]
fn the_kernel_moves_all_processes_of_segue_and_none_beside_a_stranger() {
    let Some(mut real) = Real::new("segue-moves") else {
        assert!(!Delegation::own().is_some_and(|own| own.is_delegated()));
        return;
    };
    let first: BTreeSet<u32> = [real.start(), real.start()].into();
    let stranger = real.start();
    let refused = real.own.clear(&|| first.clone()).unwrap_err();
    assert!(refused.contains(&format!("sleep (pid {stranger})")), "{refused}");
    assert_eq!(real.own.processes().len(), 3, "none was moved");
    let all: BTreeSet<u32> = first.iter().copied().chain([stranger]).collect();
    real.own.clear(&|| all.clone()).unwrap();
    assert_eq!(real.own.processes(), [0; 0]);
    let leaf = Delegation { home: real.own.home.join(LEAF), ..real.own.clone() };
    assert_eq!(leaf.processes().into_iter().collect::<BTreeSet<u32>>(), all);
    // Repeats this with a process that was started later.
    let late = real.start();
    real.own.clear(&|| [late].into()).unwrap();
    assert_eq!((real.own.processes(), leaf.processes().len()), (Vec::new(), 4));
}
