//! Works: real processes that serve nobody. They have no address and no probes, and their end is told.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail by panicking, and waits for one of many reports"
)]

mod common;

use common::{Host, launch, line_in, lives};
use model::{Exit, Expect, FencingToken, HostReport, Launch};

/// A work that runs a shell script.
fn work(id: &str, script: &str) -> Launch {
    Launch { serving: None, ..launch(id, 1, &["sh", "-c", script]) }
}

#[test]
fn a_work_runs_without_an_address_and_its_end_is_told() {
    let host = Host::new();
    let token = Some(FencingToken(7));
    let script = "echo ${HOST-none} ${PORT-none} ${SOCKET-none} $SEGUE_LEASE_TOKEN; exit 3";
    let work = Launch { token, ..work("web-5", script) };
    host.run(&work, Expect::Fresh);
    // Everything that is told of it comes before its end.
    let told = host.wait("the end", {
        let told = std::cell::RefCell::new(Vec::new());
        move |report| {
            told.borrow_mut().push(report.clone());
            matches!(report, HostReport::Exited { .. }).then(|| told.borrow().clone())
        }
    });
    let [HostReport::Running { .. }, HostReport::Exited { exit, address_in_use, tail, .. }] =
        &told[..]
    else {
        panic!("{told:?}");
    };
    assert_eq!((*exit, *address_in_use), (Exit::Code(3), false));
    assert_eq!(tail[..], ["none none none 7"]);
    // It is never run a second time.
    host.run(&work, Expect::Fresh);
    assert_eq!(host.exited(&work.id).0, Exit::Code(3));
}

#[test]
fn a_work_outlives_the_agent_and_is_adopted_by_the_next() {
    let mut host = Host::new();
    let script = "echo $$ >> $SEGUE_STATE_DIR/pid; trap 'exit 4' TERM; sleep 1000 & wait";
    let work = work("web-5", script);
    host.run(&work, Expect::Fresh);
    let pid = host.running(&work.id);
    line_in(&host.data().join("apps/web/state/pid"));
    host.restart();
    host.run(&work, Expect::Running);
    assert_eq!(host.running(&work.id), pid);
    host.stop(&work.id, 20_000);
    assert_eq!(host.exited(&work.id).0, Exit::Code(4));
    assert!(!lives(pid));
    let begun = std::fs::read_to_string(host.data().join("apps/web/state/pid")).unwrap();
    assert_eq!(begun.lines().count(), 1, "it was started once");
}
