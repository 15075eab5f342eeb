//! Bodies that are too large or are never read.

use model::AppLimits;

use crate::common::*;

fn sized() -> std::net::SocketAddr {
    answering(|seen| {
        let body = seen.body.len().to_string();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    })
}

#[test]
fn a_body_over_the_limit_gets_413_however_it_is_framed() {
    let limits = AppLimits { body: Some(10), ..AppLimits::default() };
    let world = World::new(&limited(one(1, 1, sized()), limits));
    let mut client = world.client();
    assert_eq!(client.post("ten bytes.").text(), "10");
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n");
    let got = client.receive();
    assert_eq!((got.status, got.field("connection").as_deref()), (413, Some("close")));
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut client = world.client();
    client.send(format!("{chunked}5;an=extension\r\nfive.\r\n5\r\nten..\r\n0\r\nX-T: 1\r\n\r\n"));
    assert_eq!(client.receive().text(), "10");
    client.send(format!("{chunked}5\r\nfive.\r\n6\r\neleven\r\n"));
    assert_eq!(client.receive().status, 413);
    let counters = world.counted(4);
    assert_eq!((counters.failed, counters.faults.values().sum()), (0, 0_u64));
}

#[test]
fn a_refused_request_with_its_body_leaves_the_connection_in_step() {
    let mut table = one(1, 1, sized());
    table.apps[0].route.path = "/app".into();
    let world = World::new(&table);
    let mut client = world.client();
    assert_eq!(client.post("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n").status, 404);
    assert_eq!(client.get("/app").text(), "0");
}
