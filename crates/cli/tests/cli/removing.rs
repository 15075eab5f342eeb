//! `segue remove`: it asks, it says what it needs where nobody answers, and it says what stays.

use insta::assert_snapshot;
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::fake::{Fake, Reply, answered, app, refusal, segue};

/// A server with the app `web`, which is gone at once when it is removed; its state may stay.
fn server() -> Fake {
    let (removed, state) = (AtomicBool::new(false), AtomicBool::new(true));
    Fake::new(move |request, _| match request {
        "DELETE /v1/apps/web" | "DELETE /v1/apps/web?with_state=true" => {
            removed.store(true, Ordering::Relaxed);
            state.store(!request.ends_with("true"), Ordering::Relaxed);
            let accepted = json!({"app": "web", "rollout": null, "already": false,
                "release": null, "label": null, "note": "web is being removed"});
            Reply::Json(202, accepted)
        }
        "GET /v1/state" if state.load(Ordering::Relaxed) => {
            Reply::Json(200, json!([{"app": "web", "path": "/data/apps/web/state"}]))
        }
        "GET /v1/state" => Reply::Json(200, json!([])),
        _ if removed.load(Ordering::Relaxed) => {
            refusal(404, "not-found", "there is no app `web`", "`segue status` lists the apps")
        }
        _ => Reply::Json(200, app(json!({}))),
    })
}

#[test]
fn where_nobody_answers_nothing_is_removed_and_the_whole_command_is_said() {
    let fake = server();
    assert_snapshot!(segue(Some(&fake), &["remove", "web"]));
    assert_snapshot!(segue(Some(&fake), &["remove", "web", "--with-state"]));
    let asked = fake.asked.lock().unwrap();
    assert!(asked.iter().all(|request| request.starts_with("GET")), "{asked:?}");
}

#[test]
fn a_person_is_asked_and_only_yes_is_yes() {
    let fake = server();
    assert_snapshot!(answered(&fake, &["remove", "web"], "\n"));
    assert!(answered(&fake, &["remove", "web"], "no\n").contains("--- exit 1"));
    assert!(answered(&fake, &["remove", "web"], "").contains("--- exit 1"));
    assert_snapshot!(answered(&fake, &["remove", "web"], "y\n"));
    // What stayed can go later.
    assert_snapshot!(answered(&fake, &["remove", "web", "--with-state"], "Yes\n"));
}

#[test]
fn a_script_says_yes_beforehand() {
    assert_snapshot!(segue(Some(&server()), &["remove", "web", "--with-state", "--yes"]));
    let fake = server();
    let text = segue(Some(&fake), &["remove", "web", "-y"]);
    assert!(text.contains("its state stays in /data/apps/web/state"), "{text}");
    // Without its state there is nothing left to remove.
    assert!(segue(Some(&fake), &["remove", "web", "-y"]).contains("there is no app `web`"));
}
