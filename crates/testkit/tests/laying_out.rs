//! Laying out a release's files is no part of an app's start: it has its own time, and its own words.

use control::Event;
use model::{FromHost, HostId, HostReport, Waiting};
use testkit::{Behaviour, Pace, Script};

const GOOD: Behaviour = Behaviour::Good(200);

/// One machine that needs so many milliseconds to lay out and start each instance.
fn script(work: u64) -> Script {
    Script::with_hosts(&[Pace { work, start: 0, probe: 0 }])
}

/// What is waited for, as people read it.
fn reason(script: &Script) -> String {
    let name = "web".parse().expect("it is valid");
    let rollout = script.world.views.get(&name).and_then(|view| view.rollout.clone());
    rollout.and_then(|rollout| rollout.waiting).map(|it| it.waiting.to_string()).unwrap_or_default()
}

fn waits_for_files(script: &Script) -> bool {
    let name = "web".parse().expect("it is valid");
    let rollout = script.world.views.get(&name).and_then(|view| view.rollout.as_ref());
    let reason = rollout.and_then(|rollout| rollout.waiting.as_ref());
    reason.is_some_and(|reason| matches!(reason.waiting, Waiting::Files { .. }))
}

#[test]
fn files_that_take_longer_than_the_start_may_are_waited_for() {
    // `start_deadline` is 10 s; the second instance's process is there after 80 s.
    let mut script = script(40_000);
    script.deploy("v1", GOOD).wait(60);
    assert!(waits_for_files(&script), "{}", script.transcript());
    script.wait(40);
    assert!(script.transcript().contains("v1 is live"), "{}", script.transcript());
    // A process that runs gets its ten seconds, and no more.
    script.deploy("v2", Behaviour::NeverHealthy).wait(60);
    assert!(!script.transcript().contains("v2 was not healthy"), "{}", script.transcript());
    script.wait(60);
    assert!(script.transcript().contains("was not healthy within 10s"), "{}", script.transcript());
}

#[test]
fn a_host_that_never_gets_done_is_not_waited_for_for_ever() {
    let mut script = script(3_600_000);
    script.deploy("v1", GOOD).wait(590);
    assert!(waits_for_files(&script), "{}", script.transcript());
    script.wait(20);
    let text = script.transcript();
    assert!(text.contains("its files were not laid out within 10m"), "{text}");
}

/// Every minute for so many minutes, the host says how its fetch goes.
fn fetches(script: &mut Script, minutes: u64, trouble: Option<&str>) {
    for minute in 1..=minutes {
        for number in 1..=2 {
            let report = HostReport::Fetching {
                id: format!("web-{number}").parse().expect("it is valid"),
                bytes: minute << 20,
                of: 1 << 30,
                trouble: trouble.map(str::to_owned),
            };
            let from = FromHost { host: HostId::local(), report };
            script.world.deliver(0, Event::Host(from));
        }
        script.wait(60);
    }
}

#[test]
fn a_host_is_waited_for_as_long_as_files_come_and_then_for_ten_minutes() {
    let mut script = script(36_000_000);
    script.deploy("v1", GOOD);
    fetches(&mut script, 60, None);
    let wanted = "the host to lay out the files of v1 and start it (60 of 1024 MiB fetched)";
    assert_eq!(reason(&script), wanted);
    assert!(waits_for_files(&script), "{}", script.transcript());
    fetches(&mut script, 8, Some("content 1234: no connection to the server"));
    assert!(reason(&script).ends_with(" (content 1234: no connection to the server)"));
    script.wait(120);
    let text = script.transcript();
    let why = "its files were not laid out within 10m: content 1234: no connection to the server";
    assert!(text.contains(why), "{text}");
}
