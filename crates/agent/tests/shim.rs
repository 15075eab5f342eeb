//! The shim alone: racing starts, and kills at any moment of a start.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail by panicking, and waits for one of many reports"
)]

mod common;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use common::{Host, lives, processes_of, serving, until};
use model::{Exit, Expect, HostReport, InstanceId, Millis};

/// Starts a shim the way an agent does.
fn shim(run: &Path, order: &str) -> Child {
    let mut child = Command::new(env!("CARGO_BIN_EXE_agent-shim-for-tests"))
        .arg("__shim")
        .arg(run)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // One that is killed early may not have read it.
    let _ = child.stdin.take().unwrap().write_all(order.as_bytes());
    child
}

fn order(host: &Host, id: &InstanceId) -> String {
    let state = host.data().join("apps").join(id.app.as_str()).join("state");
    serde_json::json!({
        "version": 1,
        "id": id,
        "command": ["sh", "-c", "echo start >> starts; exec sleep 1000"],
        "folder": host.run_folder(id),
        "env": {
            "PATH": "/usr/bin:/bin",
            "SEGUE_INSTANCE": id,
            "SEGUE_STATE_DIR": state,
        },
        "user": null,
        "group": null,
        "open_files": null,
    })
    .to_string()
}

fn answer(child: &mut Child) -> String {
    let mut text = String::new();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut lines, &mut text).unwrap();
    text
}

/// As `pkill -HUP segue` does, meant for the server.
#[test]
fn signals_to_all_of_the_programs_name_end_no_instance() {
    use rustix::process::{Pid, Signal, kill_process};
    let host = Host::new();
    let script = "trap 'echo asked; exit 7' TERM; echo > $SEGUE_STATE_DIR/ready; sleep 1000 & wait";
    let launch = host.shell("web-1", script);
    host.run(&launch, Expect::Fresh);
    let pid = host.running(&launch.id);
    // Before that the shell may not have set its trap.
    common::line_in(&host.data().join("apps/web/state/ready"));
    let shim = common::shim_of(pid);
    let number = Pid::from_raw(i32::try_from(shim).unwrap()).unwrap();
    for signal in [Signal::HUP, Signal::USR1, Signal::INT, Signal::QUIT, Signal::TERM] {
        kill_process(number, signal).unwrap();
    }
    // Only a shim that lives hands the signal on, and knows how the instance ended.
    host.stop(&launch.id, 30_000);
    let (exit, _, tail) = host.exited(&launch.id);
    assert_eq!((exit, tail), (Exit::Code(7), vec!["asked".to_owned()]));
    until("the shim to end", || !lives(shim));
}

#[test]
fn of_racing_shims_one_starts_and_the_others_know() {
    let host = Host::new();
    for round in 0..5 {
        let id: InstanceId = format!("web-{round}").parse().unwrap();
        let (run, order) = (host.run_folder(&id), order(&host, &id));
        fs::create_dir_all(&run).unwrap();
        let mut shims: Vec<Child> = (0..8).map(|_| shim(&run, &order)).collect();
        let answers: Vec<String> = shims.iter_mut().map(answer).collect();
        let count = |word: &str| answers.iter().filter(|text| text.contains(word)).count();
        assert_eq!((count("started"), count("taken")), (1, 7), "{answers:?}");
        assert_eq!(common::line_in(&run.join("starts")), "start");
        // While the shell becomes `sleep`, the kernel shows no environment for a moment.
        until("the one process", || processes_of(&host, &id).len() == 1);
        agent::stop_all(&host.data(), Millis(0)).unwrap();
        assert!(processes_of(&host, &id).is_empty());
        for shim in &mut shims {
            shim.wait().unwrap();
        }
    }
}

/// However early or late the shim is killed: the next agent finds the instance running, or reports
/// its end, or starts it for the first time; never a second time, and nothing is left over.
#[test]
fn a_kill_at_any_moment_of_a_start_makes_neither_an_orphan_nor_a_second_start() {
    let host = Host::new();
    let begun = Instant::now();
    let id: InstanceId = "probe-1".parse().unwrap();
    fs::create_dir_all(host.run_folder(&id)).unwrap();
    let mut child = shim(&host.run_folder(&id), &order(&host, &id));
    answer(&mut child);
    let whole = begun.elapsed();
    agent::stop_all(&host.data(), Millis(0)).unwrap();
    child.wait().unwrap();

    let (mut started, mut found) = (0, 0);
    // On a busy machine a start takes longer than the first one did: then the kills go on, later.
    for round in 0..300 {
        if round >= 30 && started > 0 && found > 0 {
            break;
        }
        let mut launch = host.shell(
            &format!("web-{round}"),
            "echo start >> $SEGUE_STATE_DIR/again; exec sleep 1000",
        );
        serving(&mut launch).health.interval = Millis(60_000);
        let (id, run) = (launch.id.clone(), host.run_folder(&launch.id));
        fs::create_dir_all(&run).unwrap();
        let mut child = shim(&run, &order(&host, &id));
        // Spread over the time a start takes, and a little beyond.
        let at = Instant::now() + whole * round / 25;
        while Instant::now() < at {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        host.run(&launch, Expect::Fresh);
        let ran = host.wait("an answer", |report| match report {
            HostReport::Running { id: of, pid } if *of == id => Some(Some(*pid)),
            HostReport::Exited { id: of, .. } if *of == id => Some(None),
            _ => None,
        });
        let before = fs::read_to_string(run.join("starts")).unwrap_or_default();
        match ran {
            Some(pid) => {
                assert!(lives(pid) && before.is_empty(), "it had been started: {before:?}");
                until("the one process", || processes_of(&host, &id) == [pid]);
                started += 1;
                host.stop(&id, 0);
                host.exited(&id);
            }
            None => found += 1,
        }
        assert!(processes_of(&host, &id).is_empty());
    }
    assert!(started > 0 && found > 0, "started {started}, found {found}: not spread at all");
}

/// As when the server is killed while it hands the order over.
#[test]
fn an_order_that_is_cut_off_starts_nothing_and_spoils_nothing() {
    let host = Host::new();
    let id: InstanceId = "web-1".parse().unwrap();
    let (run, order) = (host.run_folder(&id), order(&host, &id));
    fs::create_dir_all(&run).unwrap();
    for length in [0, 1, order.len() / 2, order.len() - 1] {
        let mut cut = shim(&run, &order[..length]);
        assert!(answer(&mut cut).contains("cannot read the order"));
        cut.wait().unwrap();
    }
    assert!(processes_of(&host, &id).is_empty());
    let mut whole = shim(&run, &order);
    assert!(answer(&mut whole).contains("started"));
    agent::stop_all(&host.data(), Millis(0)).unwrap();
    whole.wait().unwrap();
}
