//! A table of a thousand instances: every worker has it within milliseconds, and it leads to the right
//! ones.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use model::{
    Address, AppSection, Arm, Generation, InstanceId, Millis, ReleaseNo, Route, Share, Snapshot,
    Target,
};

use crate::common::*;

const APPS: usize = 100;
const INSTANCES: u64 = 10;
/// From the snapshot's arrival until the last worker decides by it.
const MOST: Duration = Duration::from_millis(5);
const TRIES: u64 = 200;

/// App `n` is `app-n.test`. All of its instances are new in every snapshot, and listen at `at`.
fn table(counter: u64, at: impl Fn(usize) -> SocketAddr) -> Snapshot {
    let section = |number: usize| {
        let app: model::AppName = format!("app-{number}").parse().expect("a name");
        let target = |instance| {
            let nth = counter * INSTANCES + instance;
            Target::new(InstanceId { app: app.clone(), number: nth }, Address::Tcp(at(number)))
        };
        let arm = Arm {
            release: ReleaseNo(1),
            label: "v1".parse().expect("a label"),
            share: Share::ALL,
            instances: (0..INSTANCES).map(target).collect(),
        };
        let hosts = vec![format!("{app}.test")];
        AppSection {
            app,
            route: Route { hosts, ..Route::everything(Millis(5_000)) },
            drain_deadline: Millis(10_000),
            split: None,
            maintenance: None,
            arms: vec![arm],
        }
    };
    Snapshot { generation: Generation { term: 1, counter }, apps: (0..APPS).map(section).collect() }
}

#[test]
fn a_thousand_instances_are_with_every_worker_in_five_milliseconds() {
    let (even, odd) = (saying("even"), saying("odd"));
    let at = |number: usize| if number.is_multiple_of(2) { even } else { odd };
    let world = World::new(&table(1, at));
    let mut client = world.client();
    // Other work on this machine makes any one of them slow, but not all.
    let mut fastest = Duration::MAX;
    for counter in 2..2 + TRIES {
        let snapshot = table(counter, at);
        let start = Instant::now();
        let report = world.publish(&snapshot);
        fastest = fastest.min(start.elapsed());
        assert_eq!(report.acknowledged, snapshot.generation);
        let number = usize::try_from(counter).expect("small") % APPS;
        client.send(format!("GET / HTTP/1.1\r\nHost: app-{number}.test\r\n\r\n"));
        let wanted = if number.is_multiple_of(2) { "even" } else { "odd" };
        assert_eq!(client.receive().text(), wanted, "app-{number}.test");
        if counter > 20 && fastest < MOST {
            break;
        }
    }
    println!("the fastest took {fastest:?}");
    assert!(fastest < MOST, "the fastest of {TRIES} took {fastest:?}");
}
