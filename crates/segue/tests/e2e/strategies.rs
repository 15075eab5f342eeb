//! Every strategy under load, and with the server killed in the middle of it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::browser::Browser;
use crate::load::{Load, ask};
use crate::world::World;

const ROLLING: &str =
    "[strategy]\nkind = \"rolling\"\nbatch = 1\nsurge = false\nwatch = \"300ms\"\n";
const SURGE: &str =
    "[strategy]\nkind = \"rolling\"\nbatch = \"50%\"\nsurge = true\nwatch = \"300ms\"\n";
const CANARY: &str = "[strategy]\nkind = \"canary\"\nsteps = [{ share = \"10%\", hold = \"300ms\" }, \
                      { share = \"50%\", gate = \"manual\" }]\nwatch = \"300ms\"\n";
const RECREATE: &str = "[strategy]\nkind = \"recreate\"\nretry_after = \"7s\"\nmessage = \"back soon\"\n\
                        watch = \"300ms\"\n";

/// A world with v1 live that has come in by this strategy.
fn with_v1(strategy: &str) -> World {
    let world = World::with(strategy, &[]);
    let said = world.deploy("v1", "good");
    assert_eq!(said.code, Some(0), "{said:?}");
    world
}

fn no_failures(load: Load) {
    let failures: Vec<String> = load.stop().into_iter().flat_map(|seen| seen.failures).collect();
    assert_eq!(failures, Vec::<String>::new());
}

#[test]
fn rolling_in_place_and_with_surge_lose_no_request() {
    for strategy in [ROLLING, SURGE] {
        let world = with_v1(strategy);
        let load = Load::start(world.http, 8);
        let said = world.deploy("v2", "good");
        assert_eq!(said.code, Some(0), "{said:?}");
        let receipt = said.receipt();
        assert_eq!((&receipt["failed"], &receipt["held"]), (&0.into(), &0.into()), "{receipt:#}");
        no_failures(load);
        assert_eq!(world.at_rest()["live"]["label"], "v2");
    }
}

