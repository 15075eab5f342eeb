//! What is shown of apps, releases and receipts.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::fake::{Fake, Reply, account, app, arm, refusal, segue, written};

fn status(parts: serde_json::Value) -> String {
    let fake = Fake::new(move |_, _| Reply::Json(200, app(parts.clone())));
    segue(Some(&fake), &["status", "web"])
}

#[test]
fn an_app_with_one_release() {
    assert_snapshot!(status(json!({})));
}

#[test]
fn an_app_with_a_warm_way_back() {
    assert_snapshot!(status(json!({
        "live": arm("v2", 2, 1.0, &[("web-3", "up"), ("web-4", "up")]),
        "standby": arm("v1", 1, 0.0, &[("web-1", "up"), ("web-2", "down")]),
        "rollback": {"ready": true, "to": "v1", "reason": null},
        "waiting": ["waiting for web-2 to recover (last probe: GET /up answered 500), since 3s, \
                     for 27s more at most, then it is replaced"],
        "warnings": ["v2 runs as root; name a user of its own with `user` in [run]"],
    })));
}

#[test]
fn an_app_in_the_middle_of_a_rollout() {
    assert_snapshot!(status(json!({
        "candidate": arm("2026-11-23_rc1", 2, 0.0, &[("web-3", "unknown"), ("web-4", "down")]),
        "rollout": {
            "id": 2, "strategy": "blue-green", "phase": "starting", "share": 0.0,
            "waiting_for": "waiting for 2026-11-23_rc1 to become healthy (0 of 2 ready; last probe: \
                            connection refused), since 2s, for 28s more at most, then the release \
                            is refused and the live one stays",
        },
        "progress": {"phase_ms": 2_000, "rollout_ms": 3_500, "cause": null},
    })));
}

#[test]
fn an_app_that_goes_back() {
    assert_snapshot!(status(json!({
        "live": null,
        "candidate": arm("v2", 2, 0.25, &[]),
        "rollout": {
            "id": 2, "strategy": "blue-green", "phase": "reverting", "share": 0.25,
            "waiting_for": null,
        },
        "progress": {"phase_ms": 20, "rollout_ms": 63_500, "cause": "web-3 exited with code 1"},
        "removing": true,
    })));
}

#[test]
fn all_apps() {
    let fake = Fake::new(|request, _| {
        if request.ends_with("/v1/state") {
            return Reply::Json(200, json!([{"app": "old", "path": "/data/apps/old/state"}]));
        }
        let busy = json!({"id": 4, "strategy": "blue-green", "phase": "watching", "share": 1.0,
            "waiting_for": null});
        let other = app(json!({
            "app": "a-longer-name", "rollout": busy,
            "live": arm("v2", 2, 1.0, &[("a-longer-name-3", "up"), ("a-longer-name-4", "down")]),
            "rollback": {"ready": true, "to": "v1", "reason": null},
        }));
        Reply::Json(200, json!([other, app(json!({}))]))
    });
    assert_snapshot!(segue(Some(&fake), &["status"]));
}

#[test]
fn apps_that_nobody_decides_about_any_more() {
    let why = "control has ended; look at the server's log, then restart it";
    let frozen = move || app(json!({"read_only": why}));
    let fake = Fake::new(move |request, _| match request {
        "GET /v1/apps" => Reply::Json(200, json!([frozen(), frozen()])),
        "GET /v1/state" => Reply::Json(200, json!([])),
        _ => Reply::Json(200, frozen()),
    });
    assert_snapshot!(segue(Some(&fake), &["status"]));
    assert_snapshot!(segue(Some(&fake), &["status", "web"]));
}

#[test]
fn no_apps() {
    let fake = Fake::new(|_, _| Reply::Json(200, json!([])));
    assert_snapshot!(segue(Some(&fake), &["status"]));
}

#[test]
fn the_status_as_json_is_the_contract() {
    let fake = Fake::new(|_, _| Reply::Json(200, app(json!({}))));
    assert_snapshot!(segue(Some(&fake), &["status", "web", "--json"]));
}

#[test]
fn releases() {
    let fake = Fake::new(|request, _| {
        if !request.ends_with("releases") {
            return Reply::Json(200, app(json!({})));
        }
        let release = |no: u32, label: &str, bad: Option<&str>| {
            json!({"release": no, "label": label, "digest": no.to_string().repeat(64),
                "created_ms": 1_700_000_000_000_u64, "bad": bad})
        };
        let list = [release(1, "v1", None), release(2, "v2", Some("web-3 exited with code 1"))];
        Reply::Json(200, json!(list))
    });
    assert_snapshot!(segue(Some(&fake), &["releases", "web"]));
}

