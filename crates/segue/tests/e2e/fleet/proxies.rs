//! Proxies on machines of their own: users who come through any of them are served all the time, whatever is
//! deployed, taken back or cut off meanwhile.

use std::io::Read as _;
use std::process::Child;
use std::time::{Duration, Instant};

use super::network::Machine;
use super::world::FleetWorld;
use crate::app;
use crate::browser::Browser;
use crate::load::{Load, Seen};

const LB1: Machine = Machine::Proxy(1);
const LB2: Machine = Machine::Proxy(2);

/// Returns what the users have seen, of whom none may have lost a request.
fn served(users: Load) -> Vec<Seen> {
    let seen = users.stop();
    let failures: Vec<_> = seen.iter().flat_map(|seen| &seen.failures).collect();
    assert!(failures.is_empty(), "{failures:?}");
    seen
}

/// Returns the versions that answered a user, each once for as long as it did.
fn versions(seen: &[Seen]) -> Vec<Vec<&str>> {
    let of_one = seen.iter().map(|seen| seen.answers.iter().map(|(_, version)| version.as_str()));
    let of_one = of_one.map(|versions| {
        let mut versions: Vec<&str> = versions.collect();
        versions.dedup();
        versions
    });
    of_one.collect()
}

/// Each strategy brings a release in over three hosts and is taken back, with users behind each proxy.
#[test]
fn every_strategy_goes_over_all_proxies_and_back_and_loses_no_request() {
    let world = FleetWorld::start_with_proxies(3, 2, &app::watch("300ms"));
    world.replicas(3);
    world.deploy("v0");
    let users = [LB1, LB2, Machine::Server].map(|proxy| world.users_of(proxy, 2));
    let rolling = "[strategy]\nkind = \"rolling\"\nbatch = 1\nwatch = \"300ms\"\n";
    let canary = "[strategy]\nkind = \"canary\"\nwatch = \"300ms\"\n\
                  steps = [{ share = \"50%\", hold = \"300ms\" }]\n";
    let strategies =
        [("v1", app::watch("300ms")), ("v2", rolling.to_owned()), ("v3", canary.to_owned())];
    for (version, strategy) in strategies {
        app::write(&world.app_dir(), &strategy);
        world.replicas(3);
        let receipt = world.deploy(version);
        let (outcome, failed) = (&receipt["outcome"], &receipt["failed"]);
        assert_eq!((outcome, failed), (&"completed".into(), &0.into()), "{version}: {receipt:#}");
        assert_eq!(receipt["proxies"], 3, "{receipt:#}");
        world.all_serve(&[LB1, LB2, Machine::Server], version);
        let back = world.segue(&["rollback", "web", "--to", "v0", "--json"]);
        assert_eq!(back.code, Some(0), "{version}: {back:?}");
        assert_eq!(back.receipt()["failed"], 0, "{version}: {back:?}");
        world.all_serve(&[LB1, LB2, Machine::Server], "v0");
    }
    for users in users {
        let seen = served(users);
        for versions in versions(&seen) {
            assert_eq!((versions.first(), versions.last()), (Some(&"v0"), Some(&"v0")));
            for version in ["v1", "v2", "v3"] {
                assert!(versions.contains(&version), "each proxy has moved: {versions:?}");
            }
        }
    }
}

