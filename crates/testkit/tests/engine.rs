//! The engine by itself: what its bounds count, when it wants to be woken, and what it does when it is wrong.

use std::collections::BTreeSet;

use control::{Answer, CheckpointBody, Command, Engine, Event, Mode, Refusal, Ticket, VERSION};
use journal::{Checkpoint, CheckpointPart, Lost, Recovered, Seq};
use model::{
    Abilities, AppName, FromHost, Health, HostId, HostReport, InstanceId, Listeners, Maintenance,
    Millis, Page, ProxyCommand, ProxyId, ReleaseNo, RolloutId, Share, Shares, Step, StrategyKind,
    Timestamp,
};
use rollout::{App, Ask, Fact, Fleet, Phase, RolloutKind, Started};
use testkit::{Behaviour, Script, release, spec};

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn name(text: &str) -> AppName {
    text.parse().expect("it is valid")
}

/// A log with nothing in it but a checkpoint.
fn checkpoint(parts: Vec<CheckpointPart>) -> Recovered {
    let checkpoint = Some(Checkpoint { seq: Seq(7), parts });
    Recovered { checkpoint, ..Recovered::default() }
}

fn recover(apps: Vec<App>) -> Engine {
    let parts = CheckpointBody { apps, fleet: Fleet::default(), at: NOW }
        .parts()
        .expect("states have text keys only");
    Engine::recover(1, &[ProxyId::local()], &checkpoint(parts)).expect("it is whole")
}

fn engine(apps: Vec<App>) -> Engine {
    let mut engine = recover(apps);
    engine.begin(NOW);
    engine
}

fn deploy(engine: &mut Engine, app: &str, ticket: u64, now: Timestamp) -> Vec<Command> {
    let app = name(app);
    let release = Box::new(release(spec(&app), "v1", 1));
    let ask = Ask::Deploy { release, replace: false };
    engine.step(
        Event::Ask { ticket: Ticket(ticket), app, ask, version: None, mode: Mode::Commit },
        now,
    )
}

fn appends(commands: &[Command]) -> bool {
    commands.iter().any(|command| matches!(command, Command::Append(_)))
}

fn answer(commands: &[Command]) -> Option<&Result<Answer, Refusal>> {
    commands.iter().find_map(|command| match command {
        Command::Answer(_, answer) => Some(answer),
        Command::Append(_)
        | Command::Checkpoint(_)
        | Command::Host(_)
        | Command::Proxy(_)
        | Command::Announce(_)
        | Command::Show(_)
        | Command::Hide(_)
        | Command::ShowFleet(_) => None,
    })
}

/// Of an app that was removed at that moment only its numbers are left.
fn removed(number: usize) -> App {
    let mut app = App::new(name(&format!("gone-{number}")));
    app.removing = Some(Timestamp(number as u64 + 1));
    app.last_release = 3;
    app
}

#[test]
fn removed_apps_take_nobodys_place_and_are_forgotten_in_the_end() {
    let many = 2 * Engine::APPS;
    let mut engine = engine((0..many).map(removed).collect());
    assert!(appends(&deploy(&mut engine, "web", 1, NOW)), "a new name is taken");
    engine.step(Event::Appended(Ok(())), NOW);
    // A checkpoint forgets those that were removed first.
    for turn in 0..u64::from(Engine::CHECKPOINT) {
        let now = NOW.after(Millis(turn));
        let on = (turn % 2 == 0).then(|| model::Maintenance {
            page: model::Page::default(),
            hold: Millis(0),
            allow: Vec::new(),
        });
        let ask = Ask::Maintenance { on };
        engine.step(
            Event::Ask {
                ticket: Ticket(turn + 2),
                app: name("web"),
                ask,
                version: None,
                mode: Mode::Commit,
            },
            now,
        );
        engine.step(Event::Appended(Ok(())), now);
    }
    let left: Vec<&App> = engine.apps().collect();
    assert_eq!(left.len(), Engine::APPS + 1);
    assert!(!left.iter().any(|app| app.name == name("gone-0")), "it was the first to be removed");
    let last = name(&format!("gone-{}", many - 1));
    assert!(
        left.iter().any(|app| app.name == last && app.last_release == 3),
        "its numbers are kept"
    );
}

