//! Rollouts that do not go on without a person: who is waited for, and which exit code says so.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::fake::{Fake, Reply, account, event, now, refusal, segue};

/// How rollout 2 stands, as a program reads it.
fn stands(phase: &str, standing: &str, waiting: &str) -> Value {
    let mut line = now(phase, waiting);
    line["now"]["standing"] = json!(standing);
    line
}

/// The receipt so far.
fn so_far(standing: &str, waiting: &str) -> Value {
    let mut receipt = account("completed", None)["receipt"].clone();
    receipt["outcome"] = json!(standing);
    receipt["waiting_for"] = json!(waiting);
    receipt
}

/// A server whose rollout tells these lines, whose receipt so far is this, and which completes when the
/// lines are over.
fn run(lines: Vec<Value>, so_far: Option<Value>, words: &[&str]) -> String {
    let fake = Fake::new(move |request, _| {
        if request.starts_with("POST") {
            let accepted = json!({"app": "web", "rollout": 2, "already": false,
                "release": 2, "label": "v2", "note": "v2 goes on"});
            return Reply::Json(202, accepted);
        }
        if request.contains("/events?after=0") {
            return Reply::Lines(lines.clone());
        }
        if request.contains("/events") {
            return Reply::Lines(vec![event(9, "v2 is live", Some("completed"))]);
        }
        if request.ends_with("/rollout") {
            return match so_far.clone() {
                Some(so_far) => Reply::Json(200, so_far),
                None => refusal(404, "not-found", "no rollout of `web` is under way", ""),
            };
        }
        Reply::Json(200, account("completed", None))
    });
    segue(Some(&fake), words)
}

const GATE: &str = "waiting for somebody to say `segue promote`, since 2s";

fn at_the_gate() -> Vec<Value> {
    vec![event(1, "ready: 2 instances healthy", None), stands("ready", "waiting", GATE)]
}

#[test]
fn a_gate_ends_a_command_in_a_pipe_with_exit_code_5_and_the_receipt_so_far() {
    let so_far = || Some(so_far("waiting", GATE));
    assert_snapshot!(run(at_the_gate(), so_far(), &["promote", "web", "--json"]));
    assert_snapshot!(run(at_the_gate(), so_far(), &["resume", "web"]));
    // A program that did not ask for JSON reads the same line.
    for verb in ["promote", "resume", "restart"] {
        let said = [&[verb, "web", "--json"][..], &[verb, "web"]];
        let [asked, unasked] = said.map(|words| run(at_the_gate(), so_far(), words));
        assert_eq!(asked, unasked, "{verb}");
    }
}

#[test]
fn what_a_failure_holds_is_exit_code_1() {
    let why =
        "waiting for somebody to say `segue resume` or `segue abort`: web-3 exited with code 1";
    let lines = vec![stands("holding", "held", why)];
    let run = |words: &[&str]| run(lines.clone(), Some(so_far("held", why)), words);
    assert_snapshot!(run(&["promote", "web", "--json"]));
    assert_eq!(run(&["promote", "web"]), run(&["promote", "web", "--json"]));
}

#[test]
fn a_person_is_waited_for_if_that_is_asked_for() {
    let lines = [at_the_gate(), vec![event(2, "v2 is live", Some("completed"))]].concat();
    assert_snapshot!(run(lines, Some(so_far("waiting", GATE)), &["promote", "web", "--wait"]));
    assert_snapshot!(run(vec![], None, &["promote", "web", "--wait", "--detach"]));
}

#[test]
fn what_somebody_paused_is_waited_for() {
    let paused =
        stands("holding", "paused", "waiting for somebody to say `segue resume`, since 2s");
    let lines = vec![paused, event(2, "v2 is live", Some("completed"))];
    assert_snapshot!(run(lines, None, &["promote", "web"]));
}

#[test]
fn a_gate_that_somebody_has_opened_meanwhile_is_no_end() {
    assert_snapshot!(run(at_the_gate(), None, &["promote", "web"]));
}
