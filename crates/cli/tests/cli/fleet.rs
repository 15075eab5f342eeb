//! The members of a fleet: what is shown of them, and what is printed of an invite.

use std::sync::atomic::{AtomicUsize, Ordering};

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::fake::{Fake, Reply, refusal, segue};

/// 2026-11-27 12:00:00 UTC.
const THEN: u64 = 1_795_780_800_000;

fn host(name: &str, parts: &Value) -> Value {
    let mut host = json!({
        "name": name, "address": "10.77.0.11", "state": "here", "labels": {}, "instances": 2,
        "version": "0.1.0", "certificate_until": THEN, "since": THEN, "reason": null,
    });
    for (key, value) in parts.as_object().unwrap() {
        host[key] = value.clone();
    }
    host
}

#[test]
fn the_members_and_why_one_is_not_here() {
    let fake = Fake::new(|_, _| {
        let lost = json!({
            "state": "lost", "address": "10.77.0.12", "labels": {"role": "web", "set": "blue"},
            "reason": "nothing was heard for 10 s",
        });
        let new = json!({"state": "joined", "address": null, "instances": 0, "version": null,
            "since": null, "reason": "it has not connected since the server was started"});
        let proxy = |name: &str, state: &str, ready: bool| {
            json!({"name": name, "state": state, "ready": ready, "acknowledged": "3.17",
                "epoch": 7, "version": "0.1.0", "certificate_until": THEN, "since": THEN,
                "reason": null})
        };
        let proxies = [
            proxy("local", "here", true),
            proxy("lb-1", "late", true),
            proxy("lb-2", "here", false),
        ];
        let hosts = [
            host("local", &json!({"address": "127.0.0.1"})),
            host("web-1", &lost),
            host("web-2", &new),
        ];
        Reply::Json(200, json!({"hosts": hosts, "proxies": proxies, "unknown": []}))
    });
    assert_snapshot!(segue(Some(&fake), &["fleet"]));
}

#[test]
fn an_invite_stands_alone_on_stdout() {
    let fake = Fake::new(|request, body| {
        assert_eq!(request, "POST /v1/fleet/invites");
        let asked: Value = serde_json::from_slice(body).unwrap();
        let wanted = json!({
            "role": "host", "name": "web-1", "address": "10.77.0.11",
            "labels": {"role": "web", "set": "blue"}, "replace": true,
        });
        assert_eq!(asked, wanted);
        let note = "host web-1 is invited; the invite lasts one hour";
        Reply::Json(200, json!({"invite": "segue-abc", "note": note}))
    });
    let words = [
        "fleet",
        "invite",
        "host",
        "web-1",
        "--label",
        "role=web",
        "--label",
        "set=blue",
        "--address",
        "10.77.0.11",
        "--replace",
    ];
    assert_snapshot!(segue(Some(&fake), &words));
}

#[test]
fn whoever_invites_a_proxy_is_told_how_it_joins() {
    let fake = Fake::new(|_, body| {
        let asked: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(asked, json!({"role": "proxy", "name": "lb-1", "replace": false}));
        let note = "proxy lb-1 is invited; the invite lasts one hour";
        Reply::Json(200, json!({"invite": "segue-abc", "note": note}))
    });
    assert_snapshot!(segue(Some(&fake), &["fleet", "invite", "proxy", "lb-1"]));
}

#[test]
fn a_server_without_a_door_says_how_to_open_one() {
    let fake = Fake::new(|request, _| {
        assert!(request == "POST /v1/fleet/invites" || request == "DELETE /v1/fleet/members/lb-1");
        refusal(
            409,
            "refused",
            "cannot invite lb-1: this server has no door for members",
            "start it with `--fleet ADDR:PORT`, where other machines reach it",
        )
    });
    assert_snapshot!(segue(Some(&fake), &["fleet", "invite", "host", "lb-1"]));
    assert_snapshot!(segue(Some(&fake), &["fleet", "remove", "lb-1"]));
}