#[test]
fn as_many_apps_as_there_may_be_are_there() {
    let live = |number: usize| App::new(name(&format!("app-{number}")));
    let mut engine = engine((0..Engine::APPS).map(live).chain([removed(0)]).collect());
    for app in ["one-more", "gone-0"] {
        let commands = deploy(&mut engine, app, 1, NOW);
        let refused = answer(&commands).expect("it is answered").as_ref().expect_err("it is full");
        assert!(refused.message.ends_with("there are 1000 apps already"), "{}", refused.message);
        assert!(refused.hint.as_ref().is_some_and(|hint| hint.contains("segue remove")));
    }
}

#[test]
fn apps_that_are_begun_at_once_do_not_exceed_the_limit() {
    let live = |number: usize| App::new(name(&format!("app-{number}")));
    let mut engine = engine((1..Engine::APPS).map(live).collect());
    // Both wait for the append that is under way, and are answered together.
    assert!(appends(&deploy(&mut engine, "app-1", 1, NOW)));
    deploy(&mut engine, "first", 2, NOW);
    deploy(&mut engine, "second", 3, NOW);
    let commands = engine.step(Event::Appended(Ok(())), NOW);
    let refused = commands.iter().filter_map(|command| {
        if let Command::Answer(ticket, Err(_)) = command { Some(ticket.0) } else { None }
    });
    assert_eq!(refused.collect::<Vec<_>>(), [3]);
}

#[test]
fn what_is_to_be_tried_again_waits_while_an_append_is_under_way() {
    let mut engine = engine(Vec::new());
    assert!(appends(&deploy(&mut engine, "web", 1, NOW)));
    engine.step(Event::Appended(Err(Lost::Refused("no space left".into()))), NOW);
    let again = NOW.after(Millis::from_secs(1));
    assert_eq!(engine.wake_at(), again);
    // The next question is on its way to a disk that does not answer.
    assert!(appends(&deploy(&mut engine, "api", 2, NOW.after(Millis(900)))));
    let later = NOW.after(Millis::from_secs(3));
    engine.step(Event::Tick, later);
    assert!(engine.wake_at() > later, "it does not spin");
}

#[test]
fn that_nothing_was_changed_is_said_only_where_that_is_certain() {
    let told = |lost: Lost| {
        let mut engine = engine(Vec::new());
        deploy(&mut engine, "web", 1, NOW);
        deploy(&mut engine, "web", 2, NOW);
        let commands = engine.step(Event::Appended(Err(lost.clone())), NOW);
        let refusals = commands.iter().filter_map(|command| {
            if let Command::Answer(ticket, Err(refusal)) = command {
                Some((ticket.0, refusal.clone()))
            } else {
                None
            }
        });
        let refusals: Vec<_> = refusals.collect();
        let hint = refusals[0].1.hint.clone().unwrap_or_default();
        let goes_on = appends(&commands);
        assert_eq!(goes_on, engine.lost().is_none(), "{lost:?}");
        assert_eq!(goes_on, matches!(lost, Lost::Refused(_)), "{lost:?}");
        (refusals.len(), refusals[0].1.message.clone(), hint.starts_with("nothing was changed"))
    };
    let why = || "the disk failed".to_owned();
    let (answered, message, is_certain) = told(Lost::Refused(why()));
    // The second is on its way now.
    assert_eq!((answered, is_certain), (1, true), "{message}");
    assert!(message.starts_with("cannot record the command: "), "{message}");
    for lost in [Lost::Unknown(why()), Lost::Fenced { by: 9 }] {
        let (answered, message, is_certain) = told(lost);
        assert_eq!((answered, is_certain), (2, false), "{message}");
        assert!(message.starts_with("cannot say whether the command was recorded: "), "{message}");
    }
}

#[test]
fn a_log_that_takes_nothing_any_more_leaves_nobody_waiting() {
    let mut engine = engine(Vec::new());
    deploy(&mut engine, "web", 1, NOW);
    deploy(&mut engine, "web", 2, NOW);
    let commands = engine.step(Event::Cut(Lost::Fenced { by: 9 }), NOW);
    assert_eq!(commands.iter().filter(|c| matches!(c, Command::Answer(_, Err(_)))).count(), 2);
    assert_eq!(engine.lost(), Some(&Lost::Fenced { by: 9 }));
}

