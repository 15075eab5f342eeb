//! Instances with limits: held to them by the kernel where this machine can, and refused otherwise.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail by panicking, and waits for one of many reports"
)]

mod common;

use std::fs;

use common::{Host, launch, until};
use model::{Exit, Expect, HostReport, Launch, NotStarted, ResourceLimits};

/// Whether the kernel offers this controller to the group of this process, or to the group above where
/// an earlier test of this process has moved it into the leaf.
fn offered(controller: &str) -> bool {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"));
    let (Some(mount), Some(own)) = (mount, own) else { return false };
    let own = own.trim_end_matches("/segue-server");
    let file = format!("{}{own}/cgroup.controllers", mount.split(' ').nth(1).unwrap());
    fs::read_to_string(file).unwrap_or_default().split_whitespace().any(|it| it == controller)
}

fn limited(host: &Host, id: &str, limits: ResourceLimits, command: &[&str]) -> Launch {
    let mut launch = launch(id, host.free_port(), command);
    launch.run.limits = limits;
    launch
}

/// Starts it if this machine can enforce its limits; otherwise looks that it is refused in the words
/// with which a deploy is.
fn started(host: &Host, launch: &Launch) -> bool {
    host.run(launch, Expect::Fresh);
    let Some(obstacle) = host.agent().abilities().limits.to(&launch.run.limits) else {
        return true;
    };
    let told = host.wait("a refusal", |report| match report {
        HostReport::NotStarted { why: NotStarted::Refused(why), .. } => Some(why.clone()),
        HostReport::Running { .. } => Some("it runs".to_owned()),
        _ => None,
    });
    let wanted = format!("cannot limit {}: {}; {}", launch.id, obstacle.why, obstacle.hint);
    assert_eq!(told, wanted);
    false
}

#[test]
fn a_machine_without_the_controller_refuses_the_limit_and_no_other_instance() {
    let host = Host::new();
    for (resource, limits) in [
        ("memory", ResourceLimits { memory: Some(64 << 20), ..ResourceLimits::default() }),
        ("pids", ResourceLimits { pids: Some(50), ..ResourceLimits::default() }),
        ("cpu", ResourceLimits { cpu: Some(500), ..ResourceLimits::default() }),
    ] {
        let obstacle = host.agent().abilities().limits.to(&limits);
        if !offered(resource) {
            let why = &obstacle.unwrap().why;
            assert!(
                why.starts_with(&format!("`{resource}` in [run] cannot be enforced: ")),
                "{why}"
            );
        }
    }
    let free = host.shell("web-1", "exec sleep 1000");
    host.run(&free, Expect::Fresh);
    host.running(&free.id);
}

#[test]
fn an_instance_that_needs_more_memory_is_killed_whole_and_says_why() {
    let host = Host::new();
    let eats = "import os, signal\n\
                if os.fork() == 0: signal.pause()\n\
                print('eating', flush=True)\n\
                block = []\n\
                while True: block.append(bytearray(1 << 20))";
    let limits = ResourceLimits { memory: Some(64 << 20), ..ResourceLimits::default() };
    let eater = limited(&host, "web-1", limits, &["python3", "-c", eats]);
    if !started(&host, &eater) {
        return;
    }
    let (exit, _, tail) = host.exited(&eater.id);
    assert_eq!(exit, Exit::Signal(9), "{tail:?}");
    let why = "segue: killed for using more than 64 MiB (`memory` in [run])";
    assert_eq!(tail, ["eating", why]);
    // The next one is started beside it, and what has no limit has none.
    let free =
        host.shell("web-2", "cat /sys/fs/cgroup$(sed -n s/0:://p /proc/self/cgroup)/memory.max");
    host.run(&free, Expect::Fresh);
    assert_eq!(host.exited(&free.id).2, ["max"]);
}

#[test]
fn an_instance_with_too_many_threads_is_told_so_and_says_so() {
    let host = Host::new();
    let forks = "import os, signal\n\
                 try:\n\
                 \twhile True: os.fork() or signal.pause()\n\
                 except OSError as e: print(e.strerror, flush=True)";
    let limits = ResourceLimits { pids: Some(20), ..ResourceLimits::default() };
    let forker = limited(&host, "web-1", limits, &["python3", "-c", forks]);
    if !started(&host, &forker) {
        return;
    }
    let (exit, _, tail) = host.exited(&forker.id);
    assert_eq!(exit, Exit::Code(0), "{tail:?}");
    let why = "segue: could not start a process or thread once: it had 20 (`pids` in [run])";
    assert_eq!(tail, ["Resource temporarily unavailable", why]);
}

#[test]
fn processor_time_is_limited_and_the_group_goes_with_its_instance() {
    let host = Host::new();
    let limits = ResourceLimits { cpu: Some(1_500), ..ResourceLimits::default() };
    let busy = limited(&host, "web-1", limits, &["sleep", "1000"]);
    if !started(&host, &busy) {
        return;
    }
    host.running(&busy.id);
    let record = fs::read_to_string(host.run_folder(&busy.id).join("process.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    let group = std::path::Path::new(record["cgroup"].as_str().unwrap()).to_path_buf();
    assert_eq!(fs::read_to_string(group.join("cpu.max")).unwrap(), "150000 100000\n");
    host.stop(&busy.id, 0);
    host.exited(&busy.id);
    until("the group is removed", || !group.exists());
}

#[test]
fn instances_from_before_the_server_moved_are_adopted_and_ended_whole() {
    let mut host = Host::new();
    let before = host.shell("web-1", "sleep 1000 & exec sleep 1001");
    host.run(&before, Expect::Fresh);
    host.running(&before.id);
    let limits = ResourceLimits { pids: Some(50), ..ResourceLimits::default() };
    let after = limited(&host, "web-2", limits, &["sh", "-c", "sleep 1000 & exec sleep 1001"]);
    if !started(&host, &after) {
        return;
    }
    host.running(&after.id);
    host.restart();
    for launch in [&before, &after] {
        host.run(launch, Expect::Running);
        host.running(&launch.id);
        until("both processes run", || common::processes_of(&host, &launch.id).len() == 2);
    }
    for launch in [&before, &after] {
        host.stop(&launch.id, 20_000);
        assert_eq!(host.exited(&launch.id).0, Exit::Signal(15));
        assert_eq!(common::processes_of(&host, &launch.id), [0; 0]);
    }
}
