//! Deployments under load: what is promised is that nobody notices.

use std::time::{Duration, Instant};

use crate::load::{Load, Seen, ask};
use crate::world::{World, pids};

/// The versions a connection has seen, each once per change.
fn story(seen: &Seen) -> Vec<&str> {
    let mut versions: Vec<&str> = seen.answers.iter().map(|(_, v)| v.as_str()).collect();
    versions.dedup();
    versions
}

#[test]
fn blue_green_and_rollback_lose_no_request_and_never_flip_anybody() {
    let world = World::start("1s");
    assert_eq!(world.deploy("v1", "good").code, Some(0));
    let load = Load::start(world.http, 16);
    let second = world.deploy("v2", "good");
    assert_eq!(second.code, Some(0), "{second:?}");
    let started = Instant::now();
    let back = world.segue(&["rollback", "web", "--json"]);
    let (took, back_at) = (started.elapsed(), Instant::now());
    assert_eq!(back.code, Some(0), "{back:?}");
    let between = load_of(&world);
    let third = world.deploy("v3", "good");
    let third_at = Instant::now();
    assert_eq!(third.code, Some(0), "{third:?}");
    let after = load_of(&world);
    let seen = load.stop();
    let failures: Vec<&String> = seen.iter().flat_map(|seen| &seen.failures).collect();
    assert!(failures.is_empty(), "{failures:?}");
    let all = ["v1", "v2", "v1", "v3"];
    for seen in &seen {
        assert_eq!(story(seen), all[..story(seen).len()], "a connection was flipped");
        let late = |(sent, version): &&(Instant, String)| {
            (*sent > back_at && version == "v2") || (*sent > third_at && version != "v3")
        };
        assert_eq!(seen.answers.iter().find(late), None, "answered by what had left");
    }
    assert!(seen.iter().any(|seen| story(seen).len() == all.len()));
    assert_eq!((between.as_str(), after.as_str()), ("v1", "v3"));
    for said in [&second, &back, &third] {
        let receipt = said.receipt();
        let numbers = ["failed", "held", "retried"].map(|key| receipt[key].as_u64());
        assert_eq!(numbers, [Some(0); 3], "{receipt:#}");
        assert_eq!(receipt["outcome"], "completed");
        assert_eq!(receipt["complete"], true);
        assert!(receipt["switch_ms"].as_u64().is_some_and(|ms| ms < 1_000), "{receipt:#}");
    }
    assert_eq!(back.receipt()["strategy"], "rollback");
    assert!(took < Duration::from_secs(2), "the rollback took {took:?}");
}

fn load_of(world: &World) -> String {
    ask(&mut None, world.http, "/").unwrap()
}

#[test]
fn a_request_that_was_read_is_answered_whole_though_its_instance_is_told_to_stop() {
    let more = "[strategy]\nkind = \"blue-green\"\nwatch = \"0s\"\nstandby = \"none\"\n";
    let world = World::with(more, &[]);
    assert_eq!(world.deploy("v1", "good").code, Some(0));
    let address = world.http;
    let slow: Vec<_> =
        (0..8).map(|_| std::thread::spawn(move || ask(&mut None, address, "/slow"))).collect();
    // Under way on v1, which drains and is stopped as soon as v2 is live.
    world.until("in flight", |status| {
        let live = status["live"]["instances"].as_array().cloned().unwrap_or_default();
        live.iter().filter_map(|i| i["in_flight"].as_u64()).sum::<u64>() == 8
    });
    let said = world.deploy("v2", "good");
    assert_eq!(said.code, Some(0), "{said:?}");
    for request in slow {
        assert_eq!(request.join().unwrap(), Ok("v1".into()));
    }
}

#[test]
fn the_same_release_again_changes_nothing() {
    let world = World::start("0s");
    assert_eq!(world.deploy("v1", "good").code, Some(0));
    let before = world.status();
    let again = world.deploy("v1", "good");
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(pids(&world.status(), "live"), pids(&before, "live"));
    let other = world.deploy("v1", "sick");
    assert_eq!(other.code, Some(1));
    assert!(other.stderr.contains("labels are immutable"), "{other:?}");
}

