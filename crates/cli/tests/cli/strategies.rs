//! Every strategy: what its app file may say, and how its rollout is shown on the way.

use std::fs;

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::fake::{Fake, Reply, account, app, arm, event, segue};

fn status(parts: Value) -> String {
    let fake = Fake::new(move |_, _| Reply::Json(200, app(parts.clone())));
    segue(Some(&fake), &["status", "web"])
}

fn check(text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("segue.toml");
    fs::write(&file, format!("app = \"web\"\n[run]\ncommand = [\"x\"]\n[strategy]\n{text}"))
        .unwrap();
    let text = segue(None, &["check", &file.to_string_lossy()]);
    text.replace(&*dir.path().to_string_lossy(), "DIR")
}

#[test]
fn what_a_strategy_cannot_keep_is_refused_by_check() {
    assert_snapshot!(check("kind = \"rolling\"\nsurge = false\n"));
    assert_snapshot!(check("kind = \"recreate\"\npage = \"closed.html\"\n"));
    assert_snapshot!(check("kind = \"canary\"\n"));
}

#[test]
fn a_canary_on_its_way() {
    assert_snapshot!(status(json!({
        "live": arm("v1", 1, 0.75, &[("web-1", "up"), ("web-2", "up")]),
        "candidate": arm("v2", 2, 0.25, &[("web-3", "up")]),
        "rollout": {
            "id": 2, "strategy": "canary", "phase": "switching", "share": 0.25,
            "waiting_for": "waiting for the next step, with 25 % of the users moved, since 12s, for \
                            48s more at most, then the next step begins",
        },
        "progress": {"phase_ms": 72_000, "rollout_ms": 75_000, "at_least_ms": 181_000, "step": 2,
            "steps": 3, "paused": false, "cause": null},
    })));
}

#[test]
fn a_rolling_deploy_that_is_held_says_why() {
    assert_snapshot!(status(json!({
        "live": arm("v1", 1, 0.5, &[("web-1", "up"), ("web-2", "up")]),
        "candidate": arm("v2", 2, 0.5, &[("web-3", "up"), ("web-4", "down")]),
        "rollout": {
            "id": 2, "strategy": "rolling", "phase": "switching", "share": 0.5,
            "waiting_for": "waiting for somebody to say `segue resume` or `segue abort`: web-4 \
                            exited with code 1, since 5s",
        },
        "progress": {"phase_ms": 8_000, "rollout_ms": 9_000, "at_least_ms": null, "step": 3,
            "steps": 4, "paused": true, "cause": null},
        "scale": 4,
    })));
}

#[test]
fn an_app_that_is_closed_while_it_is_recreated() {
    assert_snapshot!(status(json!({
        "live": null,
        "candidate": arm("v2", 2, 0.0, &[("web-3", "unknown")]),
        "maintenance": true,
        "rollout": {
            "id": 2, "strategy": "recreate", "phase": "starting", "share": 0.0,
            "waiting_for": "waiting for v2 to become healthy (0 of 1 ready), since 1s",
        },
        "progress": {"phase_ms": 1_000, "rollout_ms": 1_500, "at_least_ms": 4_000, "step": 1,
            "steps": 1, "paused": false, "cause": null},
    })));
}

#[test]
fn a_held_rollout_is_seen_in_the_list() {
    let fake = Fake::new(|request, _| {
        if request.ends_with("/v1/state") {
            return Reply::Json(200, json!([]));
        }
        let held = json!({"id": 4, "strategy": "canary", "phase": "switching", "share": 0.05,
            "waiting_for": null});
        let progress = json!({"phase_ms": 1, "rollout_ms": 2, "paused": true, "cause": null});
        Reply::Json(200, json!([app(json!({"rollout": held, "progress": progress}))]))
    });
    assert_snapshot!(segue(Some(&fake), &["status"]));
}

#[test]
fn a_canary_deploy_tells_each_step_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("segue.toml");
    fs::write(&file, "app = \"web\"\n[run]\ncommand = [\"./x\"]\n").unwrap();
    let now = |share: f64, step: u16, paused: bool, waiting: &str| {
        json!({"now": {"rollout": 2, "phase": "switching", "strategy": "canary", "share": share,
            "step": [step, 3], "paused": paused, "waiting_for": waiting}})
    };
    let lines = vec![
        event(1, "v2 gets 5 % of the users", None),
        now(0.05, 1, false, "waiting for the next step, since 1s"),
        now(0.05, 1, false, "waiting for the next step, since 2s"),
        now(0.05, 1, true, "waiting for somebody to say `segue resume`, since 1s"),
        event(2, "v2 gets 25 % of the users", None),
        now(0.25, 2, false, "waiting for the next step, since 1s"),
        event(3, "v2 is live", Some("completed")),
    ];
    let fake = Fake::new(move |request, _| match request.split('?').next().unwrap() {
        "POST /v1/blobs/missing" => Reply::Json(200, json!({"missing": []})),
        "POST /v1/apps/web/deploys" => {
            let accepted = json!({"app": "web", "rollout": 2, "already": false, "release": 2,
                "label": "v2", "note": "v2 is release #2"});
            Reply::Json(202, accepted)
        }
        "GET /v1/apps/web/events" => Reply::Lines(lines.clone()),
        _ => Reply::Json(200, account("completed", None)),
    });
    let words = ["deploy", "-f", &file.to_string_lossy(), "--strategy", "canary"];
    assert_snapshot!(segue(Some(&fake), &words));
    assert_snapshot!(segue(Some(&fake), &[&words[..3], &["--strategy", "canari"]].concat()));
}
