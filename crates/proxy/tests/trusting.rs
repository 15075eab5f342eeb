//! Who the client is, and who may say so.

mod common;

use common::*;
use model::{Maintenance, Millis, Page};

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
