//! Releases that are no good, and servers that cannot do what they are asked: said clearly, with
//! what is live untouched.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::app;
use crate::load::{Load, ask};
use crate::world::{World, pids};

/// A world with a good release live, and load on it.
fn with_v1() -> (World, Load) {
    let world = World::start("8s");
    assert_eq!(world.deploy("v1", "good").code, Some(0));
    let load = Load::start(world.http, 2);
    (world, load)
}

fn nobody_noticed(load: Load) {
    for seen in load.stop() {
        assert_eq!(seen.failures, Vec::<String>::new());
        assert!(!seen.answers.is_empty());
        assert!(seen.answers.iter().all(|(_, version)| version == "v1"));
    }
}

#[test]
fn a_release_that_crashes_at_start_is_refused_in_its_own_words() {
    let (world, load) = with_v1();
    let said = world.deploy("v2", "crash");
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("no such table: orders"), "{}", said.stderr);
    assert_eq!(said.receipt()["outcome"], "failed");
    let status = world.at_rest();
    assert_eq!(status["live"]["label"], "v1");
    let told = world.segue(&["status", "web"]).stdout;
    assert!(told.contains("v2 failed") && told.contains("no such table: orders"), "{told}");
    let words = world.segue(&["logs", "web"]).stdout;
    assert!(words.contains("no such table: orders"), "{words}");
    nobody_noticed(load);
}

#[test]
fn a_release_that_is_never_healthy_says_what_its_probe_saw() {
    let (world, load) = with_v1();
    app::hurry(&world.app_dir());
    let said = world.deploy("v2", "sick");
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("was not healthy within 12s"), "{}", said.stderr);
    assert!(said.stderr.contains("GET /up answered 500"), "{}", said.stderr);
    assert_eq!(world.status()["live"]["label"], "v1");
    nobody_noticed(load);
}

#[test]
fn a_release_that_listens_elsewhere_says_that_nobody_answered() {
    let (world, load) = with_v1();
    app::hurry(&world.app_dir());
    let said = world.deploy("v2", "lost");
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("refused"), "{}", said.stderr);
    assert_eq!(world.status()["live"]["label"], "v1");
    nobody_noticed(load);
}

#[test]
fn a_limit_is_enforced_or_refused_before_anything_is_begun() {
    let (world, load) = with_v1();
    app::limit_memory(&world.app_dir(), "256MiB");
    let plan: Value = serde_json::from_str(&world.segue(&["plan", "--json"]).stdout).unwrap();
    let said = world.deploy("v2", "good");
    if let Some(problem) = plan["verdict"].get("refused") {
        let message = problem["message"].as_str().unwrap();
        assert!(message.starts_with("cannot deploy web: `memory` in [run] cannot"), "{message}");
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.stderr.contains(message), "{}", said.stderr);
        assert!(said.stderr.contains("hint:"), "{}", said.stderr);
        let status = world.at_rest();
        assert_eq!(status["live"]["label"], "v1");
        assert!(!world.segue(&["releases", "web"]).stdout.contains("v2"));
        nobody_noticed(load);
        return;
    }
    assert_eq!(said.code, Some(0), "{said:?}");
    for pid in pids(&world.at_rest(), "live") {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let own = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap().to_owned();
        let limit = fs::read_to_string(format!("/sys/fs/cgroup{own}/memory.max")).unwrap();
        assert_eq!(limit, "268435456\n");
    }
    load.stop();
}

#[test]
fn a_release_that_dies_after_the_switch_is_taken_back() {
    let (world, load) = with_v1();
    let said = world.deploy("v2", "dies");
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.stderr.contains("out of luck"), "{}", said.stderr);
    assert_eq!(said.receipt()["outcome"], "reverted");
    let status = world.at_rest();
    assert_eq!(status["live"]["label"], "v1");
    load.stop();
    assert_eq!(ask(&mut None, world.http, "/"), Ok("v1".into()));
}

#[test]
fn without_a_standby_a_rollback_is_refused_with_the_way_out() {
    let (world, load) = with_v1();
    let said = world.segue(&["rollback", "web"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("there is no release before"), "{}", said.stderr);
    assert!(said.stderr.contains("hint:"), "{}", said.stderr);
    nobody_noticed(load);
}

#[test]
fn a_damaged_journal_leaves_traffic_running_and_is_not_touched() {
    let mut world = World::start("0s");
    assert_eq!(world.deploy("v1", "good").code, Some(0));
    world.kill_server();
    let journal = world.data().join("journal.db");
    let mut bytes = fs::read(&journal).unwrap();
    let middle = bytes.len() / 2;
    bytes[100..middle].fill(0xA5);
    fs::write(&journal, &bytes).unwrap();
    world.serve(&[]);
    assert_eq!(ask(&mut None, world.http, "/"), Ok("v1".into()));
    let said = world.deploy("v2", "good");
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("journal"), "{}", said.stderr);
    assert_eq!(fs::read(&journal).unwrap(), bytes);
}

#[test]
fn a_missing_journal_leaves_traffic_running_and_is_not_begun_anew() {
    let mut world = World::start("0s");
    assert_eq!(world.deploy("v1", "good").code, Some(0));
    world.kill_server();
    let away = world.app_dir().join("backup");
    fs::create_dir(&away).unwrap();
    for name in ["journal.db", "journal.db-wal", "journal.db-shm", "journal.db-acked"] {
        let _ = fs::rename(world.data().join(name), away.join(name));
    }
    world.serve(&[]);
    assert_eq!(ask(&mut None, world.http, "/"), Ok("v1".into()));
    let said = world.deploy("v2", "good");
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("it is missing"), "{}", said.stderr);
    let said = world.segue(&["status"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("no app is known now"), "{}", said.stderr);
    assert!(!world.data().join("journal.db").exists());
    world.kill_server();
    for entry in fs::read_dir(&away).unwrap() {
        let name = entry.unwrap().file_name();
        fs::rename(away.join(&name), world.data().join(&name)).unwrap();
    }
    world.serve(&[]);
    assert_eq!(world.at_rest()["live"]["label"], "v1");
    let said = world.segue(&["down"]);
    assert!(said.stderr.contains("2 instances and the server are stopped"), "{said:?}");
}

#[test]
fn a_second_server_on_the_same_folder_is_refused() {
    let world = World::start("0s");
    let data = world.data();
    let said = world.segue(&[
        "server",
        "--http",
        "127.0.0.1:0",
        "--api",
        "127.0.0.1:0",
        "--data",
        data.to_str().unwrap(),
    ]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("another server uses it"), "{}", said.stderr);
    let said = Command::new(env!("CARGO_BIN_EXE_segue"))
        .args(["down", "--data", data.to_str().unwrap(), "--server", "http://127.0.0.1:1"])
        .env("SEGUE_TOKEN", "x")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&said.stderr);
    assert!(told.contains("its server is running") && told.contains("--server"), "{told}");
}