#[test]
fn a_checkpoint_is_read_in_parts_and_as_the_one_body_it_was_before() {
    let apps: Vec<App> = ["api", "web"].map(|app| App::new(name(app))).into();
    let body = CheckpointBody { apps: apps.clone(), fleet: Fleet::default(), at: NOW };
    let bytes = serde_json::to_vec(&body).expect("states have text keys only");
    let whole = CheckpointPart { key: CheckpointPart::WHOLE.into(), version: VERSION, body: bytes };
    let parts = body.parts().expect("states have text keys only");
    let keys: Vec<&str> = parts.iter().map(|part| part.key.as_str()).collect();
    assert_eq!(keys, ["latest", "fleet", "app/api", "app/web"]);
    for parts in [parts, vec![whole]] {
        let engine =
            Engine::recover(1, &[ProxyId::local()], &checkpoint(parts)).expect("it is whole");
        assert_eq!(engine.apps().cloned().collect::<Vec<_>>(), apps);
        assert_eq!(engine.last_fact(), NOW);
    }
    let unknown = CheckpointPart { key: "proxies".into(), version: VERSION, body: b"{}".into() };
    let refused = Engine::recover(1, &[ProxyId::local()], &checkpoint(vec![unknown]));
    let why = refused.expect_err("nobody knows what it says").to_string();
    assert!(why.ends_with("its part `proxies` is unknown"), "{why}");
}

/// A state that no facts lead to: the engine decides what it cannot fold.
#[test]
fn an_engine_that_is_wrong_stops_before_it_writes_what_it_could_not_read() {
    let mut app = App::new(name("web"));
    let web = release(spec(&app.name), "v1", 1);
    let stored = model::Release {
        no: ReleaseNo(1),
        label: web.label.clone().expect("it has one"),
        digest: web.digest,
        content: web.content,
        spec: web.spec,
        created: NOW,
        bad: None,
        conventions: model::Conventions::NOW,
        service: model::Service::Unknown,
    };
    app.releases.insert(ReleaseNo(1), stored);
    (app.live, app.last_release, app.version) = (Some(ReleaseNo(1)), 1, 5);
    let started = Started {
        rollout: RolloutId(1),
        kind: RolloutKind::Restart,
        from: Some(ReleaseNo(1)),
        to: ReleaseNo(1),
        release: None,
        strategy: None,
        hosts: Vec::new(),
        at: NOW,
    };
    rollout::apply(&mut app, &Fact::Started(Box::new(started))).expect("it follows");
    if let Some(rollout) = app.rollout.as_mut() {
        rollout.phase = Phase::Watching;
    }
    let mut engine = engine(vec![app]);
    let commands = engine.step(Event::Tick, NOW);
    let defect = engine.defect().expect("it knows that it is wrong");
    assert!(defect.starts_with("web: the fact \"settled\""), "{defect}");
    assert!(!appends(&commands), "nothing of it is written");
    assert!(!appends(&deploy(&mut engine, "api", 1, NOW)), "and nothing else either");
}

#[test]
fn all_to_whom_nothing_may_be_sent_stand_in_the_first_health_table() {
    let mut script = Script::new();
    script.deploy("v1", Behaviour::Good(300)).wait(15);
    let apps: Vec<App> = script.world.engine().expect("it lives").apps().cloned().collect();
    let all: BTreeSet<InstanceId> =
        apps.iter().flat_map(|app| app.instances.keys().map(|number| app.id(*number))).collect();
    assert!(all.len() > 1);
    let engine = recover(apps);
    let unknown = InstanceId { number: 99, ..all.first().expect("there is one").clone() };
    let strange = all.iter().cloned().chain([unknown]).map(|id| (id, "taken".to_owned()));
    let mut engine = engine.with_strangers(strange);
    let tables: Vec<_> = engine
        .begin(NOW)
        .into_iter()
        .filter_map(|command| {
            let Command::Proxy(to) = command else { return None };
            let ProxyCommand::Health(table) = to.command else { return None };
            Some(table)
        })
        .collect();
    assert_eq!(tables.len(), 1);
    assert_eq!(tables[0].foreign, all);
}

