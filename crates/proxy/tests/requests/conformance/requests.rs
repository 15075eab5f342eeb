//! The requests. `RFC` and section are those of the rule that decides; where the RFC leaves a choice,
//! ours is the strict one.

/// What becomes of a request that has another behind it.
#[derive(Clone, Copy, Debug)]
pub enum Outcome {
    /// This status, `Connection: close`, and nothing behind it is served. No app sees a whole request.
    Refused(u16),
    /// The app sees this, and then the next one.
    Seen(&'static str),
    /// The app sees this, and the connection ends.
    Last(&'static str),
    /// We answer it ourselves, and the next one is served.
    Ours(u16),
}

#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub name: &'static str,
    pub section: &'static str,
    pub bytes: &'static str,
    pub outcome: Outcome,
}

use Outcome::{Last, Ours, Refused, Seen};

const fn case(
    name: &'static str,
    section: &'static str,
    bytes: &'static str,
    outcome: Outcome,
) -> Request {
    Request { name, section, bytes, outcome }
}

/// A request whose first line or `Host` is the matter.
macro_rules! get {
    ($line:literal) => {
        concat!($line, "\r\nHost: a\r\n\r\n")
    };
}

/// A GET with these field lines.
macro_rules! fields {
    ($fields:literal) => {
        concat!("GET / HTTP/1.1\r\nHost: a\r\n", $fields, "\r\n\r\n")
    };
}

/// A POST with these field lines and five bytes of body.
macro_rules! five {
    ($fields:literal) => {
        concat!("POST / HTTP/1.1\r\nHost: a\r\n", $fields, "\r\n\r\nhello")
    };
}

/// A POST in chunks.
macro_rules! chunks {
    ($body:literal) => {
        concat!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", $body)
    };
}

const HELLO: &str = "POST / | host: a | content-length: 5 | hello";
const CHUNKED: &str = "POST / | host: a | transfer-encoding: chunked | hello";
const PLAIN: &str = "GET / | host: a";

#[rustfmt::skip]
pub const REQUESTS: &[Request] = &[
    // Line ends.
    case("LF alone ends the first line", "9112 2.2", "GET / HTTP/1.1\nHost: a\r\n\r\n", Refused(400)),
    case("LF alone ends a field", "9112 2.2", "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", Refused(400)),
    case("LF alone ends the head", "9112 2.2", "GET / HTTP/1.1\r\nHost: a\r\n\n", Refused(400)),
    case("CR alone ends the first line", "9112 2.2", "GET / HTTP/1.1\rHost: a\r\n\r\n", Refused(400)),
    case("CR within a value", "9112 2.2", fields!("X: a\rb"), Refused(400)),
    case("CR before the end of the head", "9112 2.2", "GET / HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n", Refused(400)),
    case("one empty line comes first", "9112 2.2", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Seen(PLAIN)),
    case("two empty lines come first", "9112 2.2", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    case("white space before the first field", "9112 2.2", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", Refused(400)),
    case("a line of white space before the fields", "9112 2.2", "GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n", Refused(400)),
    case("no line, but bytes", "9112 2.2", "\0\u{1}\u{7f}\u{e9}", Refused(400)),
    // First line.
    case("two spaces before the target", "9112 3", get!("GET  / HTTP/1.1"), Refused(400)),
    case("two spaces before the version", "9112 3", get!("GET /  HTTP/1.1"), Refused(400)),
    case("a tab for a space", "9112 3", get!("GET\t/ HTTP/1.1"), Refused(400)),
    case("space before the method", "9112 3", get!(" GET / HTTP/1.1"), Refused(400)),
    case("space behind the version", "9112 3", get!("GET / HTTP/1.1 "), Refused(400)),
    case("space within the target", "9112 3.2", get!("GET /a b HTTP/1.1"), Refused(400)),
    case("no target", "9112 3", get!("GET HTTP/1.1"), Refused(400)),
    case("no version", "9112 3", get!("GET /"), Refused(400)),
    case("a method that is no token", "9112 3.1", get!("G[T / HTTP/1.1"), Refused(400)),
    case("a method nobody knows", "9110 9.1", get!("BREW / HTTP/1.1"), Seen("BREW / | host: a")),
    case("methods differ by case", "9110 9.1", get!("get / HTTP/1.1"), Seen("get / | host: a")),
    // Versions.
    case("the name of the protocol in small letters", "9112 2.3", get!("GET / http/1.1"), Refused(400)),
    case("a version without its second digit", "9112 2.3", get!("GET / HTTP/1"), Refused(400)),
    case("a version with two digits", "9112 2.3", get!("GET / HTTP/1.10"), Refused(400)),
    case("a version with zeros before it", "9112 2.3", get!("GET / HTTP/01.1"), Refused(400)),
    case("a version with space in it", "9112 2.3", get!("GET / HTTP/ 1.1"), Refused(400)),
    case("a later version", "9110 15.6.6", get!("GET / HTTP/9.9"), Refused(505)),
    case("the first bytes of HTTP/2", "9113 3.4", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Refused(400)),
    case("HTTP/1.0 ends with its answer", "9112 9.3", get!("GET / HTTP/1.0"), Last(PLAIN)),
    case("HTTP/1.0 may stay", "9112 9.3", "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", Seen(PLAIN)),
    // Targets.
    case("a fragment", "9112 3.2", get!("GET /a#b HTTP/1.1"), Refused(400)),
    case("NUL", "9112 3.2", get!("GET /\0 HTTP/1.1"), Refused(400)),
    case("bytes beyond ASCII", "9112 3.2", get!("GET /\u{e9} HTTP/1.1"), Refused(400)),
    case("nothing of it is decoded", "3986 2.4", get!("GET /%00%2F..%0d%0a?%23 HTTP/1.1"), Seen("GET /%00%2F..%0d%0a?%23 | host: a")),
    case("neither path nor scheme", "9112 3.2", get!("GET a HTTP/1.1"), Refused(400)),
    case("absolute: its authority counts", "9112 3.2.2", get!("GET http://b:81/c?d HTTP/1.1"), Seen("GET /c?d | host: b:81")),
    case("absolute: no path", "9112 3.2.1", get!("GET http://b HTTP/1.1"), Seen("GET / | host: b")),
    case("absolute: with a user", "9110 4.2.4", get!("GET http://u@b/ HTTP/1.1"), Refused(400)),
    case("absolute: no host", "9110 4.2.1", get!("GET http:///c HTTP/1.1"), Refused(400)),
    case("absolute: another scheme", "9110 7.4", get!("GET ftp://b/ HTTP/1.1"), Refused(400)),
    case("absolute: still needs Host", "9112 3.2.2", "GET http://b/ HTTP/1.1\r\n\r\n", Refused(400)),
    case("asterisk with OPTIONS", "9112 3.2.4", get!("OPTIONS * HTTP/1.1"), Seen("OPTIONS * | host: a")),
    case("asterisk of a proxy's OPTIONS", "9112 3.2.4", get!("OPTIONS http://b HTTP/1.1"), Seen("OPTIONS * | host: b")),
    case("asterisk with another method", "9112 3.2.4", get!("GET * HTTP/1.1"), Refused(400)),
    case("CONNECT", "9110 9.3.6", get!("CONNECT a:443 HTTP/1.1"), Refused(405)),
    case("CONNECT to a path", "9112 3.2.3", get!("CONNECT /a HTTP/1.1"), Refused(400)),
    case("CONNECT without a port", "9112 3.2.3", get!("CONNECT a HTTP/1.1"), Refused(400)),
    case("CONNECT with an empty port", "9110 9.3.6", get!("CONNECT a: HTTP/1.1"), Refused(400)),
    // Host.
    case("no Host", "9112 3.2", "GET / HTTP/1.1\r\n\r\n", Refused(400)),
    case("an empty Host", "9110 7.2", "GET / HTTP/1.1\r\nHost:\r\n\r\n", Refused(400)),
    case("Host twice", "9112 3.2", fields!("Host: b"), Refused(400)),
    case("the same Host twice", "9112 3.2", fields!("Host: a"), Refused(400)),
    case("two hosts in one", "9110 7.2", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", Refused(400)),
    case("Host with a user", "9110 7.2", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", Refused(400)),
    case("Host with a path", "9110 7.2", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Refused(400)),
    case("Host with a scheme", "9110 7.2", "GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", Refused(400)),
    case("Host with a word for a port", "3986 3.2.3", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", Refused(400)),
    case("Host of characters no name has", "3986 3.2.2", "GET / HTTP/1.1\r\nHost: ###\r\n\r\n", Refused(400)),
    case("Host with half an escape", "3986 2.1", "GET / HTTP/1.1\r\nHost: a%4\r\n\r\n", Refused(400)),
    case("Host with half an IPv6 address", "3986 3.2.2", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", Refused(400)),
    case("Host with an IPv6 address", "3986 3.2.2", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", Seen("GET / | host: [::1]:80")),
    case("Host by its name in any letters, behind a tab", "9110 5.1", "GET / HTTP/1.1\r\nhOST:\ta\r\n\r\n", Seen(PLAIN)),
    case("HTTP/1.0 knows no Host", "9112 3.2", "GET / HTTP/1.0\r\n\r\n", Last("GET / | host: ")),
    // Fields.
    case("space before the colon", "9112 5.1", fields!("X : y"), Refused(400)),
    case("a tab before the colon", "9112 5.1", fields!("X\t: y"), Refused(400)),
    case("a folded line", "9112 5.2", fields!("X: y\r\n z"), Refused(400)),
    case("no name", "9110 5.1", fields!(": y"), Refused(400)),
    case("no colon", "9112 5", fields!("X"), Refused(400)),
    case("a name with space in it", "9110 5.1", fields!("X Y: z"), Refused(400)),
    case("a name with a bracket", "9110 5.1", fields!("X[]: y"), Refused(400)),
    case("a name beyond ASCII", "9110 5.1", fields!("X\u{e9}: y"), Refused(400)),
    case("NUL in a value", "9110 5.5", fields!("X: a\0b"), Refused(400)),
    case("a control character in a value", "9110 5.5", fields!("X: a\u{7}b"), Refused(400)),
    case("DEL in a value", "9110 5.5", fields!("X: a\u{7f}b"), Refused(400)),
    case("an empty value", "9110 5.5", fields!("X:"), Seen("GET / | host: a | X:")),
    case("a value beyond ASCII", "9110 5.5", fields!("X: \u{e9}"), Seen("GET / | host: a | x: \u{e9}")),
    case("what names a length for some readers", "9110 17.10", fields!("Content_Length: 5\r\nTransfer_Encoding: chunked"), Seen(PLAIN)),
    // Lengths.
    case("a length", "9112 6.3", five!("Content-Length: 5"), Seen(HELLO)),
    case("a length of any method", "9110 9.3.1", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", Seen("GET / | host: a | content-length: 5 | hello")),
    case("a length of nothing", "9112 6.3", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", Seen("POST / | host: a | content-length: 0")),
    case("no length is none", "9112 6.3", "POST / HTTP/1.1\r\nHost: a\r\n\r\n", Seen("POST / | host: a")),
    case("a length with zeros before it, passed on without", "9110 8.6", five!("Content-Length: 005"), Seen(HELLO)),
    case("a length with space around it, passed on without", "9110 5.5", five!("Content-Length: \t5 "), Seen(HELLO)),
    case("no number", "9110 8.6", five!("Content-Length: x"), Refused(400)),
    case("an empty length", "9110 8.6", five!("Content-Length:"), Refused(400)),
    case("a plus", "9110 8.6", five!("Content-Length: +5"), Refused(400)),
    case("a minus", "9110 8.6", five!("Content-Length: -5"), Refused(400)),
    case("minus nothing", "9110 8.6", five!("Content-Length: -0"), Refused(400)),
    case("hexadecimal", "9110 8.6", five!("Content-Length: 0x5"), Refused(400)),
    case("octal", "9110 8.6", five!("Content-Length: 0o5"), Refused(400)),
    case("underscores between digits", "9110 8.6", five!("Content-Length: 1_0"), Refused(400)),
    case("space between digits", "9110 8.6", five!("Content-Length: 1 0"), Refused(400)),
    case("a fraction", "9110 8.6", five!("Content-Length: 5.0"), Refused(400)),
    case("more than any number holds", "9110 8.6", five!("Content-Length: 99999999999999999999"), Refused(400)),
    case("two lengths", "9112 6.3", five!("Content-Length: 5\r\nContent-Length: 9"), Refused(400)),
    case("one length twice", "9112 6.3", five!("Content-Length: 5\r\nContent-Length: 5"), Refused(400)),
    case("two lengths in one", "9112 6.3", five!("Content-Length: 5, 9"), Refused(400)),
    case("one length twice in one", "9110 8.6", five!("Content-Length: 5, 5"), Refused(400)),
    // Codings.
    case("length, then chunks", "9112 6.1", five!("Content-Length: 5\r\nTransfer-Encoding: chunked"), Refused(400)),
    case("chunks, then length", "9112 6.1", five!("Transfer-Encoding: chunked\r\nContent-Length: 5"), Refused(400)),
    case("chunks in HTTP/1.0", "9112 6.1", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    case("the coding in any letters, behind a tab", "9112 7", "POST / HTTP/1.1\r\nHost: a\r\nTRANSFER-ENCODING:\tChunKed \r\n\r\n5\r\nhello\r\n0\r\n\r\n", Seen(CHUNKED)),
    case("an unknown coding", "9112 6.1", five!("Transfer-Encoding: gzip"), Refused(400)),
    case("a known and an unknown coding", "9112 6.1", five!("Transfer-Encoding: gzip, chunked"), Refused(400)),
    case("chunked, but not at last", "9112 6.3", five!("Transfer-Encoding: chunked, gzip"), Refused(400)),
    case("chunked twice", "9112 6.1", five!("Transfer-Encoding: chunked, chunked"), Refused(400)),
    case("chunked in two fields", "9112 6.1", five!("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), Refused(400)),
    case("chunked and identity", "9112 7", five!("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"), Refused(400)),
    case("identity", "9112 7", five!("Transfer-Encoding: identity"), Refused(400)),
    case("nearly chunked", "9112 6.1", five!("Transfer-Encoding: xchunked"), Refused(400)),
    case("chunked with a parameter", "9112 7", five!("Transfer-Encoding: chunked;a=b"), Refused(400)),
    case("chunked in quotes", "9112 7", five!("Transfer-Encoding: \"chunked\""), Refused(400)),
    case("no coding", "9112 6.1", five!("Transfer-Encoding:"), Refused(400)),
    case("a comma before it", "9110 5.6.1", five!("Transfer-Encoding: , chunked"), Refused(400)),
    case("a comma behind it", "9110 5.6.1", five!("Transfer-Encoding: chunked,"), Refused(400)),
    case("a vertical tab before it", "9110 5.5", five!("Transfer-Encoding: \u{b}chunked"), Refused(400)),
    case("NUL behind it", "9110 5.5", five!("Transfer-Encoding: chunked\0"), Refused(400)),
    case("a coding on a folded line", "9112 5.2", five!("Transfer-Encoding:\r\n chunked"), Refused(400)),
    case("a coding with space before its colon", "9112 5.1", five!("Transfer-Encoding : chunked"), Refused(400)),
    // Chunks.
    case("two chunks", "9112 7.1", chunks!("2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"), Seen(CHUNKED)),
    case("no chunk", "9112 7.1", chunks!("0\r\n\r\n"), Seen("POST / | host: a | transfer-encoding: chunked")),
    case("hexadecimal in either letters, with zeros", "9112 7.1", chunks!("0A\r\n0123456789\r\na\r\n0123456789\r\n000\r\n\r\n"), Seen("POST / | host: a | transfer-encoding: chunked | 01234567890123456789")),
    case("extensions end here", "9112 7.1.1", chunks!("5;a;b=c ; d = \"e;\\\"f\"\r\nhello\r\n0;g\r\n\r\n"), Seen(CHUNKED)),
    case("an extension without a name", "9112 7.1.1", chunks!("5;\r\nhello\r\n0\r\n\r\n"), Refused(400)),
    case("an extension whose name is no token", "9112 7.1.1", chunks!("5;a[=b\r\nhello\r\n0\r\n\r\n"), Refused(400)),
    case("an extension whose quotes stay open", "9112 7.1.1", chunks!("5;a=\"b\r\nhello\r\n0\r\n\r\n"), Refused(400)),
    case("LF ends an extension", "9112 7.1.1", chunks!("5;a\nhello\r\n0\r\n\r\n"), Refused(400)),
    case("CR within an extension", "9112 7.1.1", chunks!("5;a\rb\r\nhello\r\n0\r\n\r\n"), Refused(400)),
    case("NUL within an extension", "9112 7.1.1", chunks!("5;a\0\r\nhello\r\n0\r\n\r\n"), Refused(400)),
    case("an extension of the last chunk, ended by LF", "9112 7.1.1", chunks!("0;a\n\r\n"), Refused(400)),
    case("a size of no digits", "9112 7.1", chunks!("\r\nhello\r\n0\r\n\r\n"), Refused(400)),
    case("a size that is no number", "9112 7.1", chunks!("g\r\nhello\r\n0\r\n\r\n"), Refused(400)),
    case("a size with a prefix", "9112 7.1", chunks!("0x5\r\nhello\r\n0\r\n\r\n"), Refused(400)),
    case("a size with a plus", "9112 7.1", chunks!("+5\r\nhello\r\n0\r\n\r\n"), Refused(400)),
    case("a size with a minus", "9112 7.1", chunks!("-5\r\nhello\r\n0\r\n\r\n"), Refused(400)),
    case("a size with an underscore", "9112 7.1", chunks!("0_5\r\nhello\r\n0\r\n\r\n"), Refused(400)),
    case("space before a size", "9112 7.1", chunks!(" 5\r\nhello\r\n0\r\n\r\n"), Refused(400)),
    case("space behind a size", "9112 7.1", chunks!("5 \r\nhello\r\n0\r\n\r\n"), Refused(400)),
    case("a size beyond 64 bits", "9112 7.1", chunks!("10000000000000005\r\nhello\r\n0\r\n\r\n"), Refused(400)),
    case("LF ends a size", "9112 7.1", chunks!("5\nhello\r\n0\r\n\r\n"), Refused(400)),
    case("CR ends a size", "9112 7.1", chunks!("5\rhello\r\n0\r\n\r\n"), Refused(400)),
    case("nothing ends the data", "9112 7.1", chunks!("5\r\nhello0\r\n\r\n"), Refused(400)),
    case("LF ends the data", "9112 7.1", chunks!("5\r\nhello\n0\r\n\r\n"), Refused(400)),
    case("more data than the size says", "9112 7.1", chunks!("5\r\nhello!!\r\n0\r\n\r\n"), Refused(400)),
    case("a last chunk with a plus", "9112 7.1", chunks!("5\r\nhello\r\n+0\r\n\r\n"), Refused(400)),
    case("LF ends the trailers", "9112 7.1.2", chunks!("5\r\nhello\r\n0\r\n\n"), Refused(400)),
    case("a trailer without a colon", "9112 7.1.2", chunks!("5\r\nhello\r\n0\r\nX\r\n\r\n"), Refused(400)),
    case("a trailer", "9112 7.1.2", chunks!("5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"), Seen("POST / | host: a | transfer-encoding: chunked | hello | x-sum: 1")),
    case("trailers that none may be", "9110 6.5.1", chunks!("5\r\nhello\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\nHost: b\r\nAuthorization: c\r\nContent-Type: d\r\nMax-Forwards: 0\r\n\r\n"), Seen(CHUNKED)),
    // Between client and proxy only.
    case("what Connection names", "9110 7.6.1", fields!("X-Hop: 1\r\nConnection: x-hop, , X-Other\r\nY: 2"), Seen("GET / | host: a | y: 2")),
    case("what is for one hop, named or not", "9110 7.6.1", fields!("Keep-Alive: 5\r\nProxy-Connection: close\r\nTE: trailers\r\nUpgrade: x"), Seen(PLAIN)),
    case("Connection names what the request hangs on", "9110 7.6.1", five!("Connection: content-length\r\nContent-Length: 5"), Refused(400)),
    case("Connection: close", "9112 9.6", fields!("Connection: Close"), Last(PLAIN)),
    case("OPTIONS that may go on", "9110 7.6.2", "OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 7\r\n\r\n", Seen("OPTIONS / | host: a | max-forwards: 6")),
    case("OPTIONS that may not", "9110 7.6.2", "OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n", Ours(200)),
    case("OPTIONS for all that may not", "9110 7.6.2", "OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n", Ours(200)),
    case("TRACE that may go on", "9110 7.6.2", "TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 1\r\n\r\n", Seen("TRACE / | host: a | max-forwards: 0")),
    case("TRACE that may not", "9110 7.6.2", "TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n", Ours(405)),
    case("another method's", "9110 7.6.2", fields!("Max-Forwards: 0"), Seen("GET / | host: a | max-forwards: 0")),
    case("no number of hops", "9110 7.6.2", "TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: -1\r\n\r\n", Refused(400)),
    case("TRACE with a body", "9110 9.3.8", "TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", Refused(400)),
    // Expectations.
    case("an unknown expectation", "9110 10.1.1", fields!("Expect: 200-ok"), Refused(417)),
    case("an expectation of nothing", "9110 10.1.1", fields!("Expect: 100-continue"), Seen(PLAIN)),
    case("an expectation in HTTP/1.0", "9110 10.1.1", "POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", Last(HELLO)),
    case("an upgrade with a body", "9110 7.8", five!("Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 5"), Seen(HELLO)),
    case("an upgrade nobody names", "9110 7.8", fields!("Upgrade: x"), Seen(PLAIN)),
    case("an upgrade in HTTP/1.0", "9110 7.8", "GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", Last(PLAIN)),
    case("an upgrade with an expectation", "9110 7.8", fields!("Connection: upgrade\r\nUpgrade: x\r\nExpect: 100-continue"), Seen(PLAIN)),
];
