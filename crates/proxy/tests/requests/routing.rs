//! Several apps behind one address: whose request it is, what its app sees of it, and who is sent
//! elsewhere.

use model::{Address, AppSection, Prefix, Redirect, Route, Snapshot, Target};

use crate::common::*;

/// An app of one instance that answers with its name and the request line it got.
fn app(name: &'static str, route: Route) -> AppSection {
    let at = answering(move |seen| {
        let line = seen.head.lines().next().unwrap_or_default();
        let prefix = field(&seen.head, "x-forwarded-prefix").unwrap_or_default();
        let text = format!("{name}: {line} {prefix}");
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())
    });
    let mut section = one(1, 1, at).apps.remove(0);
    section.app = name.parse().expect("a name");
    let id = model::InstanceId { app: section.app.clone(), number: 1 };
    section.arms[0].instances = vec![Target::new(id, Address::Tcp(at))];
    section.route = route;
    section
}

fn route(hosts: &[&str], path: &str) -> Route {
    let hosts = hosts.iter().map(ToString::to_string).collect();
    Route { hosts, path: path.to_owned(), ..Route::everything(model::Millis(5_000)) }
}

fn world(apps: Vec<AppSection>) -> World {
    World::new(&Snapshot { apps, ..one(1, 1, ([127, 0, 0, 1], 9).into()) })
}

fn ask(client: &mut Client, host: &str, target: &str) -> Got {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    client.receive()
}

#[test]
fn requests_of_one_connection_go_to_the_app_of_their_host_and_path() {
    let world = world(vec![
        app("shop", route(&["shop.example"], "/")),
        app("api", route(&["shop.example"], "/api")),
        app("tenants", route(&["*.shop.example"], "/")),
    ]);
    let mut client = world.client();
    for (host, path, name) in [
        ("shop.example", "/", "shop"),
        ("SHOP.example:8080", "/apix", "shop"),
        ("shop.example.", "/api", "api"),
        ("shop.example", "/api/v1?x", "api"),
        ("a.shop.example", "/api", "tenants"),
        ("a.b.shop.example", "/", "tenants"),
    ] {
        let got = ask(&mut client, host, path);
        assert_eq!(got.text(), format!("{name}: GET {path} HTTP/1.1 "), "{host}");
    }
    assert_eq!(ask(&mut client, "elsewhere.example", "/").status, 404);
    let absolute = ask(&mut client, "elsewhere.example", "http://shop.example/api");
    assert_eq!(absolute.text(), "api: GET /api HTTP/1.1 ", "the target's host counts");
}

#[test]
fn a_stripped_prefix_is_told_to_the_app() {
    let stripped = Route { prefix: Prefix::Stripped, ..route(&[], "/api/") };
    let world = world(vec![app("api", stripped), app("web", route(&[], "/"))]);
    let mut client = world.client();
    for (path, said) in [
        ("/api/users?q=/api", "api: GET /users?q=/api HTTP/1.1 /api"),
        ("/api", "api: GET / HTTP/1.1 /api"),
        ("/api?q", "api: GET /?q HTTP/1.1 /api"),
        ("/apis", "web: GET /apis HTTP/1.1 "),
    ] {
        assert_eq!(ask(&mut client, "a", path).text(), said);
    }
}

#[test]
fn users_are_sent_to_the_canonical_name_and_to_where_a_path_has_moved() {
    let redirect = Redirect { from: "/old".into(), to: "/new".into(), status: 301 };
    let canonical = Route {
        canonical: Some("shop.example".into()),
        redirects: vec![redirect],
        ..route(&["shop.example", "www.shop.example"], "/")
    };
    let world = world(vec![app("shop", canonical)]);
    let mut client = world.client();
    client.send("POST /a?b HTTP/1.1\r\nHost: www.shop.example:8080\r\nContent-Length: 2\r\n\r\nhi");
    let got = client.receive();
    assert_eq!(
        (got.status, got.field("location").as_deref()),
        (308, Some("//shop.example:8080/a?b"))
    );
    assert_eq!(got.field("cache-control").as_deref(), Some("no-store"));
    let got = ask(&mut client, "shop.example", "/old?q");
    assert_eq!((got.status, got.field("location").as_deref()), (301, Some("/new?q")));
    assert_eq!(ask(&mut client, "shop.example", "/new").text(), "shop: GET /new HTTP/1.1 ");
    let name = "shop".parse().expect("a name");
    let counters = eventually("all are counted", || {
        let counters = world.proxy.report().counters?.remove(&name)?;
        (counters.requests == 3).then_some(counters)
    });
    assert_eq!((counters.failed, counters.client_aborted), (0, 0));
}
