//! Errors: what was done to what, why it failed, and what to do now; and the exit code.

use insta::assert_snapshot;

use crate::fake::{Fake, Reply, refusal, segue};

#[test]
fn nobody_is_there() {
    let url = format!("http://{}", testport::reserve());
    let text = segue(None, &["status", "--server", &url, "--token", "x"]);
    assert_snapshot!(text.replace(&url, "URL"));
}

#[test]
fn somebody_else_is_there() {
    let fake = Fake::new(|_, _| Reply::Json(404, serde_json::json!("nginx")));
    assert_snapshot!(segue(Some(&fake), &["status"]));
}

#[test]
fn the_token_is_wrong_and_not_repeated() {
    let fake = Fake::new(|_, _| {
        refusal(401, "unauthorized", "no token was sent, or not the right one", "pass --token")
    });
    let text = segue(Some(&fake), &["rollback", "web"]);
    assert!(!text.contains("secret-token"));
    assert_snapshot!(text);
}

#[test]
fn there_is_no_such_app() {
    let fake =
        Fake::new(|_, _| refusal(404, "not-found", "there is no app `wbe`", "did you mean `web`?"));
    assert_snapshot!(segue(Some(&fake), &["abort", "wbe"]));
}

#[test]
fn an_app_file_with_a_mistake() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("segue.toml");
    std::fs::write(&file, "app = \"web\"\n[run]\ncommand = [\"x\"]\nreplica = 2\n").unwrap();
    let text = segue(None, &["check", &file.to_string_lossy()]);
    assert_snapshot!(text.replace(&*dir.path().to_string_lossy(), "DIR"));
    std::fs::write(&file, "app = \"web\"\n[run]\ncommand = [\"x\", \"-y\"]\n").unwrap();
    assert_snapshot!(segue(None, &["check", &file.to_string_lossy()]));
}

#[test]
fn the_command_line_is_wrong() {
    assert_snapshot!(segue(None, &["rollbak", "web"]));
    assert_snapshot!(segue(None, &["status", "Web!"]));
    assert_snapshot!(segue(None, &["status", "--server", "127.0.0.1:7070"]));
    assert_snapshot!(segue(None, &["proxy", "--listen", "127.0.0.1:1"]));
}

#[test]
fn the_two_forms_of_a_proxy_refuse_each_other_s_options() {
    let said = |more: &[&str]| segue(None, &[&["proxy", "--listen", "[::1]:80"], more].concat());
    assert_snapshot!(said(&["--data", "/d", "--upstream", "127.0.0.1:1"]));
    assert_snapshot!(said(&["--data", "/d", "--limit", "idle=2m"]));
    assert_snapshot!(said(&["--join", "-", "--upstream", "127.0.0.1:1"]));
}

#[test]
fn what_runs_on_the_spot_gets_its_options() {
    assert_snapshot!(segue(None, &["server", "--data", "/d", "--http", "127.0.0.1:80"]));
    let words = ["proxy", "--listen", "[::1]:80", "--upstream", "127.0.0.1:1", "unix:/s"];
    assert_snapshot!(segue(None, &[&words[..], &["--access-log", "f", "--workers", "2"]].concat()));
    let words =
        ["proxy", "--data", "/d", "--join", "@f", "--listen", "[::]:80", "--servers", "s:7443"];
    assert_snapshot!(segue(None, &words));
}

#[test]
fn down_without_a_server_stops_what_it_left() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_string_lossy().into_owned();
    let url = format!("http://{}", testport::reserve());
    assert_snapshot!(segue(None, &["down", "--data", &data, "--server", &url]));
}
