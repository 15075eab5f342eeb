//! What each verb asks of the engine, and what a plan tells without asking it anything.

use control::{Ask, Promote};
use model::{Digest, Maintenance, Millis, Page};
use serde_json::{Value, json};

use crate::refusals::ask;
use crate::world::world;

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
async fn a_plan_names_what_differs_and_asks_nobody() {
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
    let wanted = json!({
        "app": "web",
        "release": {"label": "v2", "kind": "new"},
        "live": "v1",
        "files": 1,
        "uploads": 1,
        "upload_bytes": 30,
        "strategy": "rolling",
        "steps": [
            "2 batches of 2: new ones start before old ones leave",
            "stop the release before it",
        ],
        "changes": [
            "files", "run.command", "run.env.OLD", "run.env.SECRET", "run.replicas", "strategy",
        ],
        "rollout": null,
        "conflict": null,
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
    assert_eq!(
        answer,
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
}

#[tokio::test]
async fn a_plan_tells_whose_place_it_would_take() {
    let plan = |route: Value| {
        json!({"spec": {"app": "api", "run": {"command": ["./y"]}, "route": route}}).to_string()
    };
    let world = world();
    let answer = ask(&world, "POST", "/v1/apps/api/plan", plan(json!({}))).await;
    assert!(answer.contains("\"conflict\":\"every host belongs to web (release v1)\""), "{answer}");
    let answer = ask(&world, "POST", "/v1/apps/api/plan", plan(json!({"path": "/api"}))).await;
    assert!(answer.contains("\"conflict\":null"), "{answer}");
}
