//! Tests of valid and invalid app files.

use model::{AppLimits, Prefix, Redirect, ResourceLimits, Run};

use super::*;

const WHOLE: &str = r#"
app = "web"

[run]
command = ["./server", "--fast"]
dir = "build"
replicas = 2
env = { LOG = "info" }
user = "web"

[health]
path = "/up?full=1"
interval = "500ms"
timeout = "2s"
rise = 2
fall = 3
start_deadline = "1m30s"

[route]
hosts = ["Example.com", "[::1]"]
path = "/api"
affinity = "header:X-User"
hold = "5s"

[drain]
deadline = "30s"

[strategy]
kind = "blue-green"
switch = "manual"
standby = "1h"
watch = "0s"
"#;

fn error(text: &str) -> String {
    let error = AppFile::from_toml(text).expect_err("it should be refused");
    match &error.hint {
        Some(hint) => format!("{error}\nhint: {hint}"),
        None => error.to_string(),
    }
}

fn with(lines: &str) -> String {
    format!("app = \"web\"\n[run]\ncommand = [\"./x\"]\n{lines}")
}

#[test]
fn a_whole_file_is_read() {
    insta::assert_debug_snapshot!(AppFile::from_toml(WHOLE).unwrap());
}

#[test]
fn three_lines_are_enough_and_the_rest_is_sensible() {
    insta::assert_debug_snapshot!(AppFile::from_toml(&with("")).unwrap().spec);
}

#[test]
fn what_the_api_gets_reads_the_same() {
    let file = AppFile::from_toml(WHOLE).unwrap();
    let again = AppFile::from_json(file.settings()).unwrap();
    assert_eq!(again.spec, file.spec);
    assert!(again.env.is_empty(), "values travel on their own");
}

#[test]
fn the_api_takes_no_path() {
    let settings = serde_json::json!({"app": "web", "run": {"command": ["x"], "dir": "/etc"}});
    let error = AppFile::from_json(&settings).expect_err("a path");
    assert_eq!(error.message, "`run.dir`: the API takes files by upload, never a path");
}

#[test]
fn a_mistake_is_named_with_its_line_and_the_way_out() {
    let cases = [
        "app = 3",
        "[run]\ncommand = [\"x\"]",
        "app = \"web\"",
        "app = \"web\"\n[run]\ncomand = [\"x\"]",
        "app = \"web\"\n[run]\ncommand = \"x\"",
        "app = \"web\"\n[run]\ncommand = [\n  \"x\",\n  3,\n]",
        "app = \"web\"\n[run\n",
        "ap = \"web\"",
        &with("replicas = 0"),
        &with("replicas = \"2\""),
        &with("image = \"web:1\""),
        &with("env = { PORT = \"1\" }"),
        &with("env = { A = 1 }"),
        &with("user = \"a b\""),
        &with("[health]\ninterval = 5"),
        &with("[health]\ninterval = \"5\""),
        &with("[health]\ninterval = \"2d\""),
        &with("[health]\npath = \"up\""),
        &with("[route]\nhosts = [\"example.com:80\"]"),
        &with("[route]\nhosts = [\"www.*.com\"]"),
        &with("[route]\naffinity = \"sticky\""),
        &with("[route]\npath = \"/a?b\""),
        &with("[route]\nbalance = \"round robin\""),
        &with("[route]\nbalance = \"hash\""),
        &with("[route]\nkeep_alive = \"always\""),
        &with("[route]\nkeep_alive = 75"),
        &with("[route]\nstrip_prefix = true"),
        &with("[route]\nstrip_prefix = \"yes\""),
        &with("[route]\nhosts = [\"a.example\"]\ncanonical = \"b.example\""),
        &with("[route]\nhosts = [\"*.a.example\"]\ncanonical = \"*.a.example\""),
        &with("[route]\nredirects = \"/old\""),
        &with("[route]\nredirects = [\n  { from = \"/a\", to = \"/b\" },\n  { form = \"/old\" }]"),
        &with("[route]\nredirects = [{ from = \"/old\" }]"),
        &with("[route]\nredirects = [{ from = \"/old\", to = \"new\" }]"),
        &with("[route]\nredirects = [{ from = \"/old\", to = \"/new\", status = 304 }]"),
        &with("[route]\npath = \"/shop\"\nredirects = [{ from = \"/old\", to = \"/new\" }]"),
    ];
    let mut transcript = String::new();
    for case in cases {
        let last = case.lines().last().unwrap_or_default();
        transcript += &format!("… {last}\n{}\n\n", error(case));
    }
    insta::assert_snapshot!(transcript);
}

#[test]
fn a_route_says_which_connections_are_used_again() {
    use model::KeepAlive;
    for (text, expected) in [
        ("true", KeepAlive::Careful),
        ("\"trusting\"", KeepAlive::Trusting),
        ("false", KeepAlive::Off),
    ] {
        let file = with(&format!("[route]\nkeep_alive = {text}"));
        let route = AppFile::from_toml(&file).unwrap().spec.route;
        assert_eq!(route.keep_alive, expected);
        let written = serde_json::to_string(&route).unwrap();
        assert_eq!(written.contains("keep_alive"), expected != KeepAlive::Careful);
    }
}

