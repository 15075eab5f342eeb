//! Every refusal says what and why, with its status and code.

use axum::body::Body;
use axum::http::{Request, header};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::world::{TOKEN, World, world};

/// One request; the answer as `STATUS CODE MESSAGE`.
pub async fn ask(world: &World, method: &str, path: &str, body: impl Into<Body>) -> String {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "127.0.0.1:7070")
        .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
    send(world, request.body(body.into()).unwrap()).await
}

async fn send(world: &World, request: Request<Body>) -> String {
    let answer = world.router().oneshot(request).await.unwrap();
    let status = answer.status().as_u16();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    match serde_json::from_slice::<Value>(&bytes) {
        Ok(Value::Object(map)) if map.contains_key("error") => {
            let error = &map["error"];
            let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
            format!("{status} {} {}", text("code"), text("message"))
        }
        _ => format!("{status} {}", String::from_utf8_lossy(&bytes)),
    }
}

#[tokio::test]
async fn without_the_token_only_health_is_told() {
    let world = world();
    let bare = |method: &str, path: &str| {
        let request = Request::builder().method(method).uri(path);
        request.header(header::HOST, "localhost").body(Body::empty()).unwrap()
    };
    assert_eq!(send(&world, bare("GET", "/healthz")).await, "200 ok\n");
    assert_eq!(send(&world, bare("HEAD", "/healthz")).await, "200 ");
    let closed = ["/v1/apps", "/metrics", "/readyz", "/", "/v1/nowhere", "/healthz/.."];
    let closed = closed.map(|path| ("GET", path));
    for (method, path) in closed.into_iter().chain([("POST", "/healthz"), ("PUT", "/v1/down")]) {
        let wanted = "401 unauthorized no token was sent, or not the right one";
        assert_eq!(send(&world, bare(method, path)).await, wanted, "{method} {path}");
    }
}

