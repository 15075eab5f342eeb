//! What people do with members: take one in again that a restored server does not know, give a host another address,
//! and close its machine's ports to everybody else.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;

use super::network::Machine;
use super::world::FleetWorld;
use crate::app;

const H1: Machine = Machine::Host(1);
const LB1: Machine = Machine::Proxy(1);

#[test]
fn members_that_a_restored_server_does_not_know_go_on_and_are_taken_in_by_name() {
    let mut world = FleetWorld::start_with_proxies(1, 1, &app::watch("300ms"));
    world.deploy("v1");
    world.all_serve(&[LB1], "v1");
    world.restore_without_members();
    let fleet = || -> Value {
        serde_json::from_str(&world.segue(&["fleet", "--json"]).stdout).unwrap_or_default()
    };
    let unknown = || fleet()["unknown"].as_array().cloned().unwrap_or_default();
    world.eventually("both have come", || unknown().len() == 2);
    let mut names = unknown();
    names.sort_by_key(Value::to_string);
    assert_eq!(names, ["h1", "lb1"]);
    let said = world.segue(&["fleet"]);
    assert!(said.stdout.contains("segue fleet accept h1"), "{said:?}");
    assert_eq!(world.answer_of(LB1).as_deref(), Ok("v1"), "it serves all the same");
    let nobody = world.segue(&["fleet", "accept", "h2"]);
    assert_eq!(nobody.code, Some(1), "{nobody:?}");
    for (name, label) in [("h1", &["--label", "number=1"][..]), ("lb1", &[])] {
        let accepted = world.segue(&[&["fleet", "accept", name], label].concat());
        assert_eq!(accepted.code, Some(0), "{accepted:?}");
        world.eventually("it is a member", || world.state(name) == "here");
    }
    assert_eq!(fleet()["unknown"], Value::Array(Vec::new()));
    let hosts = fleet()["hosts"].as_array().cloned().unwrap_or_default();
    assert_eq!(hosts.iter().find(|host| host["name"] == "h1").unwrap()["labels"]["number"], "1");
    world.deploy("v2");
    world.all_serve(&[LB1], "v2");
}

#[test]
fn a_host_gets_another_address_and_its_instances_move_there_without_a_loss() {
    let world = FleetWorld::start_with_proxies(2, 1, &app::watch("300ms"));
    world.deploy("v1");
    let mut add = world.network.on(H1, "ip");
    add.args(["addr", "add", "10.77.0.91/24", "dev", "eth0"]);
    assert!(add.status().unwrap().success());
    let users = world.users_of(LB1, 3);
    let moved = world.segue(&["fleet", "address", "h1", "10.77.0.91"]);
    assert_eq!(moved.code, Some(0), "{moved:?}");
    let restarted = world.segue(&["restart", "web"]);
    assert_eq!(restarted.code, Some(0), "{restarted:?}");
    let addresses = || -> Vec<String> {
        let instances = world.status()["live"]["instances"].as_array().cloned().unwrap();
        instances.iter().filter_map(|it| it["address"].as_str().map(str::to_owned)).collect()
    };
    let moved = addresses();
    assert!(moved.iter().any(|address| address.starts_with("10.77.0.91:")), "{moved:?}");
    assert!(!moved.iter().any(|address| address.starts_with("10.77.0.11:")), "{moved:?}");
    let failures: Vec<_> = users.stop().into_iter().flat_map(|seen| seen.failures).collect();
    assert!(failures.is_empty(), "{failures:?}");
    let taken = world.segue(&["fleet", "address", "h2", "10.77.0.91"]);
    assert!(taken.stderr.contains("10.77.0.91 is the address of h1"), "{taken:?}");
}

#[test]
fn a_firewall_lets_in_what_a_member_needs_and_nobody_else() {
    let world = FleetWorld::start_with_proxies(1, 1, &app::watch("300ms"));
    world.deploy("v1");
    let instances = world.status()["live"]["instances"].as_array().cloned().unwrap();
    let instance = instances[0]["address"].as_str().unwrap().to_owned();
    assert_eq!(world.asks(Machine::Client, &instance, "/").as_deref(), Ok("v1"));
    for (name, machine) in [("h1", H1), ("lb1", LB1), ("server", Machine::Server)] {
        let printed = world.segue(&["fleet", "firewall", name]);
        assert_eq!(printed.code, Some(0), "{printed:?}");
        // Twice: a later one takes the place of an earlier one.
        for _ in 0..2 {
            let mut nft = world.network.on(machine, "nft");
            let mut nft = nft.args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
            nft.stdin.take().unwrap().write_all(printed.stdout.as_bytes()).unwrap();
            assert!(nft.wait().unwrap().success(), "{printed:?}");
        }
    }
    for address in [instance.as_str(), "10.77.0.11:7444", "10.77.0.1:7443"] {
        assert!(!world.reaches(Machine::Client, address), "{address} is closed");
    }
    assert!(world.reaches(LB1, "10.77.0.11:7444") && world.reaches(LB1, "10.77.0.1:7443"));
    world.deploy("v2");
    world.all_serve(&[LB1, Machine::Server], "v2");
}