/// With many instances each table is large, and each decision looks at all of them.
#[test]
fn reports_that_come_together_make_one_health_table() {
    let mut script = Script::new();
    script.deploy("v1", Behaviour::Good(300)).wait(15);
    let apps: Vec<App> = script.world.engine().expect("it lives").apps().cloned().collect();
    let ids: Vec<InstanceId> =
        apps.iter().flat_map(|app| app.instances.keys().map(|number| app.id(*number))).collect();
    assert!(ids.len() > 1);
    let report = |id: &InstanceId| {
        let report = HostReport::Health {
            id: id.clone(),
            health: Health::Up,
            streak: 2,
            note: None,
            unanswered: false,
            listeners: Listeners::default(),
        };
        Event::Host(FromHost { host: HostId::local(), report })
    };
    let tables = |commands: Vec<Command>| {
        let is_table = |command: &&Command| matches!(command, Command::Proxy(to) if matches!(to.command, ProxyCommand::Health(_)));
        commands.iter().filter(is_table).count()
    };
    let one_by_one = |engine: &mut Engine| -> usize {
        ids.iter().map(|id| tables(engine.step(report(id), NOW))).sum()
    };
    assert_eq!(one_by_one(&mut engine(apps.clone())), ids.len());
    assert_eq!(tables(engine(apps).step_all(ids.iter().map(report), NOW)), 1);
}

/// What the first proxy would have to do for a command, and cannot.
#[test]
fn a_command_that_needs_what_a_proxy_cannot_do_is_refused_with_its_name() {
    let mut script = Script::new();
    script.deploy("v1", Behaviour::Good(300)).wait(15);
    let apps: Vec<App> = script.world.engine().expect("it lives").apps().cloned().collect();
    let app = apps[0].name.clone();
    let said = |abilities: Abilities, ask: Ask| {
        let mut engine = recover(apps.clone()).with_proxies([(ProxyId::local(), abilities)]);
        engine.begin(NOW);
        let (app, ticket) = (app.clone(), Ticket(1));
        let event = Event::Ask { ticket, app, ask, version: None, mode: Mode::DryRun };
        let mut commands = engine.step(event, NOW);
        // Some wait for the first look at what is live.
        commands.extend(engine.step(Event::Tick, NOW.after(Millis::from_secs(5))));
        let answer = answer(&commands).expect("it is answered").clone();
        answer.map_or_else(|refusal| refusal.message, |_| "yes".into())
    };
    let by = |kind: StrategyKind| {
        let mut spec = spec(&app);
        spec.strategy.kind = kind;
        Ask::Deploy { release: Box::new(release(spec, "v2", 2)), replace: false }
    };
    let step = Step {
        share: Share::from_ten_thousandths(500).expect("a share"),
        gate: model::Gate::Manual,
    };
    let canary =
        StrategyKind::Canary { steps: vec![step], cohort: None, capacity: model::Capacity::Share };
    let closed = |hold| Ask::Maintenance {
        on: Some(Maintenance { page: Page::default(), hold: Millis(hold), allow: Vec::new() }),
    };
    let all = Abilities::default();
    let whole = Abilities { shares: Shares::Whole, ..all };
    assert_eq!(said(all, by(canary.clone())), "yes");
    assert_eq!(said(whole, by(canary)), "cannot deploy web: proxy local cannot divide traffic");
    let blue_green = StrategyKind::BlueGreen { switch: model::Switch::Auto };
    assert_eq!(said(whole, by(blue_green)), "yes");
    let open = Abilities { maintenance: false, ..all };
    let recreate = StrategyKind::Recreate { page: Page::default() };
    assert_eq!(said(open, by(recreate)), "cannot deploy web: proxy local cannot close an app");
    let hasty = Abilities { hold: false, ..all };
    assert_eq!(said(hasty, closed(0)), "yes");
    let wanted = "cannot change the maintenance of web: proxy local cannot keep requests waiting";
    assert_eq!(said(hasty, closed(1_000)), wanted);
}
