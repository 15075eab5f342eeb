//! Hosts on machines of their own: they run what the server places on them, and go on without it.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::network::Machine;
use super::world::FleetWorld;
use crate::app;

/// Returns the processes of an arm, by host.
fn by_host(status: &Value, arm: &str) -> BTreeMap<String, Vec<u64>> {
    let mut hosts = BTreeMap::<String, Vec<u64>>::new();
    for instance in status[arm]["instances"].as_array().into_iter().flatten() {
        let host = instance["host"].as_str().unwrap_or_default().to_owned();
        hosts.entry(host).or_default().extend(instance["pid"].as_u64());
    }
    hosts
}

/// Returns whether each instance of an arm is up.
fn is_up(status: &Value, arm: &str) -> bool {
    let instances = status[arm]["instances"].as_array().cloned().unwrap_or_default();
    instances.len() == 2 && instances.iter().all(|instance| instance["health"] == "up")
}

#[test]
fn a_release_runs_on_the_hosts_that_joined_and_is_taken_back_in_one_switch() {
    let world = FleetWorld::start(2, &app::watch("1s"));
    world.deploy("v1");
    let hosts: Vec<String> = by_host(&world.status(), "live").into_keys().collect();
    assert_eq!(hosts, ["h1", "h2"]);
    let users = world.users(4);
    let receipt = world.deploy("v2");
    assert_eq!((&receipt["outcome"], &receipt["failed"]), (&"completed".into(), &0.into()));
    let back = world.segue(&["rollback", "web", "--json"]);
    assert_eq!(back.code, Some(0), "{back:?}");
    assert_eq!(back.receipt()["failed"], 0);
    let seen = users.stop();
    let failures: Vec<_> = seen.iter().flat_map(|seen| &seen.failures).collect();
    assert!(failures.is_empty(), "{failures:?}");
    let versions: Vec<_> = seen.iter().flat_map(|seen| &seen.answers).map(|(_, it)| it).collect();
    assert!(versions.iter().any(|it| *it == "v2") && versions.last().is_some_and(|it| *it == "v1"));
    let said = world.segue(&["logs", "web"]);
    assert!(said.stdout.contains("listening"), "{said:?}");
}