#[test]
fn a_gate_waits_for_promote_and_the_command_line_may_leave_meanwhile() {
    let more = "[strategy]\nkind = \"blue-green\"\nswitch = \"manual\"\nwatch = \"0s\"\n";
    let world = World::with(more, &[]);
    let args = ["deploy", "--detach", "--release", "v1", "--env", "VERSION=v1"];
    assert_eq!(world.segue(&args).code, Some(0));
    let status = world.until("ready", |status| status["rollout"]["phase"] == "ready");
    assert!(status["rollout"]["waiting_for"].as_str().unwrap().contains("segue promote"));
    assert_eq!(world.segue(&["promote", "web"]).code, Some(0));
    assert_eq!(world.at_rest()["live"]["label"], "v1");
}

#[test]
fn an_instance_that_is_killed_is_replaced_and_nobody_notices() {
    let world = World::start("0s");
    assert_eq!(world.deploy("v1", "good").code, Some(0));
    let before = world.at_rest();
    let load = Load::start(world.http, 4);
    let victim = pids(&before, "live")[0];
    crate::world::signal(u32::try_from(victim).unwrap(), rustix::process::Signal::KILL);
    let after = world.until("replaced", |status| {
        let now = pids(status, "live");
        let up = |i: &serde_json::Value| i["health"] == "up";
        let all = status["live"]["instances"].as_array().is_some_and(|all| all.iter().all(up));
        now.len() == 2 && !now.contains(&victim) && all
    });
    assert_ne!(pids(&after, "live"), pids(&before, "live"));
    // Requests that were in flight on it may be lost or sent again; none that came later.
    let failures: usize = load.stop().iter().map(|seen| seen.failures.len()).sum();
    assert!(failures <= 4, "{failures} requests failed");
}

#[test]
fn a_removed_apps_state_stays_until_it_is_to_go() {
    let world = World::start("0s");
    assert_eq!(world.deploy("v1", "good").code, Some(0));
    let state = world.data().join("apps/web/state");
    std::fs::write(state.join("db"), "users").unwrap();
    // Nobody is there to ask, so nothing happens, and the command that would do it is named.
    let said = world.segue(&["remove", "web"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.stderr.contains("segue remove web --yes"), "{said:?}");
    let said = world.segue(&["remove", "web", "--yes"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stderr.contains("its state stays in "), "{said:?}");
    let listed = world.segue(&["status"]).stdout;
    assert!(listed.contains("segue remove web --with-state --yes"), "{listed}");
    // Whoever comes next under that name is told.
    let said = world.deploy("v2", "good");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stderr.contains("warning: web takes over the state"), "{said:?}");
    assert_eq!(std::fs::read_to_string(state.join("db")).unwrap(), "users");
    assert!(!world.deploy("v3", "good").stderr.contains("warning"));
    // A refused deploy of a new app leaves no value behind.
    let app = world.app_dir().join("segue.toml");
    let text = std::fs::read_to_string(&app).unwrap();
    std::fs::write(&app, text.replace("app = \"web\"", "app = \"twin\"")).unwrap();
    let said = world.deploy("v1", "good");
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(!world.data().join("env/twin").exists(), "{said:?}");
    assert_eq!(world.segue(&["remove", "web", "--yes"]).code, Some(0));
    let said = world.segue(&["remove", "web", "--with-state", "--yes"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stderr.contains("web is removed with its state"), "{said:?}");
    assert!(!state.exists());
    assert!(!world.segue(&["status"]).stdout.contains("state"));
    assert_eq!(world.segue(&["remove", "web", "--with-state", "--yes"]).code, Some(1));
}

#[test]
fn a_removed_app_leaves_no_process_and_no_file() {
    let world = World::start("0s");
    for version in ["v1", "v2"] {
        let said = world.deploy(version, "good");
        assert_eq!(said.code, Some(0), "{said:?}");
    }
    assert_eq!(world.processes().len(), 8, "four instances, each with its shim");
    let said = world.segue(&["remove", "web", "--yes"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(world.processes(), Vec::<u32>::new());
    let until = Instant::now() + Duration::from_secs(10);
    while world.data().join("apps/web").exists() {
        assert!(Instant::now() < until, "its files are still there");
        // it waits: for the agent to delete the files
        std::thread::sleep(Duration::from_millis(20));
    }
}