#[test]
fn a_route_has_patterns_a_canonical_name_and_redirects() {
    let text = with(
        "[route]\nhosts = [\"Example.com\", \"*.example.com\"]\npath = \"/shop/\"\n\
         strip_prefix = true\ncanonical = \"EXAMPLE.com\"\n\
         [[route.redirects]]\nfrom = \"/shop/old\"\nto = \"/shop/new\"\n\
         [[route.redirects]]\nfrom = \"/shop\"\nto = \"https://b.example\"\nstatus = 302",
    );
    let route = AppFile::from_toml(&text).unwrap().spec.route;
    assert_eq!(route.hosts, ["example.com", "*.example.com"]);
    assert_eq!((route.prefix, route.canonical.as_deref()), (Prefix::Stripped, Some("example.com")));
    let redirect =
        |from: &str, to: &str, status| Redirect { from: from.into(), to: to.into(), status };
    let expected =
        [redirect("/shop/old", "/shop/new", 308), redirect("/shop", "https://b.example", 302)];
    assert_eq!(route.redirects, expected);
}

#[test]
fn an_app_has_limits_of_its_own() {
    let text = with("[limits]\nbody = \"10MiB\"\nbody_rate = \"0\"\nfirst_byte = \"3m\"");
    let limits = AppFile::from_toml(&text).unwrap().spec.route.limits;
    let expected = AppLimits {
        body: Some(10 << 20),
        body_rate: Some(0),
        first_byte: Millis::from_secs(180),
        ..AppLimits::default()
    };
    assert_eq!(limits, expected);
    for (wrong, why) in [
        ("body = 10", "`limits.body`: expected a text, found a number"),
        ("body = \"much\"", "`limits.body`: expected a size with its unit, found \"much\""),
        ("body = \"0MiB\"", "`limits.body`: expected a size with its unit, found \"0MiB\""),
        (
            "body_rate = \"2GiB\"",
            "`limits.body_rate`: expected a size of at most 1GiB, found \"2GiB\"",
        ),
        ("first_byte = \"0s\"", "`limits.first_byte`: 0ms is not within 1s and 168h"),
    ] {
        let error = AppFile::from_toml(&with(&format!("[limits]\n{wrong}"))).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn an_app_runs_on_hosts_with_a_label() {
    let on = |text: &str| AppFile::from_toml(&with(text)).map(|file| file.spec.on);
    assert_eq!(on("").unwrap(), None);
    let selector = on("[placement]\non = \"role=web\"").unwrap().unwrap();
    assert_eq!(selector.to_string(), "role=web");
    for wrong in ["role", "=web", "role=", "role=web,set=blue", "a b=c"] {
        let error = on(&format!("[placement]\non = \"{wrong}\"")).unwrap_err().to_string();
        assert!(error.contains("it has to be KEY=VALUE, as in role=web"), "{error}");
    }
    let unknown = on("[placement]\nhost = \"h1\"").unwrap_err().to_string();
    assert!(unknown.contains("host"), "{unknown}");
}

#[test]
fn another_strategy_can_be_asked_for() {
    let file = AppFile::from_toml(WHOLE).unwrap();
    assert_eq!(file.clone().with_strategy("blue-green").unwrap().spec, file.spec);
    for (kind, _) in strategy::KINDS {
        let other = file.clone().with_strategy(kind).unwrap();
        assert_eq!(other.spec.strategy.kind.name(), *kind);
        assert_eq!(other.spec.strategy.watch, file.spec.strategy.watch, "it is for every kind");
        assert_eq!((other.dir, other.env.len()), (file.dir.clone(), 1));
    }
    assert!(file.with_strategy("roling").is_err());
}

/// Editors complete and check `segue.toml` by this schema, so it has to match the reader.
#[test]
fn the_schema_has_the_keys_and_the_defaults_of_the_reader() {
    let schema: Json =
        serde_json::from_str(include_str!("../../../docs/segue.schema.json")).unwrap();
    let names = |at: &str| -> Vec<String> {
        let mut names: Vec<String> =
            schema.pointer(at).unwrap().as_object().unwrap().keys().cloned().collect();
        names.sort();
        names
    };
    let sorted = |keys: &[&str]| {
        let mut keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        keys.sort();
        keys
    };
    assert_eq!(names("/properties"), sorted(TOP));
    let tables = [
        ("run", RUN),
        ("health", crate::health::KEYS),
        ("route", route::KEYS),
        ("limits", crate::limits::KEYS),
        ("drain", DRAIN),
    ];
    for (table, keys) in tables {
        assert_eq!(names(&format!("/properties/{table}/properties")), sorted(keys), "{table}");
    }
    let own = strategy::KINDS.iter().flat_map(|(_, keys)| *keys);
    let all: Vec<&str> = strategy::COMMON.iter().chain(own).copied().collect();
    assert_eq!(names("/properties/strategy/properties"), sorted(&all));
    for (kind, own) in strategy::KINDS {
        let mut settings = serde_json::json!({"app": "web"});
        let strategy: Vec<&str> = ["standby", "watch"].iter().chain(*own).copied().collect();
        for (table, keys) in tables.into_iter().chain([("strategy", &*strategy)]) {
            for key in keys.iter().filter(|key| **key != "dir") {
                let at = format!("/properties/{table}/properties/{key}/default");
                if let Some(default) = schema.pointer(&at) {
                    settings[table][key] = default.clone();
                }
            }
        }
        settings["run"]["command"] = serde_json::json!(["./x"]);
        settings["strategy"]["kind"] = (*kind).into();
        let told = AppFile::from_json(&settings).unwrap();
        let bare = with(&format!("[strategy]\nkind = \"{kind}\""));
        assert_eq!(told.spec, AppFile::from_toml(&bare).unwrap().spec);
        for key in *own {
            let at = format!("/properties/strategy/dependentSchemas/{key}/properties/kind/const");
            assert_eq!(schema.pointer(&at).unwrap(), kind, "{key}");
        }
    }
}

#[test]
fn what_listens_on_a_socket_has_no_other_listener_and_no_socket_of_its_own() {
    let on = |more: &str| {
        AppFile::from_toml(&format!("app = \"web\"\n[run]\ncommand = [\"./x\"]\n{more}"))
    };
    let refusal = |more: &str| on(more).unwrap_err().to_string();
    let unix = on("listen = \"unix\"").unwrap().spec.run;
    assert_eq!(unix.listen, Listen::Unix);
    assert_eq!(serde_json::to_value(&unix).unwrap()["listen"], "unix");
    // The default value must not change any digest.
    let port = on("listen = \"port\"").unwrap().spec.run;
    assert_eq!(serde_json::to_value(&port).unwrap().get("listen"), None);
    let listener = refusal("listen = \"unix\"\nlistener = \"any\"");
    assert!(
        listener.contains("`run.listener`: the folder of a unix socket is closed"),
        "{listener}"
    );
    let variable = refusal("listen = \"unix\"\nenv = { SOCKET = \"/x\" }");
    assert!(
        variable.contains("`run.env.SOCKET`: with `listen = \"unix\"` segue sets it itself"),
        "{variable}"
    );
    assert!(on("env = { SOCKET = \"/x\" }").is_ok(), "another program's");
    assert!(refusal("listen = \"tcp\"").contains("`run.listen`"));
}

#[test]
fn limits_of_an_instance_have_units_and_bounds() {
    let on = |more: &str| {
        AppFile::from_toml(&format!("app = \"web\"\n[run]\ncommand = [\"./x\"]\n{more}"))
    };
    let all = on("memory = \"512MiB\"\npids = 200\ncpu = 1.5").unwrap();
    let limits = ResourceLimits { memory: Some(512 << 20), pids: Some(200), cpu: Some(1_500) };
    assert_eq!(all.spec.run.limits, limits);
    // The settings in the form that the API gets and that is stored.
    let told = AppFile::from_json(all.settings()).unwrap();
    assert_eq!(told.spec, all.spec);
    let kept = serde_json::to_value(&all.spec.run).unwrap();
    assert_eq!(kept["memory"], 512 << 20);
    assert_eq!((&kept["pids"], &kept["cpu"]), (&200.into(), &1_500.into()));
    assert_eq!(serde_json::from_value::<Run>(kept).unwrap(), all.spec.run);
    // Without these keys nothing is stored, so that no digest changes.
    let none = serde_json::to_value(on("").unwrap().spec.run).unwrap();
    let keys = ["memory", "pids", "cpu", "limits"];
    assert!(keys.iter().all(|key| none.get(key).is_none()), "{none}");
    let cpu = |text: &str| on(&format!("cpu = {text}")).map(|file| file.spec.run.limits.cpu);
    let fine = [("2", 2_000), ("0.01", 10), ("0.255", 255), ("1000", 1_000_000), ("1e1", 10_000)];
    for (text, wanted) in fine {
        assert_eq!(cpu(text).unwrap(), Some(wanted), "{text}");
    }
    let refused: Vec<String> = [
        "memory = 512",
        "memory = \"0\"",
        "memory = \"512\"",
        "memory = \"1023KiB\"",
        "memory = \"2PiB\"",
        "memory = \"-1MiB\"",
        "memory = \"lots\"",
        "pids = 0",
        "pids = -1",
        "pids = 4194305",
        "pids = 1.5",
        "pids = \"200\"",
        "cpu = 0",
        "cpu = 0.009",
        "cpu = -1",
        "cpu = -0.5",
        "cpu = 1000.001",
        "cpu = 1e300",
        "cpu = inf",
        "cpu = nan",
        "cpu = 0.3333",
        "cpu = \"1.5\"",
        "cpu = [1]",
    ]
    .into_iter()
    .map(|line| {
        let e = on(line).unwrap_err();
        assert_eq!(e.line, Some(4), "{line}");
        let hint = e.hint.map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
        format!("{line}\n  {}{hint}", e.message)
    })
    .collect();
    insta::assert_snapshot!(refused.join("\n"));
}