#[test]
fn words_about_members_are_checked_before_anything_is_sent() {
    for words in [
        &["fleet", "invite", "server", "web-1"][..],
        &["fleet", "invite", "host", "Web_1"],
        &["fleet", "invite", "host", "web-1", "--label", "web"],
        &["fleet", "invite", "host", "web-1", "--address", "10.77.0"],
        &["agent", "--data", "d", "--servers", "10.77.0.1"],
        &["agent", "--data", "d", "--servers", "fd00::1:7443"],
        &["proxy", "--data", "d", "--listen", "[::]:80", "--servers", "10.77.0.1"],
        &["server", "--advertise", "lb:7443"],
    ] {
        let said = segue(None, words);
        assert!(said.ends_with("--- exit 2"), "{words:?}: {said}");
    }
}

#[test]
fn a_proxy_that_is_drained_is_waited_for_and_what_was_cut_is_said() {
    let looks = AtomicUsize::new(0);
    let fake = Fake::new(move |request, body| {
        let drain = match request {
            "POST /v1/fleet/proxies/lb-1/duty" => {
                let asked: Value = serde_json::from_slice(body).unwrap();
                assert_eq!(asked, json!({"draining": {"within": 10_000}}));
                return Reply::Json(200, json!({"note": "lb-1 is drained"}));
            }
            _ => match looks.fetch_add(1, Ordering::Relaxed) {
                0 | 1 => Value::Null,
                2 => json!({"open": 12, "cut": 0, "done": false}),
                _ => json!({"open": 0, "cut": 2, "done": true}),
            },
        };
        assert!(request.starts_with("POST") || request == "GET /v1/fleet");
        let proxy = json!({"name": "lb-1", "state": "here", "ready": true, "draining": true,
            "drain": drain, "version": "0.1.0", "certificate_until": THEN, "since": THEN,
            "reason": null});
        let hosts = [host("local", &json!({"address": "127.0.0.1"}))];
        Reply::Json(200, json!({"hosts": hosts, "proxies": [proxy], "unknown": []}))
    });
    assert_snapshot!(segue(Some(&fake), &["fleet", "drain", "lb-1", "--within", "10s"]));
}

#[test]
fn keepalived_gets_one_configuration_for_each_proxy() {
    let fake = Fake::new(|request, _| {
        assert_eq!(request, "GET /v1/fleet");
        let proxy = |name: &str, address: Value| {
            json!({"name": name, "address": address, "state": "here", "ready": true,
                "version": "0.1.0", "certificate_until": THEN, "since": THEN, "reason": null})
        };
        let proxies = [
            proxy("lb-1", "10.77.0.21".into()),
            proxy("lb-2", "10.77.0.22".into()),
            proxy("lb-3", Value::Null),
        ];
        Reply::Json(200, json!({"hosts": [], "proxies": proxies, "unknown": []}))
    });
    let print = |words: &[&str]| {
        let words = [&["fleet", "keepalived"], words, &["--interface", "eth0"]].concat();
        segue(Some(&fake), &words)
    };
    let floating = ["--floating", "10.77.0.200/24"];
    assert_snapshot!(print(&[&["lb-2", "lb-1"][..], &floating].concat()));
    let only = ["--only", "lb-3", "--router-id", "7", "--track-file", "/run/a"];
    let moved = print(&[&["lb-1", "lb-3=10.77.0.23"][..], &floating, &only].concat());
    let has = ["priority 199", "unicast_src_ip 10.77.0.23", "router_id 7", "\"/run/a\""];
    assert!(has.iter().all(|part| moved.contains(part)), "{moved}");
    assert!(!moved.contains("# lb-1"), "{moved}");
    for (words, why) in [
        (&["lb-1", "lb-3"][..], "the address of lb-3 is not known"),
        (&["lb-1", "lb-9"], "there is no proxy lb-9"),
        (&["lb-1", "lb-1"], "the same proxy"),
        (&["lb-1", "lb-2=10.77.0.21"], "have one address"),
        (&["lb-1", "lb-2=fd00::2"], "of the other version of IP"),
        (&["lb-1", "lb-2=10.77.0.200"], "which cannot float"),
        (&["lb-1"], "--- exit 2"),
    ] {
        let said = print(&[words, &floating].concat());
        assert!(said.contains(why), "{said}");
    }
    for odd in [
        ["--floating", "10.77.0.200"],
        ["--floating", "10.77.0.200/33"],
        ["--floating", "lb/24"],
        ["--interface", "eth0 }"],
        ["--track-file", "priority"],
        ["--track-file", "/run/a b"],
    ] {
        let words = [&["fleet", "keepalived", "lb-1", "lb-2"][..], &floating, &odd].concat();
        assert!(segue(None, &words).ends_with("--- exit 2"), "{odd:?}");
    }
}

