//! Deploys and rollbacks from the first line to the last.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::fake::{Fake, Reply, account, app, event, now, refusal, segue};

/// A folder with an app in it, and the path of its file.
fn folder() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("server"), "#!/bin/sh\n").unwrap();
    let file = dir.path().join("segue.toml");
    let text = "app = \"web\"\n[run]\ncommand = [\"./server\"]\nenv = { A = \"hunter2\" }\n";
    fs::write(&file, text).unwrap();
    let file = file.to_string_lossy().into_owned();
    (dir, file)
}

fn accepted() -> Reply {
    let accepted =
        json!({"app": "web", "rollout": 2, "already": false, "release": 2, "label": "v2"});
    Reply::Json(202, accepted)
}

/// A server that takes a deploy, tells these lines, and has this receipt.
fn server(lines: Vec<Value>, receipt: Value) -> Fake {
    Fake::new(move |request, body| {
        let (method, path) = request.split_once(' ').unwrap();
        match (method, path.split('?').next().unwrap()) {
            ("POST", "/v1/blobs/missing") => {
                let body: Value = serde_json::from_slice(body).unwrap();
                let digests: Vec<&Value> =
                    body["blobs"].as_array().unwrap().iter().map(|blob| &blob["digest"]).collect();
                Reply::Json(200, json!({"missing": digests}))
            }
            ("PUT", _) => Reply::Json(201, Value::Null),
            ("POST", "/v1/apps/web/deploys") => {
                let body: Value = serde_json::from_slice(body).unwrap();
                assert_eq!(body["env"], json!({"A": "line", "B": "here"}));
                assert_eq!(body["spec"]["run"], json!({"command": ["./server"]}));
                assert_eq!(body["label"], "v2");
                assert_eq!(body["manifest"]["entries"].as_array().unwrap().len(), 1);
                accepted()
            }
            ("POST", _) => accepted(),
            ("GET", "/v1/apps/web/events") => Reply::Lines(lines.clone()),
            ("GET", "/v1/apps/web/receipts/2") => Reply::Json(200, receipt.clone()),
            ("GET", "/v1/apps/web/receipts") => Reply::Json(200, json!([receipt])),
            _ => panic!("not in the script: {request}"),
        }
    })
}

fn deploy(fake: &Fake, more: &[&str]) -> String {
    let (_dir, file) = folder();
    let words = ["deploy", "-f", &file, "--release", "v2", "--env", "A=line", "--env", "B=here"];
    segue(Some(fake), &[&words[..], more].concat())
}

fn good_lines() -> Vec<Value> {
    vec![
        now("starting", "waiting for free ports on the host, since 0ms"),
        event(1, "v2 is coming in: 2 instances start", None),
        now("starting", "waiting for v2 to become healthy (0 of 2 ready), since 1s"),
        now("starting", "waiting for v2 to become healthy (1 of 2 ready), since 2s"),
        event(2, "v2 is ready: 2 of 2 instances are up", None),
        event(3, "v2 is live", None),
        now("watching", "waiting for the watch after the switch to end, since 0ms"),
        event(4, "done", Some("completed")),
    ]
}

/// A first release, and one beside another: what is live is what the receipt says.
#[test]
fn a_release_that_has_failed_and_stays_is_said_to_stay() {
    let cause = "after the switch only 0 of 2 instances were healthy";
    let lines = vec![event(1, cause, Some("failed"))];
    for from in [Value::Null, json!("v1")] {
        let mut account = account("failed", Some(cause));
        account["receipt"]["from"] = from;
        account["receipt"]["live"] = json!("v2");
        assert_snapshot!(deploy(&server(lines.clone(), account), &[]));
    }
}

#[test]
fn a_deploy_that_goes_well() {
    let fake = server(good_lines(), account("completed", None));
    assert_snapshot!(deploy(&fake, &[]));
    let asked = fake.asked.lock().unwrap();
    let uploads = asked.iter().filter(|request| request.starts_with("PUT /v1/blobs/")).count();
    assert_eq!(uploads, 1, "{asked:?}");
}

#[test]
fn the_last_line_of_stdout_is_the_receipt() {
    let fake = server(good_lines(), account("completed", None));
    assert_snapshot!(deploy(&fake, &["--json"]));
}

#[test]
fn a_release_that_dies_at_its_start_is_refused_with_its_own_words() {
    let cause = "web-3 exited with code 1\nTraceback (most recent call last):\nImportError: flask";
    let lines = vec![event(1, cause, None), event(2, "v2 is refused", Some("failed"))];
    assert_snapshot!(deploy(&server(lines, account("failed", Some(cause))), &[]));
}

#[test]
fn a_release_that_dies_after_the_switch_is_rolled_back() {
    let cause = "web-3 died 2 times in a row while it was watched";
    let lines = vec![event(1, "v2 is live", None), event(2, "v1 is live again", Some("reverted"))];
    assert_snapshot!(deploy(&server(lines, account("reverted", Some(cause))), &["--json"]));
}

#[test]
fn a_deploy_can_be_left_alone() {
    assert_snapshot!(deploy(&server(vec![], Value::Null), &["--detach"]));
}

