//! A control that connects again: every command that it repeats is answered with the current state, since
//! reports that nobody received are kept nowhere.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use common::{Host, launch, listens_at, nothing, serving};
use model::{Address, Exit, Expect, Health, HostCommand, HostReport, Keep, Launch, Millis};

const APP: &str = env!("CARGO_BIN_EXE_agent-shim-for-tests");

/// Says something as the control of this term.
fn say(host: &Host, term: u64, command: HostCommand) {
    host.agent().handle(term, command);
}

fn run(launch: &Launch, expect: Expect) -> HostCommand {
    HostCommand::Run { launch: Box::new(launch.clone()), expect }
}

#[test]
fn what_is_said_again_is_answered_again() {
    let host = Host::new();
    let (up, stopping) = (host.data().join("up"), host.data().join("stopping"));
    let mut serves = launch("web-1", host.free_port(), &[APP, "__serve"]);
    serves.run.command.push(up.display().to_string());
    let dead = host.shell("web-2", "exit 3");
    let script = "trap 'echo > \"$0\"' TERM; while :; do sleep 0.01; done";
    let mut stays = host.shell("web-3", script);
    stays.run.command.push(stopping.display().to_string());
    let never = launch("web-4", 80, &["sleep", "1000"]);
    let keep = Keep { instances: vec![serves.id.clone(), stays.id.clone()], ..nothing() };
    say(&host, 1, run(&serves, Expect::Fresh));
    let pid = host.running(&serves.id);
    host.health(&serves.id, Health::Up);
    say(&host, 1, run(&dead, Expect::Fresh));
    assert_eq!(host.exited(&dead.id).0, Exit::Code(3));
    say(&host, 1, run(&never, Expect::Fresh));
    let why = host.refused(&never.id);
    say(&host, 1, run(&stays, Expect::Fresh));
    host.running(&stays.id);
    say(&host, 1, HostCommand::Stop { id: stays.id.clone(), grace: Millis(3_600_000) });
    common::until("it was told to stop", || stopping.exists());
    // Whatever was reported meanwhile is lost with the connection.
    host.forget_reports();
    for term in [1, 2] {
        say(&host, term, run(&serves, Expect::Running));
        assert_eq!(host.running(&serves.id), pid);
        host.health(&serves.id, Health::Up);
        say(&host, term, run(&dead, Expect::Running));
        assert_eq!(host.exited(&dead.id).0, Exit::Code(3));
        say(&host, term, HostCommand::Stop { id: dead.id.clone(), grace: Millis(0) });
        assert_eq!(host.exited(&dead.id).0, Exit::Code(3));
        say(&host, term, run(&never, Expect::Fresh));
        assert_eq!(host.refused(&never.id), why);
        let except = vec![20_000];
        say(&host, term, HostCommand::OfferPorts { except });
        host.wait("ports", |report| matches!(report, HostReport::Ports { .. }).then_some(()));
    }
    // The stop is under way; said again with a shorter grace, it ends sooner.
    say(&host, 2, HostCommand::Stop { id: stays.id.clone(), grace: Millis(0) });
    assert_eq!(host.exited(&stays.id).0, Exit::Signal(9));
    for term in [2, 3] {
        say(&host, term, HostCommand::Keep(Box::new(keep.clone())));
        host.kept(&keep);
    }
    assert!(!host.run_folder(&dead.id).exists() && host.run_folder(&stays.id).exists());
    // An end that nobody was there to hear is told to whoever asks.
    say(&host, 3, HostCommand::Stop { id: serves.id.clone(), grace: Millis(3_600_000) });
    assert_eq!(host.exited(&serves.id).0, Exit::Signal(15));
    host.forget_reports();
    say(&host, 4, run(&serves, Expect::Running));
    assert_eq!(host.exited(&serves.id).0, Exit::Signal(15));
}

#[test]
fn an_address_that_is_not_this_host_s_or_not_an_instance_s_is_refused() {
    let host = Host::new();
    let at = |id: &str, address: &str| {
        let mut launch = host.shell(id, "echo > $SEGUE_STATE_DIR/started");
        serving(&mut launch).address = Address::Tcp(address.parse().unwrap());
        launch
    };
    // Addresses for documentation, which no machine has.
    let elsewhere = at("web-1", "192.0.2.7:20007");
    let elsewhere_too = at("web-2", "[2001:db8::7]:20007");
    let privileged = at("web-3", "127.0.0.1:80");
    let mut probed = host.shell("web-4", "echo > $SEGUE_STATE_DIR/started");
    serving(&mut probed).health_address = Some(Address::Tcp("127.0.0.1:5432".parse().unwrap()));
    let range = "outside 20000 to 29999, the range of instances' ports";
    for (launch, wanted) in [
        (&elsewhere, "cannot start web-1: 192.0.2.7 is not an address of this host\nhint: "),
        (&elsewhere_too, "cannot start web-2: 2001:db8::7 is not an address of this host\nhint: "),
        (&privileged, &format!("cannot start web-3: port 80 is {range}")),
        (&probed, &format!("cannot start web-4: port 5432 is {range}")),
    ] {
        say(&host, 1, run(launch, Expect::Fresh));
        let why = host.refused(&launch.id);
        assert!(why.starts_with(wanted), "{why}");
    }
    assert!(!host.data().join("apps/web").exists(), "nothing was laid out for them");
    // All of 127.0.0.0/8 is this machine's.
    let Address::Tcp(mut near) = listens_at(&host.shell("web-5", "true")) else { unreachable!() };
    near.set_ip([127, 3, 2, 1].into());
    let near = at("web-5", &near.to_string());
    say(&host, 1, run(&near, Expect::Fresh));
    host.running(&near.id);
}

/// The server was restored from a backup, and gives out a number again that an instance has here.
#[test]
fn an_instance_of_another_release_is_not_taken_for_the_one_to_be_run() {
    let mut host = Host::new();
    let known = host.shell("web-7", "sleep 1000");
    say(&host, 1, run(&known, Expect::Fresh));
    let pid = host.running(&known.id);
    let other = Launch { label: "v2".parse().unwrap(), ..known.clone() };
    for _ in 0..2 {
        say(&host, 2, run(&other, Expect::Fresh));
        let why = host.refused(&known.id);
        assert!(why.contains("that number belongs to an instance of v1"), "{why}");
        // So it is for an agent that finds the instance on its host.
        host.restart();
    }
    say(&host, 2, run(&known, Expect::Running));
    assert_eq!(host.running(&known.id), pid, "it runs on");
}