/// Under `nohup` a command outlives its terminal, as whoever wrote that expects.
#[test]
fn a_command_for_which_a_hangup_is_ignored_waits_on() {
    let world = with_v1(CANARY);
    let deploy = world.command(&["deploy", "--release", "v2", "--env", "VERSION=v2", "--wait"]);
    let mut nohup = std::process::Command::new("sh");
    nohup.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(deploy.get_program());
    nohup.args(deploy.get_args()).current_dir(world.app_dir());
    nohup.envs(deploy.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut waits = nohup.stderr(Stdio::piped()).spawn().unwrap();
    world.until("at the gate", |status| {
        status["rollout"]["waiting_for"].as_str().is_some_and(|what| what.contains("promote"))
    });
    crate::world::signal(waits.id(), rustix::process::Signal::HUP);
    let said = world.segue(&["promote", "web"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let mut stderr = String::new();
    waits.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(waits.wait().unwrap().code(), Some(0), "{stderr}");
}

#[test]
fn rolling_that_meets_a_bad_release_goes_back_and_loses_no_request() {
    let world = with_v1(ROLLING);
    let load = Load::start(world.http, 8);
    let said = world.deploy("v2", "crash");
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("no such table: orders"), "{}", said.stderr);
    no_failures(load);
    assert_eq!(world.at_rest()["live"]["label"], "v1");
}

#[test]
fn a_canary_keeps_every_user_on_the_release_they_got_and_an_abort_takes_all_back() {
    let mut world = with_v1(CANARY);
    let args = ["deploy", "--detach", "--release", "v2", "--env", "VERSION=v2"];
    assert_eq!(world.segue(&args).code, Some(0));
    let holds = |status: &Value, share: f64| {
        status["rollout"]["phase"] == "holding" && status["candidate"]["share"] == share
    };
    world.until("at 50 %", |status| holds(status, 0.5));
    let mut users: Vec<Browser> = (0..400).map(|_| Browser::default()).collect();
    let first: Vec<String> = users.iter_mut().map(|user| user.ask(world.http)).collect();
    let got_it = first.iter().filter(|version| *version == "v2").count();
    assert!((140..=260).contains(&got_it), "{got_it} of 400 at 50 %");
    // Killed and started again: the same users get the same release.
    world.kill_server();
    world.serve(&[]);
    world.until("at 50 % again", |status| holds(status, 0.5));
    let second: Vec<String> = users.iter_mut().map(|user| user.ask(world.http)).collect();
    assert_eq!(first, second);
    let said = world.segue(&["abort", "web"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(users.iter_mut().all(|user| user.ask(world.http) == "v1"));
    assert_eq!(world.at_rest()["live"]["label"], "v1");
}

#[test]
fn a_canary_goes_on_at_promote_and_ends_with_all_users() {
    let world = with_v1(CANARY);
    let load = Load::start(world.http, 4);
    // The gate is a person's: in a pipe the command does not wait for one, unless it is told to.
    let said = world.deploy("v2", "good");
    let so_far = said.receipt();
    assert_eq!((said.code, &so_far["outcome"]), (Some(5), &"waiting".into()), "{said:?}");
    assert!(so_far["waiting_for"].as_str().unwrap().contains("segue promote"), "{so_far:#}");
    assert_eq!(world.status()["candidate"]["share"], 0.5);
    let mut args = vec!["deploy", "--wait", "--release", "v2"];
    args.extend(["--env", "VERSION=v2", "--env", "MODE=good"]);
    let mut deploy =
        world.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert_eq!(world.segue(&["promote", "web"]).code, Some(0));
    assert!(deploy.wait().unwrap().success());
    no_failures(load);
    let status = world.at_rest();
    assert_eq!(
        (&status["live"]["label"], &status["standby"]["label"]),
        (&"v2".into(), &"v1".into())
    );
}

#[test]
fn a_restart_replaces_every_instance_and_loses_no_request() {
    let world = with_v1(SURGE);
    let of_live = |status: &Value| -> Vec<String> {
        let all = status["live"]["instances"].as_array().unwrap().iter();
        all.map(|instance| instance["id"].to_string()).collect()
    };
    let before = of_live(&world.at_rest());
    let load = Load::start(world.http, 4);
    let said = world.segue(&["restart", "web"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let after = of_live(&world.at_rest());
    assert_eq!(after.len(), before.len());
    assert!(after.iter().all(|id| !before.contains(id)), "{before:?}, then {after:?}");
    no_failures(load);
}

#[test]
fn recreate_holds_requests_and_breaks_no_connection() {
    let world = with_v1(RECREATE);
    let load = Load::start(world.http, 8);
    let said = world.deploy("v2", "good");
    assert_eq!(said.code, Some(0), "{said:?}");
    let receipt = said.receipt();
    assert!(receipt["held"].as_u64().is_some_and(|held| held > 0), "{receipt:#}");
    // Nobody was answered while nothing ran: longer than a start takes, shorter than the rollout.
    let [gap, all] = ["max_gap_ms", "duration_ms"].map(|key| receipt[key].as_u64().unwrap());
    assert!(gap >= 50 && gap < all, "{receipt:#}");
    for failure in load.stop().iter().flat_map(|seen| &seen.failures) {
        assert!(failure.starts_with("HTTP/1.1 503"), "{failure}");
    }
    let bad = world.deploy("v3", "crash");
    assert_eq!(bad.code, Some(1), "{bad:?}");
    assert_eq!(world.at_rest()["live"]["label"], "v2");
    assert_eq!(ask(&mut None, world.http, "/"), Ok("v2".into()));
}

#[test]
fn maintenance_survives_a_restart_and_says_when_to_come_back() {
    let mut world = with_v1(RECREATE);
    let said = world.segue(&[
        "maintenance",
        "on",
        "web",
        "--message",
        "moving <house>",
        "--retry-after",
        "90s",
    ]);
    assert_eq!(said.code, Some(0), "{said:?}");
    world.kill_server();
    world.serve(&[]);
    let mut stream = TcpStream::connect(world.http).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    let lower = page.to_ascii_lowercase();
    assert!(page.starts_with("HTTP/1.1 503"), "{page}");
    assert!(
        lower.contains("retry-after: 90") && lower.contains("cache-control: no-store"),
        "{page}"
    );
    assert!(page.contains("moving &lt;house&gt;"), "{page}");
    assert_eq!(world.status()["maintenance"], true);
    assert_eq!(world.segue(&["maintenance", "off", "web"]).code, Some(0));
    let until = Instant::now() + Duration::from_secs(10);
    while ask(&mut None, world.http, "/") != Ok("v1".into()) {
        assert!(Instant::now() < until, "it is not open again");
    }
}

#[test]
fn scale_holds_and_counts_for_the_standby_too() {
    let world = World::start("0s");
    assert_eq!(world.deploy("v1", "good").code, Some(0));
    assert_eq!(world.deploy("v2", "good").code, Some(0));
    assert_eq!(world.segue(&["scale", "web", "3"]).code, Some(0));
    world.until("three of each", |status| {
        let up = |arm: &str| {
            let all = status[arm]["instances"].as_array().cloned().unwrap_or_default();
            all.iter().filter(|i| i["health"] == "up" && i["stage"] == "serving").count()
        };
        up("live") == 3 && up("standby") == 3
    });
}