#[test]
fn what_is_live_already_is_not_deployed_again() {
    let fake = Fake::new(|request, _| match request {
        "POST /v1/blobs/missing" => Reply::Json(200, json!({"missing": []})),
        "GET /v1/apps/web/receipts" => Reply::Json(200, json!([account("completed", None)])),
        _ => Reply::Json(
            200,
            json!({"app": "web", "rollout": null, "already": true, "release": 2, "label": "v2"}),
        ),
    });
    assert_snapshot!(deploy(&fake, &["--json"]));
}

#[test]
fn another_rollout_under_way_is_named() {
    let fake = Fake::new(|request, _| match request {
        "POST /v1/blobs/missing" => Reply::Json(200, json!({"missing": []})),
        _ => refusal(
            422,
            "refused",
            "cannot deploy web: rollout 1 of v1 is under way since 12s",
            "wait for it, or --replace aborts it",
        ),
    });
    assert_snapshot!(deploy(&fake, &[]));
}

#[test]
fn a_rollback_is_short() {
    let lines = vec![event(1, "v1 is live again", Some("completed"))];
    let fake = server(lines, account("completed", None));
    assert_snapshot!(segue(Some(&fake), &["rollback", "web", "--json"]));
    assert_eq!(fake.asked.lock().unwrap().len(), 3, "a command, its events, its receipt");
}

#[test]
fn a_rollback_in_the_middle_of_a_deploy_is_what_was_wished() {
    let lines = vec![event(1, "v1 is live again", Some("reverted"))];
    let fake = server(lines, account("reverted", Some("asked for")));
    assert_snapshot!(segue(Some(&fake), &["rollback", "web"]));
}

#[test]
fn a_server_that_restarts_is_waited_for() {
    let streams = AtomicU32::new(0);
    let fake = Fake::new(move |request, _| {
        let path = request.split('?').next().unwrap();
        match path {
            "POST /v1/apps/web/promote" => accepted(),
            "GET /v1/apps/web/events" => match streams.fetch_add(1, Ordering::Relaxed) {
                0 => Reply::Lines(vec![event(9, "v2 is ready", None)]),
                1 | 2 => Reply::Break,
                _ => Reply::Lines(vec![event(1, "v2 is live", Some("completed"))]),
            },
            "GET /v1/apps/web" => Reply::Json(200, app(json!({}))),
            _ => match streams.load(Ordering::Relaxed) {
                1 => refusal(404, "not-found", "rollout 2 is still under way", "-"),
                2 | 3 => Reply::Break,
                _ => Reply::Json(200, account("completed", None)),
            },
        }
    });
    assert_snapshot!(segue(Some(&fake), &["promote", "web"]));
}

/// A server that has no file, and does this to the app's folder each time it is asked what it has.
fn while_sent(change: impl Fn(&std::path::Path) + Send + 'static) -> (String, u32) {
    let (dir, file) = folder();
    let big = dir.path().join("app.log");
    fs::write(&big, "line\n".repeat(1_000)).unwrap();
    let asked = std::sync::Arc::new(AtomicU32::new(0));
    let count = asked.clone();
    let fake =
        Fake::new(move |request, body| match request.split_once('?').map_or(request, |r| r.0) {
            "POST /v1/blobs/missing" => {
                count.fetch_add(1, Ordering::Relaxed);
                let body: Value = serde_json::from_slice(body).unwrap();
                let digests: Vec<&Value> =
                    body["blobs"].as_array().unwrap().iter().map(|blob| &blob["digest"]).collect();
                change(&big);
                Reply::Json(200, json!({"missing": digests}))
            }
            "GET /v1/apps/web/events" => {
                Reply::Lines(vec![event(1, "v2 is live", Some("completed"))])
            }
            "GET /v1/apps/web/receipts/2" => Reply::Json(200, account("completed", None)),
            put if put.starts_with("PUT ") => Reply::Json(201, Value::Null),
            _ => accepted(),
        });
    let text = segue(Some(&fake), &["deploy", "-f", &file]);
    (text.replace(&*dir.path().to_string_lossy(), "DIR"), asked.load(Ordering::Relaxed))
}

fn append(path: &std::path::Path, text: &str) {
    use std::io::Write as _;
    fs::OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_file_that_grows_is_sent_as_it_was_listed() {
    let (text, asked) = while_sent(|file| append(file, "one more\n"));
    assert!(text.ends_with("--- exit 0") && asked == 1, "{text}");
}

#[test]
fn a_file_that_has_changed_once_is_listed_once_more() {
    for change in [
        (|file| fs::write(file, "short\n").unwrap()) as fn(&std::path::Path),
        |file| fs::write(file, "other\n".repeat(1_000)).unwrap(),
        |file| drop(fs::remove_file(file)),
        |file| {
            let _ = fs::remove_file(file);
            let _ = fs::create_dir(file);
        },
    ] {
        let (text, asked) = while_sent(change);
        assert!(text.ends_with("--- exit 0") && asked == 2, "{text}");
        assert!(text.contains("app.log has changed: reading the files once more"), "{text}");
    }
}

#[test]
fn a_file_that_never_keeps_still_is_named() {
    let shorter = |file: &std::path::Path| {
        let length = fs::metadata(file).unwrap().len();
        fs::OpenOptions::new().write(true).open(file).unwrap().set_len(length - 100).unwrap();
    };
    let (text, asked) = while_sent(shorter);
    assert_eq!(asked, 2);
    assert!(text.contains("error: upload app.log: it changes while it is sent"), "{text}");
    assert!(text.contains(".segueignore") && text.ends_with("--- exit 1"), "{text}");
}
