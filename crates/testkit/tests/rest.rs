//! What a step of the engine costs, and whom it keeps waiting: apps at rest nothing and nobody.

use std::time::{Duration, Instant};

use control::{CheckpointBody, Command, Engine, Event, Mode, Ticket};
use journal::{Checkpoint, Recovered, Seq};
use model::{FromHost, Health, HostId, HostReport, Listeners, Millis, ProxyId, Timestamp};
use rollout::{App, Ask, Fleet};
use testkit::{Behaviour, Script};

const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// An engine that has just begun with so many apps, all live and of two instances.
fn engine(apps: usize) -> Engine {
    let mut script = Script::new();
    script.deploy("v1", Behaviour::Good(300)).wait(15);
    let one = script.world.engine().expect("it lives").apps().next().expect("it is live").clone();
    let named = |number: usize| {
        let name = format!("app-{number}").parse().expect("it is valid");
        App { name, ..one.clone() }
    };
    let apps = (0..apps).map(named).collect();
    let body = CheckpointBody { apps, fleet: Fleet::default(), at: NOW };
    let parts = body.parts().expect("it can be written");
    let checkpoint = Some(Checkpoint { seq: Seq(7), parts });
    let recovered = Recovered { checkpoint, ..Recovered::default() };
    let mut engine = Engine::recover(2, &[ProxyId::local()], &recovered).expect("it is whole");
    engine.begin(NOW);
    engine
}

fn health(app: &str, number: u64, streak: u32) -> Event {
    let report = HostReport::Health {
        id: format!("{app}-{number}").parse().expect("it is valid"),
        health: Health::Up,
        streak,
        note: None,
        unanswered: false,
        listeners: Listeners::Any,
    };
    Event::Host(FromHost { host: HostId::local(), report })
}

/// The median time of a step that is about one app, among so many that are at rest.
fn step_among(apps: usize) -> Duration {
    let mut engine = engine(apps);
    for app in 0..apps {
        for number in [1, 2] {
            let id = format!("app-{app}-{number}").parse().expect("it is valid");
            let report = HostReport::Running { id, pid: 1 };
            engine.step(Event::Host(FromHost { host: HostId::local(), report }), NOW);
            engine.step(health(&format!("app-{app}"), number, 2), NOW);
        }
    }
    let mut times: Vec<Duration> = (0..401)
        .map(|turn| {
            let started = Instant::now();
            let commands = engine.step(health("app-0", 1, 3 + turn), NOW);
            assert!(commands.is_empty(), "{commands:?}");
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

#[test]
fn a_step_about_one_app_costs_the_same_among_a_thousand_others_at_rest() {
    let (few, many) = (step_among(10), step_among(1_000));
    assert!(many < few * 4, "{few:?} among ten, {many:?} among a thousand");
}

#[test]
fn a_command_that_waits_for_the_first_look_keeps_no_other_app_waiting() {
    let mut engine = engine(2);
    for number in [1, 2] {
        engine.step(health("app-1", number, 2), NOW);
    }
    let mut asked = |ticket, app: &str| {
        let event = Event::Ask {
            ticket: Ticket(ticket),
            app: app.parse().expect("it is valid"),
            ask: Ask::Rollback { to: None },
            version: None,
            mode: Mode::Commit,
        };
        let commands = engine.step(event, NOW.after(Millis(ticket)));
        let answered = |command: &Command| {
            if let Command::Answer(ticket, _) = command { Some(ticket.0) } else { None }
        };
        commands.iter().filter_map(answered).collect::<Vec<_>>()
    };
    // Nobody has looked at the instances of this one yet.
    assert_eq!(asked(1, "app-0"), [0_u64; 0]);
    assert_eq!(asked(2, "app-1"), [2], "it waited for another app");
    assert_eq!(asked(3, "app-0"), [0_u64; 0], "the one before it is not answered yet");
}
