//! What a dry run of a deploy says, in every state of an app, is what the deploy then does.

use model::{AppSpec, Batch, Capacity, Gate, Millis, OnFailure, Order, Share, Step, StrategyKind};
use rollout::{Ask, RolloutKind};
use testkit::{Behaviour, Script};

const GOOD: Behaviour = Behaviour::Good(300);

fn as_ever(_: &mut AppSpec) {}

fn canary(spec: &mut AppSpec) {
    let share = Share::from_ten_thousandths(1_000).expect("a tenth is a share");
    let steps = vec![Step { share, gate: Gate::Manual }];
    spec.strategy.kind = StrategyKind::Canary { steps, cohort: None, capacity: Capacity::Share };
}

/// With as many instances in a batch as there are: none would be left to serve.
fn all_in_place(spec: &mut AppSpec) {
    let (batch, pause, on_failure) = (Batch::Count(2), Millis(0), OnFailure::Revert);
    let order = Order::InPlace;
    spec.strategy.kind = StrategyKind::Rolling { batch, order, pause, on_failure };
}

type Part = (&'static str, fn(&mut Script));

const STATES: &[Part] = &[
    ("nothing", |_| {}),
    ("v1 starts", |script| {
        script.deploy("v1", GOOD);
    }),
    ("v1 is live", |script| {
        script.deploy("v1", GOOD).wait(15);
    }),
    ("v1 is live and down", |script| {
        script.deploy_with("v1", Behaviour::DiesLater(1_500), false, as_ever).wait(30);
    }),
    ("v1 is live, v2 starts", |script| {
        script.deploy("v1", GOOD).wait(15).deploy("v2", Behaviour::Good(5_000)).wait(1);
    }),
    ("v1 is live, v2 has a tenth", |script| {
        script.deploy("v1", GOOD).wait(15).deploy_with("v2", GOOD, false, canary).wait(5);
    }),
    ("v2 is watched", |script| {
        script.deploy("v1", GOOD).wait(15).deploy("v2", GOOD).wait(3);
    }),
    ("v2 is live, v1 the standby", |script| {
        script.deploy("v1", GOOD).wait(15).deploy("v2", GOOD).wait(30);
    }),
    ("v2 was taken back", |script| {
        script.deploy("v1", GOOD).wait(15).deploy("v2", Behaviour::Exits(50)).wait(5);
    }),
    ("v1 is live, four times", |script| {
        script.deploy("v1", GOOD).wait(15).ask(Ask::Scale { replicas: 4 }).wait(5);
    }),
    ("v1 is restarted", |script| {
        script.deploy("v1", GOOD).wait(15).ask(Ask::Restart);
    }),
    ("v1 is being removed", |script| {
        script.deploy("v1", GOOD).wait(15).requests(1, 20).ask(Ask::Remove { with_state: false });
    }),
    ("v1 is removed", |script| {
        script.deploy("v1", GOOD).wait(15).ask(Ask::Remove { with_state: false }).wait(60);
    }),
];

type Request = (&'static str, &'static str, u64, bool, fn(&mut AppSpec));

const REQUESTS: &[Request] = &[
    ("a new release", "v9", 9, false, as_ever),
    ("a new release in place of what is under way", "v9", 9, true, as_ever),
    ("a new release by another strategy", "v9", 9, false, canary),
    ("a new release that would leave none to serve", "v9", 9, false, all_in_place),
    ("v1 again", "v1", 1, false, as_ever),
    ("v1 again, in place of what is under way", "v1", 1, true, as_ever),
    ("v2 again", "v2", 2, false, as_ever),
    ("v2 again, by another strategy", "v2", 2, false, canary),
    ("v2 again, by another strategy, from the start", "v2", 2, true, canary),
    ("other content called v1", "v1", 9, false, as_ever),
    ("a release with more instances", "v9", 9, false, |spec| spec.run.replicas = 3),
];

/// Kinds of answers, so that the table cannot become one of refusals only.
#[derive(Debug, Default)]
struct Kinds {
    refused: u32,
    begins: u32,
    starts: u32,
    joins: u32,
    nothing: u32,
    ends: u32,
}

#[test]
fn a_deploy_does_what_its_dry_run_said_in_every_state() {
    let mut kinds = Kinds::default();
    for (state, lead) in STATES {
        for (request, label, number, replace, change) in REQUESTS {
            let mut script = Script::new();
            lead(&mut script);
            let what = format!("{state}: {request}");
            one_case(&mut script, &what, (label, *number, *replace, *change), &mut kinds);
        }
    }
    let Kinds { refused, begins, starts, joins, nothing, ends } = kinds;
    let counts = [refused, begins, starts, joins, nothing, ends];
    assert!(counts.iter().all(|count| *count > 0), "{kinds:?}");
}

fn one_case(
    script: &mut Script,
    what: &str,
    (label, number, replace, change): (&str, u64, bool, fn(&mut AppSpec)),
    kinds: &mut Kinds,
) {
    let app = "web".parse().expect("it is valid");
    let ask = script.question(label, number, replace, change);
    let records = script.world.disk.records();
    let foretold = script.world.dry_run(&app, ask.clone(), None);
    let ticket = script.world.ask(&app, ask, None);
    // The dry run is answered within the millisecond, the deploy when it is in the journal.
    while !script.world.answers.contains_key(&ticket) {
        script.world.run_for(1);
    }
    let (foretold, answer) =
        (script.world.answers.remove(&foretold), script.world.answers.remove(&ticket));
    assert_eq!(foretold, answer, "{what}");
    let after = script.world.views.get(&app).cloned();
    let Some(Ok(answer)) = answer else {
        kinds.refused += 1;
        let started = |records: &[control::Record]| {
            let facts = records.iter().flat_map(control::Record::facts);
            facts.filter(|fact| fact.name() == "started").count()
        };
        assert_eq!(started(&script.world.disk.records()), started(&records), "{what}");
        return;
    };
    kinds.ends += u32::from(answer.ends.is_some());
    let rollout = after.as_ref().and_then(|view| view.rollout.clone());
    if let Some(id) = answer.rollout {
        assert_eq!(rollout.as_ref().map(|rollout| rollout.id), Some(id), "{what}");
    }
    match (answer.begins, answer.rollout) {
        (Some(course), _) => {
            let rollout = rollout.expect("it was asserted above");
            match course.kind {
                RolloutKind::Deploy => {
                    kinds.begins += 1;
                    assert_eq!(rollout.strategy, course.strategy.kind.name(), "{what}");
                }
                RolloutKind::Start => kinds.starts += 1,
                RolloutKind::Rollback | RolloutKind::Restart => panic!("{what}: {course:?}"),
            }
            let live = after.and_then(|view| view.live.as_ref().map(|live| live.label.clone()));
            assert_eq!(course.from, live, "{what}");
        }
        (None, Some(_)) => kinds.joins += 1,
        (None, None) => kinds.nothing += 1,
    }
}
