//! Verbs that steer what is there: pause, resume, promote, scale, maintenance, and a cold rollback.

use std::fs;
use std::sync::{Arc, Mutex};

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::fake::{Fake, Reply, account, event, segue};

/// A server that takes every command with this note, and what was sent to it.
fn server(rollout: Option<u32>, note: &'static str) -> (Fake, Arc<Mutex<Vec<String>>>) {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let log = sent.clone();
    let fake = Fake::new(move |request, body| {
        if request.starts_with("POST") {
            let body: Value = serde_json::from_slice(body).unwrap();
            log.lock().unwrap().push(format!("{request} {body}"));
            let accepted = json!({"app": "web", "rollout": rollout, "already": false,
                "release": 2, "label": "v2", "note": note});
            return Reply::Json(202, accepted);
        }
        if request.contains("/events") {
            return Reply::Lines(vec![event(1, "v2 is live", Some("completed"))]);
        }
        Reply::Json(200, account("completed", None))
    });
    (fake, sent)
}

fn run(rollout: Option<u32>, note: &'static str, words: &[&str]) -> String {
    let (fake, sent) = server(rollout, note);
    let text = segue(Some(&fake), words);
    let sent = sent.lock().unwrap().join("\n");
    format!("{text}\n--- sent\n{sent}")
}

#[test]
fn a_rollout_is_held_and_goes_on() {
    assert_snapshot!(run(Some(2), "v2 is held at 5 %", &["pause", "web"]));
    assert_snapshot!(run(Some(2), "v2 goes on", &["resume", "web"]));
}

#[test]
fn a_step_is_opened_or_all_of_them() {
    assert_snapshot!(run(Some(2), "v2 goes on to 50 %", &["promote", "web", "--detach"]));
    assert_snapshot!(run(Some(2), "switching to v2", &["promote", "web", "--full"]));
}

#[test]
fn an_app_gets_another_number_of_instances() {
    assert_snapshot!(run(None, "4 instances from now on", &["scale", "web", "4"]));
    assert_snapshot!(run(None, "", &["scale", "web", "0"]));
}

#[test]
fn an_app_is_closed_with_a_page_and_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("closed.html");
    fs::write(&page, "<h1>Closed</h1>").unwrap();
    let page = page.to_string_lossy().into_owned();
    let words = ["maintenance", "on", "web", "--page", &page, "--message", "Back soon."];
    let more = ["--retry-after", "1m", "--allow", "10.0.0.0/8", "--allow", "::1"];
    assert_snapshot!(run(None, "", &[&words[..], &more].concat()));
    assert_snapshot!(run(None, "web is open again", &["maintenance", "off", "web"]));
}

#[test]
fn a_closed_door_is_described_well_or_not_at_all() {
    let words = ["maintenance", "off", "web", "--message", "Back soon."];
    assert_snapshot!(run(None, "", &words));
    assert_snapshot!(run(None, "", &["maintenance", "on", "web", "--allow", "10.0.0.0/33"]));
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("long.html");
    fs::write(&page, "x".repeat(70_000)).unwrap();
    let text = run(None, "", &["maintenance", "on", "web", "--page", &page.to_string_lossy()]);
    assert_snapshot!(text.replace(&*dir.path().to_string_lossy(), "DIR"));
}

#[test]
fn a_cold_rollback_says_so_beforehand() {
    let note = "v1 is not warm: it is started again, then switched to";
    assert_snapshot!(run(Some(2), note, &["rollback", "web", "--to", "v1"]));
}

/// What a deploy that is accepted would do.
fn effect(kind: &str, note: &str, rollout: Option<u32>, ends: Option<u32>) -> Value {
    let answer = json!({
        "app": "web", "rollout": rollout, "already": false, "release": 2, "label": "v2", "note": note,
    });
    json!({"kind": kind, "ends": ends, "answer": answer})
}

/// What `plan` is answered.
fn planned(parts: &[(&str, Value)]) -> Value {
    let mut plan = json!({
        "app": "web", "release": {"label": "v2", "kind": "new"}, "live": "v1",
        "files": 12, "uploads": 2, "upload_bytes": 5_300, "strategy": "canary",
        "steps": ["5 % of the users for 1m", "50 % of the users until `segue promote`", "everybody",
                  "keep the release before it warm"],
        "changes": ["files", "run.command", "run.env.LOG"], "rollout": null,
        "verdict": {"accepted": effect("begins", "v2 is release #2", Some(8), None)},
    });
    for (key, value) in parts {
        plan[key] = value.clone();
    }
    plan
}

#[test]
fn a_plan_says_what_a_deploy_would_do() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("segue.toml");
    fs::write(&file, "app = \"web\"\n[run]\ncommand = [\"./x\"]\n").unwrap();
    let file = file.to_string_lossy().into_owned();
    let plan = |answer: Value, more: &[&str]| {
        let fake = Fake::new(move |request, _| {
            assert_eq!(request, "POST /v1/apps/web/plan", "a plan sends no file");
            Reply::Json(200, answer.clone())
        });
        segue(Some(&fake), &[&["plan", "-f", &file, "--release", "v2"], more].concat())
    };
    assert_snapshot!(plan(planned(&[]), &["--strategy", "canary"]));
    let hosts = json!({
        "instances": {"web-1": 2, "web-2": 2},
        "left_out": [{"host": "web-3", "why": "it is not heard"}],
        "may_fail": 1,
    });
    let text = plan(planned(&[("hosts", hosts)]), &[]);
    assert!(text.contains("\nhosts      2 on web-1, 2 on web-2\n"), "{text}");
    assert!(text.contains("\nleft out   web-3: it is not heard\n"), "{text}");
    let message =
        "cannot deploy web: the label v1 belongs to release #1, with other content: files (a)";
    let hint = "labels are immutable: choose another with `--release`";
    let again = [
        ("release", json!({"label": "v1", "kind": "taken"})),
        ("uploads", json!(0)),
        ("changes", Value::Null),
        ("rollout", json!(7)),
        ("steps", json!([])),
        ("differs", json!(["files (a)"])),
        ("verdict", json!({"refused": {"code": "refused", "message": message, "hint": hint}})),
    ];
    assert_snapshot!(plan(planned(&again), &[]));
    assert_snapshot!(plan(planned(&[]), &["--json"]));
    // Each thing that a deploy can do, and what else its sender is told.
    let mut takes_over = effect("begins", "v2 is release #2", Some(8), Some(7));
    takes_over["answer"]["warnings"] = json!(["web takes over the state of a removed app"]);
    let effects = [
        takes_over,
        effect("joins", "v2 is being rolled out already", Some(7), None),
        effect(
            "starts",
            "v2 is live with 0 of 2 instances up: starting what it lacks",
            Some(8),
            None,
        ),
        effect("returns", "v2 is live again", None, Some(7)),
        effect("nothing", "v2 is already live", None, None),
    ];
    let texts: Vec<String> = effects
        .into_iter()
        .map(|effect| {
            let parts = [("verdict", json!({ "accepted": effect })), ("steps", json!([]))];
            plan(planned(&parts), &["--replace"])
        })
        .collect();
    assert_snapshot!(texts.join("\n"));
}
