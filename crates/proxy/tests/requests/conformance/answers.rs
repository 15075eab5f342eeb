//! The answers. Dates are judged apart.

/// What the client gets.
#[derive(Clone, Copy, Debug)]
pub enum Becomes {
    /// These bytes, but for `Date`.
    Exactly(&'static str),
    /// An answer of ours in its place.
    BadGateway,
}

#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub name: &'static str,
    pub section: &'static str,
    pub request: &'static str,
    pub bytes: &'static str,
    pub becomes: Becomes,
}

use Becomes::{BadGateway, Exactly};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const HEAD: &str = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
const OLD: &str = "GET / HTTP/1.0\r\nHost: a\r\n\r\n";
const OLD_STAYS: &str = "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";
const CLOSE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

const fn case(
    name: &'static str,
    section: &'static str,
    request: &'static str,
    bytes: &'static str,
    becomes: Becomes,
) -> Answer {
    Answer { name, section, request, bytes, becomes }
}

const SMALL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[rustfmt::skip]
pub const ANSWERS: &[Answer] = &[
    case("a plain one", "9110 7.7", GET, SMALL, Exactly(SMALL)),
    case("the last on its connection", "9112 9.6", CLOSE, SMALL, Exactly("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")),
    case("to HTTP/1.0", "9112 9.3", OLD, SMALL, Exactly("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")),
    case("to HTTP/1.0 that stays", "9112 9.3", OLD_STAYS, SMALL, Exactly("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok")),
    case("one of HTTP/1.0", "9112 2.3", GET, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", Exactly(SMALL)),
    case("what its Connection names", "9110 7.6.1", GET, "HTTP/1.1 200 OK\r\nX-Hop: 1\r\nConnection: x-hop\r\nKeep-Alive: timeout=5\r\nProxy-Connection: close\r\nContent-Length: 2\r\n\r\nok", Exactly(SMALL)),
    case("chunks", "9112 7.1", GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a\r\nok\r\n0\r\n\r\n", Exactly("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")),
    case("chunks to HTTP/1.0", "9112 7.1", OLD_STAYS, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Exactly("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok")),
    case("both lengths", "9112 6.3", GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n2\r\nok\r\n0\r\n\r\n", Exactly("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")),
    case("one length twice", "9112 6.3", GET, "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", Exactly(SMALL)),
    case("two lengths", "9112 6.3", GET, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", BadGateway),
    case("a length that is none", "9112 6.3", GET, "HTTP/1.1 200 OK\r\nContent-Length: 2x\r\n\r\nok", BadGateway),
    case("an unknown coding", "9112 6.1", GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", BadGateway),
    case("a folded line", "9112 5.2", GET, "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok", Exactly("HTTP/1.1 200 OK\r\nX: a   b\r\nContent-Length: 2\r\n\r\nok")),
    case("space before the colon", "9112 5.1", GET, "HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 2\r\n\r\nok", Exactly("HTTP/1.1 200 OK\r\nX: a\r\nContent-Length: 2\r\n\r\nok")),
    case("NUL", "9110 5.5", GET, "HTTP/1.1 200 OK\r\nX: \0\r\nContent-Length: 2\r\n\r\nok", BadGateway),
    case("to HEAD, with the length of what is not sent", "9110 9.3.2", HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", Exactly("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")),
    case("204 has no length", "9110 8.6", GET, "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n", Exactly("HTTP/1.1 204 No Content\r\n\r\n")),
    case("204 has no coding", "9112 6.1", GET, "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", Exactly("HTTP/1.1 204 No Content\r\n\r\n")),
    case("304 has the length of what it spares", "9110 8.6", GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\nETag: \"a\"\r\n\r\n", Exactly("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 2\r\n\r\n")),
    case("hints before it", "9110 15.2", GET, "HTTP/1.1 103 Early Hints\r\nLink: a\r\nContent-Length: 2\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Exactly("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")),
    case("no hints to HTTP/1.0", "9110 15.2", OLD, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Exactly("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")),
    case("a switch nobody asked for", "9110 7.8", GET, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", BadGateway),
    case("426 tells what to switch to", "9110 15.5.22", GET, "HTTP/1.1 426 Upgrade Required\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 0\r\n\r\n", Exactly("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")),
    case("no status line", "9112 4", GET, "HTTP/1.1 ok\r\n\r\n", BadGateway),
];
