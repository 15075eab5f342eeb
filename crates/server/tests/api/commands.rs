//! What each verb asks of the engine, and what a plan tells of the engine's dry run.

use control::{Answer, Ask, Course, Promote, Refusal, RefusalCode, RolloutKind};
use model::{Digest, Maintenance, Millis, Page, RolloutId};
use serde_json::{Value, json};
use wire::Problem;

use crate::refusals::ask;
use crate::world::{v2_begins, world};

#[tokio::test]
async fn every_verb_is_one_question() {
    let world = world();
    let closed = Maintenance {
        page: Page {
            html: Some("<h1>Closed</h1>".into()),
            message: Some("Back soon.".into()),
            retry_after: Millis::from_secs(60),
        },
        hold: Millis::from_secs(2),
        allow: vec!["10.0.0.0/8".parse().unwrap()],
    };
    let page = json!({
        "on": true, "page": "<h1>Closed</h1>", "message": "Back soon.", "retry_after": "1m",
        "hold": "2s", "allow": ["10.0.0.0/8"],
    });
    let cases = [
        ("promote", Value::Null, Ask::Promote(Promote::Step)),
        ("promote", json!({"full": true}), Ask::Promote(Promote::Full)),
        ("pause", Value::Null, Ask::Pause),
        ("resume", json!({"version": 7}), Ask::Resume),
        ("scale", json!({"replicas": 5}), Ask::Scale { replicas: 5 }),
        ("maintenance", page, Ask::Maintenance { on: Some(closed) }),
        ("maintenance", json!({"on": false}), Ask::Maintenance { on: None }),
        ("abort", Value::Null, Ask::Abort),
    ];
    for (verb, body, _) in &cases {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = ask(&world, "POST", &format!("/v1/apps/web/{verb}"), body).await;
        assert!(answer.starts_with("202 "), "{verb}: {answer}");
        assert!(answer.contains("\"note\":\"v2 is release #2\""), "{verb}: {answer}");
    }
    let commands = world.engine.commands.lock().unwrap();
    let asked: Vec<&Ask> = commands.iter().map(|command| &command.ask).collect();
    assert_eq!(asked, cases.iter().map(|(_, _, ask)| ask).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_plan_names_what_differs_and_what_the_engine_says_of_a_dry_run() {
    let world = world();
    let digest = Digest::from_bytes([3; 32]);
    let file = json!({"file": {"digest": digest, "size": 30, "executable": true}});
    let body = json!({
        "spec": {
            "app": "web",
            "run": {"command": ["./y"], "replicas": 4},
            "strategy": {"kind": "rolling", "batch": "50%"},
        },
        "label": "v2",
        "env": {"SECRET": "hunter2"},
        "manifest": {"entries": [{"path": "y", "kind": file}]},
    });
    let answer = ask(&world, "POST", "/v1/apps/web/plan", body.to_string()).await;
    assert!(!answer.contains("hunter2"), "a value is never printed");
    let plan: Value = serde_json::from_str(answer.strip_prefix("200 ").unwrap()).unwrap();
    let strategy = v2_begins().begins.unwrap().strategy;
    let wanted = json!({
        "app": "web",
        "release": {"label": "v2", "kind": "new"},
        "live": "v1",
        "files": 1,
        "uploads": 1,
        "upload_bytes": 30,
        // Not as the body says, but as the engine does.
        "strategy": "recreate",
        "steps": wire::steps(&strategy, 4, Some(&"v1".parse().unwrap())),
        "changes": [
            "files", "run.command", "run.env.OLD", "run.env.SECRET", "run.replicas", "strategy",
        ],
        "rollout": null,
        "verdict": {"accepted": {
            "kind": "begins",
            "ends": 2,
            "answer": {
                "app": "web", "rollout": 3, "already": false, "release": 2, "label": "v2",
                "note": "v2 is release #2",
            },
        }},
    });
    assert_eq!(plan, wanted);
    assert!(world.engine.commands.lock().unwrap().is_empty(), "nothing reached the engine");
    assert!(world.shelf.blobs.lock().unwrap().is_empty(), "nothing was kept");
}

#[tokio::test]
async fn a_plan_tells_a_label_that_is_taken() {
    let body = json!({"spec": {"app": "web", "run": {"command": ["./y"]}}, "label": "v1"});
    let answer = ask(&world(), "POST", "/v1/apps/web/plan", body.to_string()).await;
    assert!(answer.contains("{\"label\":\"v1\",\"kind\":\"taken\"}"), "{answer}");
}

/// The names of what differs, so that one need not guess which of a hundred files or variables it is.
#[tokio::test]
async fn a_label_that_is_taken_is_refused_with_what_differs() {
    let world = world();
    let file = |digest: u8, size: u64| {
        let digest = Digest::from_bytes([digest; 32]);
        json!({"file": {"digest": digest, "size": size, "executable": true}})
    };
    let body = json!({
        "spec": {"app": "web", "run": {"command": ["./x"], "replicas": 2}},
        "label": "v1",
        "env": {"SECRET": "hunter2"},
        "manifest": {"entries": [
            {"path": "new", "kind": file(4, 3)},
            {"path": "same", "kind": file(4, 3)},
            {"path": "y", "kind": file(5, 3)},
        ]},
    });
    let differs = "files (gone is gone, new is new, y), run.env.OLD, run.env.SECRET";
    let answer = ask(&world, "POST", "/v1/apps/web/deploys", body.to_string()).await;
    let refused = answer;
    assert_eq!(
        refused,
        format!(
            "422 refused cannot deploy web: the label v1 belongs to release #1, with other content: \
             {differs}"
        )
    );
    assert!(world.engine.commands.lock().unwrap().is_empty(), "nothing reached the engine");
    let answer = ask(&world, "POST", "/v1/apps/web/plan", body.to_string()).await;
    let plan: Value = serde_json::from_str(answer.strip_prefix("200 ").unwrap()).unwrap();
    let told: Vec<&str> =
        plan["differs"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(told.join(", "), differs);
    let told = answer_of(&plan["verdict"]["refused"]);
    assert_eq!(told, refused, "a plan refuses in the deploy's words");
    assert!(world.engine.dry_runs.lock().unwrap().is_empty(), "nothing reached the engine");
}

/// A refusal as [`ask`] shows the answer that carries it.
fn answer_of(problem: &Value) -> String {
    let Problem { code, message, hint: _ } = serde_json::from_value(problem.clone()).unwrap();
    let name = serde_json::to_value(code).unwrap();
    format!("{} {} {message}", code.status(), name.as_str().unwrap())
}

/// A table of answers of the engine: the plan says what each means, and asks what the deploy asks.
#[tokio::test]
async fn a_plan_is_what_the_engine_answers_to_the_same_question() {
    let body = json!({
        "spec": {"app": "web", "run": {"command": ["./y"]}},
        "label": "v2", "replace": true, "version": 7,
    });
    let nothing = Answer { begins: None, ends: None, ..v2_begins() };
    let starts = Course { kind: RolloutKind::Start, ..*v2_begins().begins.unwrap() };
    let cases = [
        ("begins", v2_begins()),
        ("starts", Answer { begins: Some(Box::new(starts)), ..v2_begins() }),
        ("joins", Answer { already: true, ..nothing.clone() }),
        ("nothing", Answer { already: true, rollout: None, ..nothing.clone() }),
        ("returns", Answer { rollout: None, ends: Some(RolloutId(2)), ..nothing }),
    ];
    let world = world();
    for (kind, answer) in cases {
        *world.engine.verdict.lock().unwrap() = Some(Ok(answer.clone()));
        let plan = ask(&world, "POST", "/v1/apps/web/plan", body.to_string()).await;
        let plan: Value = serde_json::from_str(plan.strip_prefix("200 ").unwrap()).unwrap();
        let effect = &plan["verdict"]["accepted"];
        assert_eq!(effect["kind"], kind);
        assert_eq!(effect["ends"], json!(answer.ends.map(|id| id.0)), "{kind}");
        assert_eq!(effect["answer"]["rollout"], json!(answer.rollout.map(|id| id.0)), "{kind}");
        assert_eq!(plan["steps"].as_array().unwrap().is_empty(), kind != "begins", "{kind}");
    }
    for code in [RefusalCode::Refused, RefusalCode::Conflict, RefusalCode::Unavailable] {
        let (message, hint) = ("cannot deploy web: so it is".to_owned(), Some("wait".to_owned()));
        let refusal = Refusal { code, message, hint };
        *world.engine.verdict.lock().unwrap() = Some(Err(refusal.clone()));
        let plan = ask(&world, "POST", "/v1/apps/web/plan", body.to_string()).await;
        let plan: Value = serde_json::from_str(plan.strip_prefix("200 ").unwrap()).unwrap();
        let Problem { code: told, message, hint } =
            serde_json::from_value(plan["verdict"]["refused"].clone()).unwrap();
        assert_eq!((message, hint), (refusal.message, refusal.hint));
        assert_eq!(format!("{told:?}"), format!("{code:?}"));
    }
    ask(&world, "POST", "/v1/apps/web/deploys", body.to_string()).await;
    let (planned, asked) =
        (world.engine.dry_runs.lock().unwrap(), world.engine.commands.lock().unwrap());
    assert!(planned.iter().all(|planned| *planned == asked[0]), "{planned:?} {asked:?}");
}

#[tokio::test]
async fn a_plan_tells_whose_state_a_new_app_would_take_over() {
    let body = json!({"spec": {"app": "gone", "run": {"command": ["./y"]}}});
    for path in ["/v1/apps/gone/plan", "/v1/apps/gone/deploys"] {
        let answer = ask(&world(), "POST", path, body.to_string()).await;
        assert!(answer.contains("gone takes over the state that a removed app"), "{answer}");
    }
}