#[test]
fn a_firewall_has_rules_for_what_the_member_is() {
    let fake = Fake::new(|request, _| {
        assert_eq!(request, "GET /v1/fleet");
        let proxy = |name: &str, address: &str| {
            json!({"name": name, "address": address, "state": "here", "ready": true,
                "version": "0.1.0", "certificate_until": THEN, "since": THEN, "reason": null})
        };
        let proxies = [proxy("lb-1", "10.77.0.21"), proxy("lb-2", "fd00::22")];
        let hosts = [host("local", &json!({"address": "127.0.0.1"})), host("web-1", &json!({}))];
        let servers = [json!({"name": "server", "addresses": ["10.77.0.1:7443", "s.test:7443"],
            "version": "0.1.0"})];
        let fleet = json!({"hosts": hosts, "proxies": proxies, "servers": servers, "unknown": []});
        Reply::Json(200, fleet)
    });
    let print = |words: &[&str]| segue(Some(&fake), &[&["fleet", "firewall"], words].concat());
    assert_snapshot!(print(&["web-1", "--also", "10.77.0.23"]));
    assert_snapshot!(print(&["server"]));
    assert_snapshot!(print(&["lb-1"]));
    let closed = print(&["web-1", "--confirm", "off", "--ports", "30000-30099"]);
    assert!(closed.contains("30000-30099") && !closed.contains("7444"), "{closed}");
    assert!(print(&["web-9"]).contains("there is no such member"));
    for odd in [["--ports", "20000"], ["--ports", "2-1"], ["--confirm", "0"], ["--also", "lb-1"]] {
        let words = [&["fleet", "firewall", "web-1"][..], &odd].concat();
        assert!(segue(None, &words).ends_with("--- exit 2"), "{odd:?}");
    }
}

/// Rules without it would shut it out.
#[test]
fn a_firewall_is_refused_while_the_address_of_a_member_is_not_known() {
    let fake = Fake::new(|_, _| {
        let away = json!({"name": "lb-2", "address": null, "state": "joined", "ready": false,
            "version": null, "certificate_until": null, "since": null, "reason": null});
        let local = host("local", &json!({"address": null}));
        let hosts = [local, host("web-1", &json!({}))];
        Reply::Json(200, json!({"hosts": hosts, "proxies": [away], "unknown": []}))
    });
    let said = segue(Some(&fake), &["fleet", "firewall", "web-1"]);
    assert!(said.contains("the address of lb-2 is not known: it has not connected"), "{said}");
    assert!(segue(Some(&fake), &["fleet", "firewall", "lb-2"]).ends_with("--- exit 0"));
}

#[test]
fn whoever_is_not_known_is_named_with_the_way_in() {
    let fake = Fake::new(|request, body| match request {
        "GET /v1/fleet" => {
            let hosts = [host("web-1", &json!({"owed": 1, "state": "lost"}))];
            Reply::Json(200, json!({"hosts": hosts, "proxies": [], "unknown": ["web-7"]}))
        }
        "POST /v1/fleet/members/web-7/accept" => {
            let asked: Value = serde_json::from_slice(body).unwrap();
            assert_eq!(asked, json!({"address": "10.77.0.17", "labels": {"role": "web"}}));
            Reply::Json(200, json!({"note": "host web-7 is a member again"}))
        }
        _ => {
            assert_eq!(request, "POST /v1/fleet/hosts/web-7/address");
            Reply::Json(200, json!({"note": "new instances on web-7 listen at 10.77.0.18"}))
        }
    });
    assert_snapshot!(segue(Some(&fake), &["fleet"]));
    let words = ["fleet", "accept", "web-7", "--label", "role=web", "--address", "10.77.0.17"];
    assert!(segue(Some(&fake), &words).contains("web-7 is a member again"));
    let words = ["fleet", "address", "web-7", "10.77.0.18"];
    assert!(segue(Some(&fake), &words).contains("listen at 10.77.0.18"));
}
