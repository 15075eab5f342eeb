//! A shim that hangs is not waited for without a bound: it is ended, and what it watched with it.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail by panicking, and waits for one of many reports"
)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::{Host, launch, lives, shim_of, until};
use model::{Exit, Expect, HostReport, Launch, Millis, NotStarted};
use rustix::process::{Pid, Signal, kill_process};

/// An instance whose shim does not move any more: its process, and the shim's.
fn with_a_hung_shim(host: &Host) -> (Launch, u32, u32) {
    let launch = host.shell("web-1", "sleep 1000 & wait");
    host.run(&launch, Expect::Fresh);
    let pid = host.running(&launch.id);
    let shim = shim_of(pid);
    kill_process(Pid::from_raw(i32::try_from(shim).unwrap()).unwrap(), Signal::STOP).unwrap();
    (launch, pid, shim)
}

fn nothing_is_left(host: &Host, launch: &Launch, pid: u32, shim: u32) {
    until("the shim to end", || !lives(shim));
    assert!(!lives(pid));
    assert_eq!(common::processes_of(host, &launch.id), Vec::<u32>::new());
}

#[test]
fn a_stop_does_not_wait_for_it() {
    let host = Host::new();
    let (launch, pid, shim) = with_a_hung_shim(&host);
    host.stop(&launch.id, 600_000);
    // Said again and again, as control does, it prolongs nothing.
    host.stop(&launch.id, 600_000);
    assert_eq!(host.exited(&launch.id).0, Exit::Unknown);
    nothing_is_left(&host, &launch, pid, shim);
}

#[test]
fn a_stop_by_an_agent_that_does_not_know_it_does_not_wait_for_it() {
    let mut host = Host::new();
    let (launch, pid, shim) = with_a_hung_shim(&host);
    host.restart();
    host.stop(&launch.id, 600_000);
    assert_eq!(host.exited(&launch.id).0, Exit::Unknown);
    nothing_is_left(&host, &launch, pid, shim);
}

#[test]
fn an_adoption_does_not_wait_for_it() {
    let mut host = Host::new();
    let (launch, pid, shim) = with_a_hung_shim(&host);
    host.restart();
    host.run(&launch, Expect::Running);
    assert_eq!(host.exited(&launch.id).0, Exit::Unknown);
    nothing_is_left(&host, &launch, pid, shim);
}

#[test]
fn down_does_not_wait_for_it() {
    let mut host = Host::new();
    let (launch, pid, shim) = with_a_hung_shim(&host);
    host.agent = None;
    let ended = agent::stop_all(&host.data(), Millis(600_000)).unwrap();
    assert_eq!(ended, [agent::StoppedInstance { id: launch.id.clone(), exit: Exit::Unknown }]);
    nothing_is_left(&host, &launch, pid, shim);
}

#[test]
fn a_start_does_not_wait_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("hangs");
    fs::write(&program, "#!/bin/sh\nexec sleep 1000\n").unwrap();
    fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let mut host = Host::new();
    host.program = program;
    host.restart();
    let launch = launch("web-1", host.free_port(), &["true"]);
    host.run(&launch, Expect::Fresh);
    let why = host.wait("not started", |report| match report {
        HostReport::NotStarted { why: NotStarted::Refused(why), .. } => Some(why.clone()),
        _ => None,
    });
    assert!(why.contains("did not answer within 20 s"), "{why}");
}