#[test]
fn a_receipt() {
    let fake = Fake::new(|_, _| Reply::Json(200, json!([account("completed", None)])));
    assert_snapshot!(segue(Some(&fake), &["receipt", "web"]));
}

#[test]
fn output() {
    let fake = Fake::new(|_, _| {
        let line = |id: &str, text: &str| json!({"instance": id, "text": text});
        Reply::Lines(vec![line("web-1", "ready"), line("web-2", "\u{1b}[2Jcleared?\ttab")])
    });
    assert_snapshot!(segue(Some(&fake), &["logs", "web"]));
    assert_snapshot!(segue(Some(&fake), &["logs", "web", "--json"]));
    let raw = segue(Some(&fake), &["logs", "web", "--raw"]);
    assert_eq!(raw, "--- stdout\nready\n\u{1b}[2Jcleared?\ttab\n--- exit 0");
}

/// Bytes that are no UTF-8, and a character whose bytes come in two parts.
#[test]
fn raw_output_has_every_byte() {
    let fake = Fake::new(|_, _| {
        let line = |text: &str, base64: Option<&str>, goes_on: bool| json!({"instance": "web-1", "text": text, "base64": base64, "goes_on": goes_on});
        Reply::Lines(vec![
            line("a\u{fffd}b\r", Some("Yf9iDQ=="), false),
            line("caf\u{fffd}", Some("Y2Fmww=="), true),
            line("\u{fffd}", Some("qQ=="), false),
        ])
    });
    let raw = written(&fake, &["logs", "web", "--raw"]);
    assert_eq!(raw, b"a\xffb\r\ncaf\xc3\xa9\n");
    let read = segue(Some(&fake), &["logs", "web"]);
    assert_eq!(read, "--- stdout\nweb-1 | a\u{fffd}b\nweb-1 | caf\u{e9}\n--- exit 0");
    let json = String::from_utf8(written(&fake, &["logs", "web", "--json"])).unwrap();
    let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["base64"], "Yf9iDQ==");
    assert_eq!(lines[1], json!({"instance": "web-1", "text": "caf\u{e9}"}));
}

#[test]
fn a_long_line_is_one_line() {
    let fake = Fake::new(|_, _| {
        let line = |id: &str, text: &str, goes_on| json!({"instance": id, "text": text, "goes_on": goes_on});
        let long = "x".repeat(70_000);
        Reply::Lines(vec![
            line("web-1", &long, true),
            line("web-2", "between", false),
            line("web-1", "end", false),
        ])
    });
    let text = segue(Some(&fake), &["logs", "web"]);
    let long = "x".repeat(70_000);
    assert_eq!(text, format!("--- stdout\nweb-2 | between\nweb-1 | {long}end\n--- exit 0"));
}

/// Whatever a server, an app or a file says, the terminal is not drawn on.
#[test]
fn nothing_from_elsewhere_draws_on_the_terminal() {
    let nasty = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{202e}x\r\u{7f}";
    let fake = Fake::new(move |request, _| match request {
        "GET /v1/apps/web" => {
            Reply::Json(200, app(json!({"warnings": [nasty], "waiting": [nasty]})))
        }
        _ => refusal(422, "refused", nasty, nasty),
    });
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("segue.toml");
    let command = "app = \"web\"\n[run]\ncommand = [\"sh\", \"\\u001b[2J\\u202e\"]\n";
    std::fs::write(&file, command).unwrap();
    std::fs::write(dir.path().join("\u{1b}[2J"), "").unwrap();
    std::os::unix::fs::symlink("/etc", dir.path().join("\u{1b}[3J")).unwrap();
    let file = file.to_string_lossy().into_owned();
    for words in [
        &["status", "web"][..],
        &["status", "web", "--json"],
        &["rollback", "web"],
        &["check", &file],
        &["status", "a\u{1b}[2J"],
    ] {
        let text = segue(Some(&fake), words);
        let draws = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(!text.contains(draws), "{words:?}: {text:?}");
        assert!(words[1] == file || text.contains("u{1b}") || text.contains("x"), "{text}");
    }
}

#[test]
fn help() {
    assert_snapshot!(segue(None, &["--help"]));
    assert_snapshot!(segue(None, &["deploy", "--help"]));
}

#[test]
fn completions_know_the_verbs() {
    let script = segue(None, &["completions", "bash"]);
    assert!(script.contains("rollback") && script.ends_with("--- exit 0"), "{script}");
}