/// A cookie that one proxy has sealed opens at the others, also after they were started anew.
#[test]
fn a_user_keeps_the_release_whichever_proxy_answers() {
    let canary = "[strategy]\nkind = \"canary\"\nwatch = \"300ms\"\n\
                  steps = [{ share = \"50%\", gate = \"manual\" }]\n";
    let mut world = FleetWorld::start_with_proxies(2, 2, canary);
    world.deploy("v1");
    let said = world.segue(&["deploy", "--detach", "--release", "v2", "--env", "VERSION=v2"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    world.until("at 50 %", |status| {
        status["rollout"]["phase"] == "holding" && status["candidate"]["share"] == 0.5
    });
    let mut users: Vec<Browser> = (0..60).map(|_| Browser::default()).collect();
    let first = world.visits(LB1, &mut users);
    assert!(["v1", "v2"].map(String::from).iter().all(|version| first.contains(version)));
    assert_eq!(world.visits(LB2, &mut users), first);
    world.kill_proxy(2);
    world.kill_server();
    world.start_proxy(2, &[]);
    world.eventually("lb2 serves", || world.answer_of(LB2).is_ok());
    assert_eq!(world.visits(LB2, &mut users), first);
}

/// Other proxies reach the instance, and so does its own agent. Users of this one would not.
#[test]
fn a_release_that_one_proxy_cannot_reach_gets_no_user_and_the_proxy_is_named() {
    let world = FleetWorld::start_with_proxies(2, 2, &app::watch("300ms"));
    world.deploy("v1");
    app::hurry(&world.app_dir());
    world.network.firewall(Machine::Host(2), LB2);
    let users = world.users_of(LB1, 2);
    let said = world.segue(&["deploy", "--json", "--release", "v2", "--env", "VERSION=v2"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let why = "it is healthy on its host, and lb2 cannot reach 10.77.0.12:";
    assert!(said.stderr.contains(why), "{said:?}");
    let seen = served(users);
    assert!(versions(&seen).iter().all(|versions| *versions == ["v1"]), "{:?}", versions(&seen));
    world.network.accept(Machine::Host(2));
    world.deploy("v3");
}

/// Users who come through it get the release that it knows, none of whose instances is stopped.
#[test]
fn a_proxy_that_is_cut_off_from_the_server_goes_on_with_what_it_knows() {
    let world = FleetWorld::start_with_proxies(2, 2, &app::watch("300ms"));
    world.deploy("v1");
    let (cut_off, others) = (world.users_of(LB1, 2), world.users_of(LB2, 2));
    world.network.refuse(LB1, Machine::Server);
    world.eventually("lb1 is lost", || world.state("lb1") == "lost");
    world.deploy("v2");
    world.all_serve(&[LB2], "v2");
    let back = world.segue(&["rollback", "web", "--json"]);
    assert_eq!(back.code, Some(0), "{back:?}");
    world.all_serve(&[LB2], "v1");
    world.deploy("v3");
    world.all_serve(&[LB2], "v3");
    let seen = served(cut_off);
    assert!(versions(&seen).iter().all(|versions| *versions == ["v1"]), "{:?}", versions(&seen));
    let seen = served(others);
    for versions in versions(&seen) {
        assert_eq!(versions, ["v1", "v2", "v1", "v3"]);
    }
    world.network.accept(LB1);
    world.proxy_is_here(1);
    world.all_serve(&[LB1], "v3");
    world.until("what it kept is let go", |status| status["rollout"].is_null());
}

#[test]
fn a_proxy_that_is_killed_starts_from_its_table_without_a_server() {
    let mut world = FleetWorld::start_with_proxies(2, 1, &app::watch("1s"));
    world.deploy("v1");
    world.all_serve(&[LB1], "v1");
    world.kill_proxy(1);
    world.eventually("lb1 is not heard", || world.state("lb1") != "here");
    world.kill_server();
    // Nobody is there who could give it a table.
    world.start_proxy(1, &[]);
    world.all_serve(&[LB1], "v1");
    world.serve();
    world.proxy_is_here(1);
    (1..=2).for_each(|host| world.is_here(host));
    world.deploy("v2");
    world.all_serve(&[LB1], "v2");
}

/// After a power loss there is no server, and another program listens where an instance was: its answers are never
/// given to users of the app.
#[test]
fn after_a_boot_without_a_server_only_what_hosts_confirm_is_used() {
    let mut world = FleetWorld::start_with_proxies(2, 1, &app::watch("300ms"));
    world.deploy("v1");
    world.all_serve(&[LB1], "v1");
    let instances = world.status()["live"]["instances"].as_array().cloned().unwrap();
    let address = |host: &str| {
        let instance = instances.iter().find(|instance| instance["host"] == host).unwrap();
        instance["address"].as_str().unwrap().to_owned()
    };
    world.kill_server();
    world.kill_proxy(1);
    let mut strangers = vec![stranger_takes(&mut world, 1, &address("h1"))];
    world.boot_proxy(1, &["--admin", "127.0.0.1:7071"]);
    world.all_serve(&[LB1], "v1");
    for _ in 0..20 {
        assert_eq!(world.answer_of(LB1).as_deref(), Ok("v1"));
    }
    let ready = |world: &FleetWorld| world.asks(LB1, "127.0.0.1:7071", "/readyz");
    assert!(ready(&world).is_ok(), "{:?}", ready(&world));
    // An agent that does not answer for a while has not said that its instances are gone.
    world.kill_agent(2);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(7) {
        assert_eq!(world.answer_of(LB1).as_deref(), Ok("v1"));
    }
    // What its host denies is not used any more, and a proxy that has nothing else is not ready.
    strangers.push(stranger_takes(&mut world, 2, &address("h2")));
    world.eventually("nothing is left", || ready(&world).is_err_and(|it| it.contains("503")));
    assert!(world.answer_of(LB1).is_err_and(|it| it.contains("503 Service Unavailable")));
    for mut stranger in strangers {
        let _ = stranger.kill();
        let _ = stranger.wait();
    }
}

/// Ends the instance on a host while its agent is away. Another program listens at its address by the time the agent
/// is back.
fn stranger_takes(world: &mut FleetWorld, host: u8, address: &str) -> Child {
    world.kill_agent(host);
    for pid in world.network.processes(Machine::Host(host)) {
        crate::world::signal(pid, rustix::process::Signal::KILL);
    }
    let mut stranger = world.network.on(Machine::Host(host), "python3");
    stranger.args(["-c", STRANGER, address]).stderr(world.log("stranger"));
    let stranger = stranger.spawn().unwrap();
    let listens = || world.asks(Machine::Client, address, "/").as_deref() == Ok("a stranger");
    world.eventually("the stranger listens", listens);
    world.start_agent(host, &[]);
    stranger
}

/// Answers whatever it is asked at an address.
const STRANGER: &str = r#"
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "10")
        self.end_headers()
        self.wfile.write(b"a stranger")
host, port = sys.argv[1].rsplit(":", 1)
ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
"#;

/// Instances may have got other addresses since the machine was on last, which the server would know.
#[test]
fn a_proxy_on_a_machine_that_was_booted_waits_for_the_server_before_it_uses_its_table() {
    let mut world = FleetWorld::start_with_proxies(2, 1, &app::watch("300ms"));
    world.deploy("v1");
    world.all_serve(&[LB1], "v1");
    world.kill_proxy(1);
    world.boot_proxy(1, &[]);
    world.all_serve(&[LB1], "v1");
    world.kill_proxy(1);
    world.kill_server();
    let started = Instant::now();
    world.start_proxy(1, &[]);
    let unavailable = |answer: String| answer.contains("503 Service Unavailable");
    world.eventually("lb1 is up", || world.answer_of(LB1).is_err_and(unavailable));
    world.all_serve(&[LB1], "v1");
    assert!(started.elapsed() >= Duration::from_secs(9), "{:?}", started.elapsed());
}

/// At a loopback address they would be out of reach for other machines.
#[test]
fn instances_on_the_server_s_own_machine_need_an_address_that_proxies_reach() {
    let mut world = FleetWorld::start_with_proxies(0, 1, &app::watch("300ms"));
    let fleet = world.segue(&["fleet"]);
    assert!(
        fleet.stdout.contains("local: the server's own host gets no new instance"),
        "{fleet:?}"
    );
    let said = world.segue(&["deploy", "--release", "v1", "--env", "VERSION=v1"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("segue server --address IP"), "{said:?}");
    world.kill_server();
    world.serve_with(&["--address", &Machine::Server.address()]);
    world.proxy_is_here(1);
    world.deploy("v1");
    world.all_serve(&[LB1, Machine::Server], "v1");
    let address = world.status()["live"]["instances"][0]["address"].to_string();
    assert!(address.contains(&Machine::Server.address()), "{address}");
}

#[test]
fn proxies_serve_users_while_there_is_no_server() {
    let mut world = FleetWorld::start_with_proxies(2, 2, &app::watch("1s"));
    world.deploy("v1");
    let users = [LB1, LB2].map(|proxy| world.users_of(proxy, 2));
    world.kill_server();
    world.serve();
    world.proxy_is_here(1);
    world.proxy_is_here(2);
    (1..=2).for_each(|host| world.is_here(host));
    world.deploy("v2");
    world.all_serve(&[LB1, LB2], "v2");
    for users in users {
        let seen = served(users);
        assert!(versions(&seen).iter().all(|versions| *versions == ["v1", "v2"]));
    }
}

#[test]
fn a_proxy_that_was_removed_ends_in_order_and_cannot_come_back() {
    let mut world = FleetWorld::start_with_proxies(1, 1, &app::watch("1s"));
    world.deploy("v1");
    world.all_serve(&[LB1], "v1");
    let removed = world.segue(&["fleet", "remove", "lb1"]);
    assert_eq!(removed.code, Some(0), "{removed:?}");
    assert_eq!(world.proxy_ends(1), Some(0));
    assert_eq!(world.state("lb1"), "", "it is in no list any more");
    // Nothing waits for it.
    world.deploy("v2");
    // With its keys it is told so again, and it has no table to serve.
    world.start_proxy(1, &[]);
    assert_eq!(world.proxy_ends(1), Some(0));
}

/// For maintenance of its machine: its users notice nothing, and go elsewhere as soon as somebody sends them there.
#[test]
fn a_proxy_leaves_service_under_load_without_a_loss_and_stays_out_until_it_is_called_back() {
    let mut world = FleetWorld::start_with_proxies(1, 1, &app::watch("1s"));
    world.deploy("v1");
    world.kill_proxy(1);
    let admin = ["--admin", "127.0.0.1:7071"];
    world.run_proxy(1, &admin);
    let ready = |world: &FleetWorld| world.asks(LB1, "127.0.0.1:7071", "/readyz");
    let users = world.users_of(LB1, 4);
    assert_eq!(ready(&world).as_deref(), Ok("ready"));
    let drained = world.segue(&["fleet", "drain", "lb1"]);
    assert_eq!(drained.code, Some(0), "{drained:?}");
    assert!(drained.stderr.contains("lb1 is drained; nothing was cut"), "{drained:?}");
    assert!(ready(&world).is_err_and(|why| why.contains("503")));
    let fleet = world.segue(&["fleet"]);
    assert!(fleet.stdout.contains("here, drained"), "{fleet:?}");
    served(users);
    // It knows that without the server.
    world.kill_server();
    world.kill_proxy(1);
    world.start_proxy(1, &admin);
    world.eventually("it serves", || world.answer_of(LB1).as_deref() == Ok("v1"));
    assert!(ready(&world).is_err_and(|why| why.contains("503")));
    world.serve();
    world.proxy_is_here(1);
    let back = world.segue(&["fleet", "uncordon", "lb1"]);
    assert_eq!(back.code, Some(0), "{back:?}");
    world.eventually("it is ready", || ready(&world).is_ok());
    // A connection on which nobody asks is closed when the time is over.
    let mut idle = world.idle_user(LB1);
    let begun = Instant::now();
    let drained = world.segue(&["fleet", "drain", "lb1", "--within", "2s"]);
    assert!(drained.stderr.contains("nothing was cut"), "{drained:?}");
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!(idle.read(&mut [0]).unwrap(), 0, "it was closed");
    let host = world.segue(&["fleet", "drain", "h1", "--within", "2s"]);
    assert_eq!(host.code, Some(1), "{host:?}");
}