#[test]
fn an_app_runs_only_on_the_hosts_that_it_names_by_a_label() {
    let world = FleetWorld::start(2, &app::watch("300ms"));
    let only = |label: &str| {
        let on = format!("{}\n[placement]\non = \"{label}\"\n", app::watch("300ms"));
        app::write(&world.app_dir(), &on);
    };
    only("number=2");
    world.deploy("v1");
    let hosts: Vec<String> = by_host(&world.status(), "live").into_keys().collect();
    assert_eq!(hosts, ["h2"]);
    only("number=7");
    let said = world.segue(&["deploy", "--release", "v2", "--env", "VERSION=v2"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("has the label number=7"), "{said:?}");
}

/// Each strategy brings a release in over three hosts and is taken back, with users all the time.
#[test]
fn every_strategy_goes_over_three_hosts_and_back_and_loses_no_request() {
    let world = FleetWorld::start(3, &app::watch("300ms"));
    world.replicas(3);
    world.deploy("v0");
    let users = world.users(4);
    let rolling = |surge: bool| {
        format!("[strategy]\nkind = \"rolling\"\nbatch = 1\nsurge = {surge}\nwatch = \"300ms\"\n")
    };
    let canary = "[strategy]\nkind = \"canary\"\nwatch = \"300ms\"\n\
                  steps = [{ share = \"10%\", hold = \"300ms\" }, { share = \"50%\", hold = \"300ms\" }]\n";
    let strategies = [
        ("v1", app::watch("300ms")),
        ("v2", rolling(true)),
        ("v3", rolling(false)),
        ("v4", canary.to_owned()),
    ];
    for (version, strategy) in strategies {
        app::write(&world.app_dir(), &strategy);
        world.replicas(3);
        let receipt = world.deploy(version);
        let (outcome, failed) = (&receipt["outcome"], &receipt["failed"]);
        assert_eq!((outcome, failed), (&"completed".into(), &0.into()), "{version}: {receipt:#}");
        let back = world.segue(&["rollback", "web", "--to", "v0", "--json"]);
        assert_eq!(back.code, Some(0), "{version}: {back:?}");
        assert_eq!(back.receipt()["failed"], 0, "{version}: {back:?}");
    }
    let seen = users.stop();
    let failures: Vec<_> = seen.iter().flat_map(|seen| &seen.failures).collect();
    assert!(failures.is_empty(), "{failures:?}");
    let hosts = by_host(&world.status(), "live");
    assert_eq!(hosts.values().map(Vec::len).sum::<usize>(), 3, "{hosts:?}");
}

#[test]
fn instances_go_on_without_server_and_agent_and_are_found_again() {
    let mut world = FleetWorld::start(2, &app::watch("1s"));
    world.deploy("v1");
    let before = by_host(&world.status(), "live");
    world.kill_server();
    world.kill_agent(1);
    for pid in before.values().flatten() {
        assert!(crate::world::lives(u32::try_from(*pid).unwrap()), "{pid} is gone");
    }
    world.run_server_then_agent(1);
    let after = world.until("all are up again", |status| is_up(status, "live"));
    assert_eq!(by_host(&after, "live"), before, "nothing was started a second time");
    world.deploy("v2");
}

/// Meanwhile hosts have obeyed a control of a higher term than the backup's, and would obey no lower one. Nor
/// may what it starts get the numbers of instances that it does not know.
#[test]
fn a_server_that_is_restored_from_a_backup_is_obeyed_again() {
    let mut world = FleetWorld::start(2, &app::watch("1s"));
    world.deploy("v1");
    let before = by_host(&world.status(), "live");
    world.kill_server();
    let backup = world.data().with_extension("backup");
    copy(&world.data(), &backup);
    for version in ["v2", "v3"] {
        world.serve();
        world.until("all are up", |status| is_up(status, "live"));
        world.deploy(version);
        world.kill_server();
    }
    std::fs::remove_dir_all(world.data()).unwrap();
    copy(&backup, &world.data());
    world.serve();
    // It knows v1 alone, whose instances have ended since: they are started again, by other numbers than
    // those of v2 and v3.
    let after = world.until("v1 is up again", |status| is_up(status, "live"));
    assert_eq!(after["live"]["label"], "v1");
    assert!(by_host(&after, "live") != before);
    world.deploy("v4");
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

/// The instance is healthy for its own agent. Users would not reach it.
#[test]
fn a_release_that_the_proxy_cannot_reach_gets_no_user() {
    let world = FleetWorld::start(2, &app::watch("1s"));
    world.deploy("v1");
    app::hurry(&world.app_dir());
    for host in [Machine::Host(1), Machine::Host(2)] {
        world.network.firewall(host, Machine::Server);
    }
    let users = world.users(4);
    let said = world.segue(&["deploy", "--json", "--release", "v2", "--env", "VERSION=v2"]);
    let users = users.stop();
    assert_eq!(said.code, Some(1), "{said:?}");
    let why = "it is healthy on its host, and the server cannot reach 10.77.0.1";
    assert!(said.stderr.contains(why), "{said:?}");
    let versions = users.iter().flat_map(|seen| &seen.answers).map(|(_, version)| version.as_str());
    assert!(versions.into_iter().all(|version| version == "v1"), "v2 had users");
}

#[test]
fn a_cut_link_restarts_nothing_and_the_host_is_here_again_when_it_is_healed() {
    let world = FleetWorld::start(2, &app::watch("1s"));
    world.deploy("v1");
    let before = by_host(&world.status(), "live");
    world.network.cut(Machine::Host(1));
    world.eventually("h1 is not heard", || world.state("h1") != "here");
    // The server's own host, which gets nothing, is not counted: one of two hosts is enough.
    let plan = world.segue(&["plan", "--release", "v2", "--env", "VERSION=v2"]);
    assert_eq!(plan.code, Some(0), "{plan:?}");
    world.network.heal(Machine::Host(1));
    world.is_here(1);
    let after = world.until("all are up", |status| is_up(status, "live"));
    assert_eq!(by_host(&after, "live"), before);
}

/// The instance on the machine is gone, and its requests go to the other one. No user waits for the machine to
/// come back, and a deploy meanwhile places nothing on it.
#[test]
fn a_host_that_is_switched_off_costs_what_it_was_serving_and_no_more() {
    let mut world = FleetWorld::start(3, &app::watch("1s"));
    world.deploy("v1");
    let users = world.users(4);
    world.network.switch_off(Machine::Host(1));
    world.kill_agent(1);
    world.eventually("h1 is lost", || world.state("h1") == "lost");
    let status = world.until("the other is up", |status| {
        let hosts = by_host(status, "live");
        hosts.contains_key("h2")
    });
    assert_eq!(by_host(&status, "live").keys().collect::<Vec<_>>(), ["h1", "h2"]);
    world.deploy("v2");
    let hosts = by_host(&world.status(), "live");
    assert!(!hosts.contains_key("h1") && hosts.len() == 2, "{hosts:?}");
    let seen = users.stop();
    let failures: Vec<_> = seen.iter().flat_map(|seen| &seen.failures).collect();
    assert!(failures.is_empty(), "a GET may be sent again: {failures:?}");
    let longest = seen.iter().flat_map(|seen| seen.answers.windows(2));
    let longest = longest.map(|two| two[1].0 - two[0].0).max().unwrap_or_default();
    assert!(longest < Duration::from_secs(3), "{longest:?}");
    // It comes back with nothing running, and takes part again.
    world.network.heal(Machine::Host(1));
    world.run_agent(1, &[]);
    world.until("all is settled", |status| is_up(status, "live") && status["rollout"].is_null());
}

/// No host may fail unless the app file says so.
#[test]
fn a_rollout_in_which_a_host_is_switched_off_is_taken_back_with_the_host_named() {
    let mut world = FleetWorld::start(3, &app::watch("14s"));
    world.deploy("v1");
    let users = world.users(4);
    let args = ["deploy", "--json", "--release", "v2", "--env", "VERSION=v2"];
    let mut deploy = world.command(&args);
    let rollout = deploy.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    world.until("v2 is watched", |status| status["rollout"]["phase"] == "watching");
    world.network.switch_off(Machine::Host(1));
    world.kill_agent(1);
    let said = rollout.wait_with_output().unwrap();
    let why = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(said.status.code(), Some(3), "{why}");
    assert!(why.contains("`failure_budget` allows 0: h1 (it was lost)"), "{why}");
    assert_eq!(world.status()["live"]["label"], "v1");
    let seen = users.stop();
    let failures: Vec<_> = seen.iter().flat_map(|seen| &seen.failures).collect();
    assert!(failures.is_empty(), "a GET may be sent again: {failures:?}");
}

/// For maintenance of the machine: what it runs is replaced on the others first, and nobody notices.
#[test]
fn a_host_is_drained_under_load_without_a_loss_and_then_removed() {
    let mut world = FleetWorld::start(3, &app::watch("1s"));
    world.deploy("v1");
    assert!(by_host(&world.status(), "live").contains_key("h1"));
    let users = world.users(4);
    let refused = world.segue(&["fleet", "remove", "h1"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let drained = world.segue(&["fleet", "drain", "h1"]);
    assert_eq!(drained.code, Some(0), "{drained:?}");
    let hosts = by_host(&world.status(), "live");
    assert!(!hosts.contains_key("h1") && hosts.len() == 2, "{hosts:?}");
    let fleet = world.segue(&["fleet"]);
    assert!(fleet.stdout.contains("here, draining"), "{fleet:?}");
    world.deploy("v2");
    assert!(!by_host(&world.status(), "live").contains_key("h1"), "it gets nothing new");
    let removed = world.segue(&["fleet", "remove", "h1"]);
    assert_eq!(removed.code, Some(0), "{removed:?}");
    assert_eq!(world.agent_ends(1), Some(0));
    let seen = users.stop();
    let failures: Vec<_> = seen.iter().flat_map(|seen| &seen.failures).collect();
    assert!(failures.is_empty(), "{failures:?}");
}

#[test]
fn a_host_that_was_removed_stops_and_cannot_come_back() {
    let mut world = FleetWorld::start(1, &app::watch("1s"));
    let refused = world.segue(&["fleet", "remove", "h2"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let removed = world.segue(&["fleet", "remove", "h1"]);
    assert_eq!(removed.code, Some(0), "{removed:?}");
    assert_eq!(world.agent_ends(1), Some(0));
    assert_eq!(world.state("h1"), "", "it is in no list any more");
    // With its keys it is told so again.
    world.start_agent(1, &[]);
    assert_eq!(world.agent_ends(1), Some(0));
}

#[test]
fn values_of_variables_reach_only_the_hosts_that_run_the_app() {
    use std::os::unix::fs::PermissionsExt as _;

    let world = FleetWorld::start(3, &app::watch("1s"));
    let password = "PASSWORD=hunter2-is-long-enough-to-be-found";
    let said = world.segue(&[
        "deploy",
        "--json",
        "--release",
        "v1",
        "--env",
        "VERSION=v1",
        "--env",
        password,
    ]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let runs: Vec<String> = by_host(&world.status(), "live").into_keys().collect();
    assert_eq!(runs, ["h1", "h2"]);
    let files = |number| files_with(&world.host_data(number), b"hunter2-is-long-enough");
    assert_eq!((files(1).len(), files(2).len(), files(3).len()), (1, 1, 0));
    for file in files(1) {
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
}

/// Returns the files below a folder that contain these bytes.
fn files_with(folder: &std::path::Path, bytes: &[u8]) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file()
                && std::fs::read(&path)
                    .is_ok_and(|all| all.windows(bytes.len()).any(|it| it == bytes))
            {
                found.push(path);
            }
        }
    }
    found
}