#[tokio::test]
async fn another_host_name_is_not_answered_even_with_the_token() {
    let request = Request::builder()
        .uri("/v1/apps")
        .header(header::HOST, "evil.example:7070")
        .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"))
        .body(Body::empty());
    let answer = send(&world(), request.unwrap()).await;
    assert!(answer.starts_with("403 forbidden-host"), "{answer}");
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said() {
    let world = world();
    let spec = r#"{"app":"web","run":{"command":["x"]}}"#;
    let cases: [(&str, &str, String, &str); 18] = [
        ("GET", "/v1/apps/webb", String::new(), "404 not-found there is no app `webb`"),
        ("GET", "/v1/apps/W%20b", String::new(), "400 invalid \"W b\" is not a valid app name"),
        ("POST", "/v1/apps", String::new(), "405 invalid /v1/apps does not take POST"),
        ("GET", "/v2", String::new(), "404 not-found there is nothing at /v2"),
        ("GET", "/v1/apps/web/events?after=x", String::new(), "400 invalid Failed to deserialize"),
        ("GET", "/v1/apps/web/logs?instance=db-1", String::new(), "400 invalid db-1 is no inst"),
        ("GET", "/v1/apps/web/receipts/9", String::new(), "404 not-found rollout 9 of `web` is no"),
        ("POST", "/v1/apps/web/deploys", "{".into(), "400 invalid the body is not what is asked"),
        ("POST", "/v1/apps/web/deploys", "{\"spec\":{\"ap\":1}}".into(), "400 invalid spec: unkn"),
        (
            "POST",
            "/v1/apps/db/deploys",
            format!("{{\"spec\":{spec}}}"),
            "400 invalid the spec is of app `web`, the path of `db`",
        ),
        (
            "POST",
            "/v1/apps/web/deploys",
            format!("{{\"spec\":{spec},\"env\":{{\"PORT\":\"hunter2\"}}}}"),
            "400 invalid variable `PORT`: segue sets it itself",
        ),
        (
            "POST",
            "/v1/apps/web/deploys",
            "{\"spec\":{\"app\":\"web\",\"run\":{\"command\":[\"x\"],\"listen\":\"unix\"}},\
             \"env\":{\"SOCKET\":\"hunter2\"}}"
                .into(),
            "400 invalid variable `SOCKET`: with `listen = \"unix\"` segue sets it itself",
        ),
        ("POST", "/v1/apps/db/pause", String::new(), "404 not-found there is no app `db`"),
        ("POST", "/v1/apps/web/promote", "{\"ful\":true}".into(), "400 invalid the body is not"),
        (
            "POST",
            "/v1/apps/web/scale",
            "{\"replicas\":0}".into(),
            "400 invalid `replicas`: expected 1 to",
        ),
        (
            "POST",
            "/v1/apps/web/maintenance",
            "{\"on\":true,\"allow\":[\"10.0.0.0/33\"]}".into(),
            "400 invalid `allow`: \"10.0.0.0/33\" is not a valid network",
        ),
        (
            "POST",
            "/v1/apps/web/plan",
            format!("{{\"spec\":{spec},\"env\":{{\"PORT\":\"hunter2\"}}}}"),
            "400 invalid variable `PORT`: segue sets it itself",
        ),
        ("POST", "/v1/apps/web/rollback", "{\"to\":\"v9\"}".into(), "404 not-found `web` has no r"),
    ];
    for (method, path, body, wanted) in cases {
        let answer = ask(&world, method, path, body).await;
        assert!(answer.starts_with(wanted), "{method} {path}: {answer}");
        assert!(!answer.contains("hunter2"), "a value is never printed");
    }
    assert!(world.engine.commands.lock().unwrap().is_empty(), "nothing reached the engine");
}

#[tokio::test]
async fn a_body_without_bound_is_cut_off() {
    let answer = ask(&world(), "POST", "/v1/apps/web/deploys", vec![b' '; 33 << 20]).await;
    assert_eq!(answer, "413 too-large the body is larger than this path takes");
}

#[tokio::test]
async fn the_loser_of_a_race_gets_a_conflict() {
    let answer = ask(&world(), "POST", "/v1/apps/web/promote", "{\"version\":6}").await;
    assert_eq!(answer, "409 conflict `web` has changed since");
}

#[tokio::test]
async fn while_nothing_can_be_changed_everything_can_be_read() {
    let world = world();
    *world.engine.read_only.lock().unwrap() = Some("the journal is damaged".into());
    let answer = ask(&world, "POST", "/v1/apps/web/abort", "").await;
    assert_eq!(answer, "503 read-only nothing can be changed now: the journal is damaged");
    let shown = ask(&world, "GET", "/v1/apps/web", "").await;
    assert!(shown.starts_with("200 {"), "{shown}");
    assert!(shown.contains("\"read_only\":\"the journal is damaged\""), "{shown}");
    let plan = "{\"spec\":{\"app\":\"web\",\"run\":{\"command\":[\"x\"]}}}";
    let plan = ask(&world, "POST", "/v1/apps/web/plan", plan).await;
    assert!(plan.starts_with("200 {"), "{plan}");
    assert!(plan.contains("{\"refused\":{\"code\":\"read-only\""), "{plan}");
    assert!(ask(&world, "POST", "/v1/down", "").await.starts_with("200 {"));
    // An app may have the name of a path that is read.
    let removed = ask(&world, "DELETE", "/v1/apps/plan", "").await;
    assert!(removed.starts_with("503 read-only"), "{removed}");
    assert!(ask(&world, "POST", "/v1/nowhere", "").await.starts_with("404 not-found"));
}

#[tokio::test]
async fn that_an_app_is_not_there_is_not_said_while_nothing_could_be_read() {
    let world = world();
    *world.engine.blind.lock().unwrap() = true;
    assert_eq!(ask(&world, "GET", "/v1/apps", "").await, "200 []");
    assert_eq!(ask(&world, "GET", "/v1/apps/web", "").await, "404 not-found there is no app `web`");
    *world.engine.read_only.lock().unwrap() = Some("the journal is damaged".into());
    for path in ["/v1/apps", "/v1/apps/web", "/v1/apps/web/releases"] {
        let answer = ask(&world, "GET", path, "").await;
        assert_eq!(answer, "503 read-only no app is known now: the journal is damaged", "{path}");
    }
}

#[tokio::test]
async fn an_app_that_runs_as_root_is_warned_of() {
    let warns = "\"warnings\":[\"v1 runs as root; name a user of its own with `user` in [run]\"]";
    let shown = ask(&World { as_root: true, ..world() }, "GET", "/v1/apps/web", "").await;
    assert!(shown.contains(warns), "{shown}");
    let shown = ask(&world(), "GET", "/v1/apps/web", "").await;
    assert!(shown.contains("\"warnings\":[]"), "{shown}");
}

#[tokio::test]
async fn metrics_and_readiness_are_for_who_has_the_token() {
    let world = world();
    assert_eq!(ask(&world, "GET", "/metrics", "").await, "200 segue_up 1\n");
    assert_eq!(ask(&world, "GET", "/readyz", "").await, "503 unavailable no snapshot yet");
}
