//! `kill -9` at every point: instances go on and are adopted, and the rollout ends as it would have.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::app;
use crate::load::ask;
use crate::world::{World, pids, signal};

/// What is true once everything has come to rest, however often the server was killed.
fn check(world: &World, before: &[u64]) {
    let status = world.at_rest();
    let live = status["live"]["label"].as_str().unwrap().to_owned();
    assert!(live == "v1" || live == "v2", "{status:#}");
    assert_eq!(ask(&mut None, world.http, "/"), Ok(live.clone()));
    // The first release's processes are those from before the crash: adopted, not started again.
    let arm = if live == "v1" { "live" } else { "standby" };
    assert_eq!(pids(&status, arm), before, "{status:#}");
    let shown = pids(&status, "live").len() + pids(&status, "standby").len();
    assert_eq!(world.processes().len(), 2 * shown, "each instance and its shim, and nothing else");
}

fn deploy_in_background(world: &World) -> std::process::Child {
    let args = ["deploy", "--release", "v2", "--env", "VERSION=v2"];
    world.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_crash_before_or_after_every_append_and_every_effect_is_survived() {
    let mut world = World::start("300ms");
    assert_eq!(world.deploy("v1", "good").code, Some(0));
    let before = pids(&world.at_rest(), "live");
    assert_eq!(world.end_server(), Some(0));
    let mut crashes = 0;
    for point in 1.. {
        let crashed = if world.try_serve(&[("SEGUE_TEST_CRASH_AT", point.to_string())]) {
            let mut command = deploy_in_background(&world);
            let crashed = world.server_dies(Duration::from_millis(3_000));
            let _ = command.kill();
            command.wait().unwrap();
            crashed
        } else {
            true
        };
        if !crashed {
            break;
        }
        crashes += 1;
        world.serve(&[]);
        check(&world, &before);
        // Back to where it began: v1 is live, and v2 forgotten as if it had never been.
        if world.status()["live"]["label"] == "v2" {
            assert_eq!(world.segue(&["rollback", "web"]).code, Some(0));
        }
        assert_eq!(world.end_server(), Some(0));
    }
    assert!(crashes >= 20, "only {crashes} points were crossed");
}

#[test]
fn twenty_kills_at_random_moments_of_a_rollout_are_survived() {
    let mut world = World::start("300ms");
    assert_eq!(world.deploy("v1", "good").code, Some(0));
    let before = pids(&world.at_rest(), "live");
    for kill in 0..20_u64 {
        let mut command = deploy_in_background(&world);
        // it waits: the kill is to come anywhere in the second that a rollout takes here
        std::thread::sleep(Duration::from_millis(kill * 7_919 % 20 * 50));
        world.kill_server();
        world.serve(&[]);
        let _ = command.wait();
        check(&world, &before);
        if world.status()["live"]["label"] == "v2" {
            assert_eq!(world.segue(&["rollback", "web"]).code, Some(0));
        }
    }
    let status = world.at_rest();
    assert_eq!(pids(&status, "live"), before);
}

/// The status line of the first answer that the API at `address` gives; asks until somebody listens.
fn first_answer(address: SocketAddr, token: &str) -> String {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        if let Ok(mut stream) = TcpStream::connect(address) {
            let head = format!("GET /v1/apps/web HTTP/1.1\r\nHost: {address}\r\n");
            let head = format!("{head}Authorization: Bearer {token}\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).unwrap();
            return line.trim().to_owned();
        }
        assert!(Instant::now() < until, "nobody listens on {address}");
    }
}

#[test]
fn a_server_that_starts_again_knows_its_apps_from_its_first_answer_on() {
    let mut world = World::start("0s");
    assert_eq!(world.deploy("v1", "good").code, Some(0));
    let token = fs::read_to_string(world.data().join("token")).unwrap();
    for _ in 0..10 {
        world.kill_server();
        let (api, token) = (world.api, token.trim().to_owned());
        let asks = std::thread::spawn(move || first_answer(api, &token));
        world.serve(&[]);
        assert_eq!(asks.join().unwrap(), "HTTP/1.1 200 OK");
    }
}

#[test]
fn the_rollout_goes_on_without_its_command_line() {
    // Long enough for a look at it on a busy machine.
    let world = World::start("3s");
    assert_eq!(world.deploy("v1", "good").code, Some(0));
    let mut command = deploy_in_background(&world);
    world.until("under way", |status| !status["rollout"].is_null());
    command.kill().unwrap();
    command.wait().unwrap();
    world.until("live", |status| status["live"]["label"] == "v2" && status["rollout"].is_null());
}

#[test]
fn after_a_reboot_everything_is_back() {
    let mut world = World::with(&app::watch("0s"), &[]);
    assert_eq!(world.deploy("v1", "good").code, Some(0));
    assert_eq!(world.deploy("v2", "good").code, Some(0));
    let before = world.at_rest();
    world.kill_server();
    world.processes().into_iter().for_each(|pid| signal(pid, rustix::process::Signal::KILL));
    world.serve(&[]);
    let after = world.at_rest();
    for (arm, label) in [("live", "v2"), ("standby", "v1")] {
        assert_eq!(after[arm]["label"], label);
        assert_ne!(pids(&after, arm), pids(&before, arm));
    }
    assert_eq!(after["rollback"]["ready"], true);
}

#[test]
fn sigterm_ends_the_server_and_leaves_the_instances_until_down() {
    let mut world = World::start("0s");
    assert_eq!(world.deploy("v1", "good").code, Some(0));
    let before = world.at_rest();
    assert_eq!(world.end_server(), Some(0));
    assert_eq!(world.processes().len(), 4);
    world.serve(&[]);
    assert_eq!(pids(&world.at_rest(), "live"), pids(&before, "live"));
    let said = world.segue(&["down"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(world.server_dies(Duration::from_secs(10)));
    assert_eq!(world.processes(), Vec::<u32>::new());
    let data = world.data();
    let offline = Command::new(env!("CARGO_BIN_EXE_segue"))
        .args(["down", "--data", data.to_str().unwrap(), "--server", "http://127.0.0.1:1"])
        .env("SEGUE_TOKEN", "x")
        .output()
        .unwrap();
    assert!(offline.status.success(), "{offline:?}");
}
