//! However the bytes are cut on their way, the same requests reach the app and the same answers the
//! client.

use std::io::Write;
use std::sync::OnceLock;

use proptest::prelude::*;

use crate::common::*;

/// Says back the method and the body, framed in one of three ways, in small pieces.
fn echo() -> std::net::SocketAddr {
    upstream(|_, mut stream| {
        while let Some(head) = read_head(&mut stream) {
            let Ok((body, _)) = read_body(&head, &mut stream) else { return };
            let method = head.split(' ').next().expect("a method").to_owned();
            let text = format!("{method} {}", String::from_utf8(body).expect("text"));
            let close = head.contains("X-Close");
            let answer = if head.contains("X-Chunked") {
                let chunks: String = text
                    .as_bytes()
                    .chunks(7)
                    .map(|c| format!("{:x}\r\n{}\r\n", c.len(), String::from_utf8_lossy(c)))
                    .collect();
                format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
            } else if close {
                format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{text}")
            } else {
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())
            };
            for piece in answer.as_bytes().chunks(23) {
                if stream.get_mut().write_all(piece).is_err() {
                    return;
                }
            }
            if close {
                return;
            }
        }
    })
}

/// One proxy for all cases.
fn proxy_address() -> std::net::SocketAddr {
    static AT: OnceLock<std::net::SocketAddr> = OnceLock::new();
    *AT.get_or_init(|| {
        let world = World::new(&one(1, 1, echo()));
        let at = world.at;
        // It serves until the process of this test ends.
        std::mem::forget(world);
        at
    })
}

#[derive(Clone, Debug)]
struct Request {
    body: String,
    chunked: bool,
    answer: &'static str,
}

impl Request {
    fn bytes(&self) -> String {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{}", self.answer);
        if !self.chunked {
            return format!("{head}Content-Length: {}\r\n\r\n{}", self.body.len(), self.body);
        }
        let chunk = |c: &[u8]| format!("{:X};e\r\n{}\r\n", c.len(), String::from_utf8_lossy(c));
        let chunks: String = self.body.as_bytes().chunks(11).map(chunk).collect();
        format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\nX-T: 1\r\n\r\n")
    }
}

fn request() -> impl Strategy<Value = Request> {
    let answer = prop::sample::select(&["", "X-Chunked: 1\r\n", "X-Close: 1\r\n"][..]);
    ("[a-z]{0,90}", any::<bool>(), answer).prop_map(|(body, chunked, answer)| Request {
        body,
        chunked,
        answer,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pipelined_requests_arrive_whole_and_in_order(
        requests in prop::collection::vec(request(), 1..6),
        cuts in prop::collection::vec(1_usize..60, 1..40),
    ) {
        let bytes: String = requests.iter().map(Request::bytes).collect();
        let mut client = Client::connect(proxy_address());
        let mut rest = bytes.as_bytes();
        for cut in cuts {
            let (now, later) = rest.split_at(cut.min(rest.len()));
            client.send(now);
            rest = later;
        }
        client.send(rest);
        for request in &requests {
            let got = client.receive();
            let expected = format!("POST {}", request.body);
            prop_assert_eq!(got.text(), expected.as_str());
        }
    }
}
