//! Tests of the table `[strategy]` with valid and invalid values, for every kind.

use crate::AppFile;

fn file(replicas: u16, lines: &str) -> String {
    format!("app = \"web\"\n[run]\ncommand = [\"./x\"]\nreplicas = {replicas}\n[strategy]\n{lines}")
}

fn error(replicas: u16, lines: &str) -> String {
    let error = AppFile::from_toml(&file(replicas, lines)).expect_err(lines);
    match &error.hint {
        Some(hint) => format!("{error}\nhint: {hint}"),
        None => error.to_string(),
    }
}

#[test]
fn every_kind_has_sensible_defaults() {
    let kinds = ["blue-green", "rolling", "canary", "recreate"];
    let read = kinds.map(|kind| {
        let file = AppFile::from_toml(&file(1, &format!("kind = \"{kind}\""))).unwrap();
        file.spec.strategy
    });
    insta::assert_debug_snapshot!(read);
}

#[test]
fn every_kind_takes_its_settings() {
    let cases = [
        "kind = \"rolling\"\nbatch = \"25%\"\nsurge = false\npause = \"5s\"\non_failure = \"hold\"",
        "kind = \"canary\"\ncapacity = 2\ncohort = { header = \"X-Team: qa\" }\nsteps = [\n  \
         { share = \"0.5%\", hold = \"1m\" },\n  { share = \"50%\", gate = \"manual\" },\n]",
        "kind = \"canary\"\nsteps = [{ share = \"1%\", hold = \"0s\" }]\n\
         cohort = { query = \"team=qa\", public = true }\nstandby = \"1h\"",
        "kind = \"recreate\"\nmessage = \"Back soon.\"\nretry_after = \"2m\"\nwatch = \"0s\"",
    ];
    let read = cases.map(|case| AppFile::from_toml(&file(4, case)).expect(case).spec.strategy);
    insta::assert_debug_snapshot!(read);
}

#[test]
fn a_mistake_is_named_with_the_way_out() {
    let canary = |lines: &str| format!("kind = \"canary\"\n{lines}");
    let rolling = |lines: &str| format!("kind = \"rolling\"\n{lines}");
    let recreate = |lines: &str| format!("kind = \"recreate\"\n{lines}");
    let steps = |steps: &str| canary(&format!("steps = [{steps}]"));
    let cases = [
        (2, "kind = \"purple\"".into()),
        (2, "kind = \"roling\"".into()),
        (2, "kind = 3".into()),
        (2, "swich = \"auto\"".into()),
        (2, "standby = \"forever\"".into()),
        (2, "batch = 1".into()),
        (2, canary("surge = true")),
        (1, rolling("surge = false")),
        (4, rolling("batch = \"100%\"\nsurge = false")),
        (2, rolling("surge = \"yes\"")),
        (2, rolling("batch = 0")),
        (2, rolling("batch = \"101%\"")),
        (2, rolling("on_failure = \"rever\"")),
        (2, canary("steps = 3")),
        (2, steps("")),
        (2, steps("5")),
        (2, steps("{ share = 5, hold = \"1m\" }")),
        (2, steps("{ share = \"100%\", hold = \"1m\" }")),
        (2, steps("{ share = \"0.001%\", hold = \"1m\" }")),
        (2, steps("{ share = \"5%\" }")),
        (2, steps("{ share = \"5%\", hold = \"1m\", gate = \"manual\" }")),
        (2, steps("{ share = \"5%\", gate = \"manul\" }")),
        (2, steps("{ share = \"5%\", hld = \"1m\" }")),
        (
            2,
            steps("\n  { share = \"5%\", hold = \"1m\" },\n  { share = \"5%\", hold = \"1m\" },\n"),
        ),
        (2, canary("capacity = \"all\"")),
        (2, canary("cohort = { header = \"X-Team: qa\", cookie = \"a=b\" }")),
        (2, canary("cohort = { heder = \"X-Team: qa\" }")),
        (2, canary("cohort = { header = \"X-Team\" }")),
        (2, canary("cohort = { network = \"10.0.0.0/40\" }")),
        (2, canary("cohort = { public = true }")),
        (2, canary("cohort = { header = \"X-Team: qa\", public = \"yes\" }")),
        (2, recreate("page = \"\"")),
        (2, recreate("message = \"a\\nb\"")),
        (2, recreate("retry_after = \"1s500ms\"")),
    ];
    let mut transcript = String::new();
    for (replicas, case) in &cases {
        let shown: Vec<&str> = case.lines().map(str::trim).collect();
        let shown = format!("{}  (replicas = {replicas})", shown.join(" "));
        transcript += &format!("… {shown}\n{}\n\n", error(*replicas, case));
    }
    insta::assert_snapshot!(transcript);
}

#[test]
fn too_many_steps_are_a_mistake() {
    let steps: Vec<String> =
        (1..=51).map(|n| format!("{{ share = \"{n}%\", hold = \"1s\" }}")).collect();
    let lines = format!("kind = \"canary\"\nsteps = [{}]", steps.join(", "));
    assert!(error(2, &lines).contains("expected 1 to 50 steps, found 51"));
}

#[test]
fn the_page_travels_as_its_text() {
    let file = AppFile::from_toml(&file(2, "kind = \"recreate\"\npage = \"closed.html\"")).unwrap();
    assert_eq!(file.page.as_deref(), Some("closed.html"));
    assert!(!file.settings().to_string().contains("closed.html"), "no path leaves the machine");
    let read = file.clone().with_page("<h1>Closed</h1>").unwrap();
    let told = AppFile::from_json(read.settings()).unwrap();
    assert_eq!(told.spec, read.spec);
    let model::StrategyKind::Recreate { page } = &told.spec.strategy.kind else { panic!() };
    assert_eq!(page.html.as_deref(), Some("<h1>Closed</h1>"));
    let error = file.with_page(&"x".repeat(70_000)).unwrap_err();
    assert_eq!(
        error.message,
        "`strategy.page`: the page has 70000 bytes; at most 65536 are allowed"
    );
}
