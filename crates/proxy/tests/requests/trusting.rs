//! Who the client is, and who may say so.

use model::{HeadSizes, Maintenance, Millis, Page, ProxyLimits, ProxySettings};

use crate::common::*;

/// Says back what the app is told of its client.
fn told() -> std::net::SocketAddr {
    answering(|seen| {
        let of = |name| field(&seen.head, name).unwrap_or_default();
        let (client, real) = (of("x-forwarded-for"), of("x-real-ip"));
        let body =
            format!("{client} {real} {} {}", of("x-forwarded-proto"), of("x-forwarded-port"));
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    })
}

#[test]
fn nobody_is_believed_unless_trusted_and_then_to_the_last_trusted_hop() {
    let fields = "X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.0.0.2\r\n\
                  X-Forwarded-Proto: https\r\nX-Real-IP: 6.6.6.6\r\n";
    let plain = World::new(&one(1, 1, told()));
    let got = plain.client().get_with("/", fields);
    assert_eq!(got.text(), format!("127.0.0.1 127.0.0.1 http {}", plain.at.port()));
    let mut config = config();
    config.trusted_proxies =
        ["127.0.0.0/8", "10.0.0.0/8"].map(|text| text.parse().expect("a network")).into();
    let world = World::of(&one(1, 1, told()), config);
    let mut client = world.client();
    assert_eq!(client.get_with("/", fields).text(), "203.0.113.9 203.0.113.9 https 443");
    // The next request on the connection is somebody else's.
    let got = client.get_with("/", "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Port: 81\r\n");
    assert_eq!(got.text(), "203.0.113.7 203.0.113.7 http 81");
    let own = format!("127.0.0.1 127.0.0.1 http {}", world.at.port());
    assert_eq!(client.get("/").text(), own);
    let mut closed = one(2, 1, told());
    let allow = vec!["203.0.113.0/24".parse().expect("a network")];
    let page = Page { html: None, message: None, retry_after: Millis(1) };
    closed.apps[0].maintenance = Some(Maintenance { page, hold: Millis(0), allow });
    world.publish(&closed);
    assert_eq!(client.get_with("/", fields).status, 200);
    assert_eq!(client.get("/").status, 503);
}

#[test]
fn whom_to_believe_and_the_limits_may_change_while_users_are_served() {
    let world = World::new(&one(1, 1, told()));
    let mut client = world.client();
    let mut asked = || client.get_with("/", "X-Forwarded-For: 203.0.113.9\r\n").text().to_owned();
    let own = format!("127.0.0.1 127.0.0.1 http {}", world.at.port());
    assert_eq!(asked(), own);
    let long = format!("X-Long: {}\r\n", "a".repeat(2_000));
    assert_eq!(world.client().get_with("/", &long).status, 200);
    let head_sizes = HeadSizes { head: 1_000, ..ProxyLimits::default().head_sizes };
    world.proxy.set_settings(&ProxySettings {
        limits: ProxyLimits { head_sizes, ..ProxyLimits::default() },
        trusted_proxies: vec!["127.0.0.0/8".parse().expect("a network")],
        ..ProxySettings::default()
    });
    eventually("it believes", || asked().starts_with("203.0.113.9 203.0.113.9").then_some(()));
    let refused = || (world.client().get_with("/", &long).status == 431).then_some(());
    eventually("long heads are refused", refused);
    world.proxy.set_settings(&ProxySettings::default());
    eventually("it believes nobody", || (asked() == own).then_some(()));
}

#[test]
fn a_closed_app_lets_nobody_in_for_a_proxy_that_nobody_has_named() {
    let mut closed = one(1, 1, told());
    let allow = vec!["127.0.0.0/8".parse().expect("a network")];
    let page = Page { html: None, message: None, retry_after: Millis(1) };
    closed.apps[0].maintenance = Some(Maintenance { page, hold: Millis(0), allow });
    let world = World::new(&closed);
    let mut client = world.client();
    assert_eq!(client.get("/").status, 200);
    for by in ["X-Forwarded-For: 127.0.0.1", "Forwarded: for=a", "Via: 1.1 a", "Client_IP: ::1"] {
        assert_eq!(client.get_with("/", &format!("{by}\r\n")).status, 503, "{by}");
    }
    assert_eq!(client.get("/").status, 200, "each request by itself");
}

#[test]
fn what_other_proxies_say_of_their_clients_passes_from_trusted_ones() {
    let heads = || {
        answering(|seen| {
            let names = ["x-forwarded-ssl", "cf-connecting-ip", "front.end.https", "x-request-id"];
            let has = |name: &&str| field(&seen.head, name).is_some();
            let body = names.into_iter().filter(has).collect::<Vec<_>>().join(" ");
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        })
    };
    let fields = "X-Forwarded-Ssl: on\r\nCF-Connecting-IP: 6.6.6.6\r\nFront.End.Https: on\r\n\
                  X-Request-ID: 1\r\n";
    let plain = World::new(&one(1, 1, heads()));
    assert_eq!(plain.client().get_with("/", fields).text(), "x-request-id");
    let mut config = config();
    config.trusted_proxies = vec!["127.0.0.1".parse().expect("an address")];
    let world = World::of(&one(1, 1, heads()), config);
    let all = "x-forwarded-ssl cf-connecting-ip front.end.https x-request-id";
    assert_eq!(world.client().get_with("/", fields).text(), all);
}

#[test]
fn people_hear_of_a_proxy_that_is_not_named_and_of_nobody_else() {
    let world = World::still(&one(1, 1, told()));
    let mut client = world.client();
    client.get_with("/", "Via: 1.1 a\r\nX-Requested-With: b\r\nX-Segue-Cohort: c\r\n");
    assert_eq!(world.proxy.warning(&app_name()), None);
    for _ in 0..3 {
        client.get_with("/", "CF-Connecting-IP: 203.0.113.9\r\nX-Forwarded-For: 203.0.113.9\r\n");
    }
    let warning =
        "dropped CF-Connecting-IP from 127.0.0.1, 3 requests: name it with --trusted-proxy";
    assert_eq!(world.proxy.warning(&app_name()).as_deref(), Some(warning));
    assert_eq!(world.proxy.warning(&"other".parse().expect("a name")), None);
    world.advance(Millis::from_secs(3_600));
    assert_eq!(world.proxy.warning(&app_name()), None, "it has been put right");
    let mut config = config();
    config.trusted_proxies = vec!["127.0.0.1".parse().expect("an address")];
    let named = World::of(&one(1, 1, told()), config);
    named.client().get_with("/", "CF-Connecting-IP: 203.0.113.9\r\n");
    assert_eq!(named.proxy.warning(&app_name()), None);
}
