//! The requests: every spelling of where a request ends that readers are known to take differently.
//! Each is followed at once by a plain one, the canary. Never judges: that is the origins' part.

/// One client's bytes: a request that may be ambiguous, and the canary behind it.
#[derive(Debug)]
pub struct Case {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// Four digits take this place, so that lengths do not hang on the number.
const NUMBER: &str = "NNNN";
const TARGET: &str = "/c/NNNN/first";
/// A whole request, for bodies: whoever finds the border elsewhere serves it.
const INSIDE: &str = "GET /c/NNNN/inside HTTP/1.1\r\nHost: a\r\n\r\n";
const CANARY: &str = "GET /c/NNNN/canary HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// All of them; the number in the targets is the place.
pub fn family() -> Vec<Case> {
    let mut cases = Vec::new();
    lengths(&mut cases);
    chunks(&mut cases);
    heads(&mut cases);
    let numbered = cases.into_iter().enumerate().map(|(number, (name, text))| {
        let number = format!("{number:04}");
        let bytes = [text, CANARY.into()].concat();
        Case { name, bytes: replace(&bytes, NUMBER.as_bytes(), number.as_bytes()) }
    });
    numbered.collect()
}

/// The number of the case that a target belongs to.
pub fn number_in(target: &str) -> Option<usize> {
    let (_, rest) = target.split_once("/c/")?;
    rest.get(..4)?.parse().ok()
}

fn replace(bytes: &[u8], what: &[u8], with: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for at in 0..bytes.len().saturating_sub(what.len() - 1) {
        if bytes[at..].starts_with(what) {
            out[at..at + what.len()].copy_from_slice(with);
        }
    }
    out
}

type Named = (String, Vec<u8>);

fn request(line: &str, fields: &str, body: &str) -> Named {
    let text = format!("{line}\r\n{fields}\r\n\r\n{body}");
    (format!("{line} | {fields} | {body}").escape_debug().to_string(), text.into_bytes())
}

/// Ways to say how long the body is; `@` is its true length. One line or more, without the last
/// line end.
const LENGTHS: &[&str] = &[
    "Accept: */*",
    "Content-Length: @",
    "content-length:@",
    "CONTENT-@GTH:  @  ",
    "Content-Length:\t@\t",
    "Content-Length : @",
    "Content-Length\t: @",
    " Content-Length: @",
    "X: y\r\n Content-Length: @",
    "X: y\r\n\tContent-Length: @",
    "Content-Length:\r\n @",
    "Content-Length: +@",
    "Content-Length: -@",
    "Content-Length: 0@",
    "Content-Length: 0x@",
    "Content-Length: @.0",
    "Content-Length: @;",
    "Content-Length: @ @",
    "Content-Length: @, @",
    "Content-Length: @,",
    "Content-Length: 0, @",
    "Content-Length: \"@\"",
    "Content-Length: @\x0b",
    "Content-Length: @\0",
    "Content-Length:",
    "Content-Length: x",
    "Content-Length: 99999999999999999999",
    "Content-Length: 18446744073709551616",
    "Content-Length: @\r\nContent-Length: @",
    "Content-Length: @\r\nContent-Length: 0",
    "Content-Length: 0\r\nContent-Length: @",
    "Content-Length: @\r\ncontent-length: 0",
    "Content-Length: 0",
    "Content_Length: @",
    "Content-Length\0: @",
    "X: y\nContent-Length: @",
    "X: y\rContent-Length: @",
    "X: y\r\r\nContent-Length: @",
    "X: y\0\r\nContent-Length: @",
    "Transfer-Encoding: chunked",
    "transfer-encoding:CHUNKED",
    "Transfer-Encoding: \t chunked \t",
    "Transfer-Encoding : chunked",
    " Transfer-Encoding: chunked",
    "X: y\r\n Transfer-Encoding: chunked",
    "X: y\nTransfer-Encoding: chunked",
    "Transfer-Encoding:\r\n chunked",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunkedx",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked, gzip",
    "Transfer-Encoding: \"chunked\"",
    "Transfer-Encoding: chunked;q=1",
    "Transfer-Encoding: ,chunked",
    "Transfer-Encoding: chunked,",
    "Transfer-Encoding: chu\tnked",
    "Transfer-Encoding: \x0bchunked",
    "Transfer-Encoding: chunked\0",
    "Transfer-Encoding:",
    "Transfer-Encoding\0: chunked",
    "Transfer_Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "Connection: Content-Length\r\nContent-Length: @",
    "Connection: close, content-length\r\nContent-Length: @",
    "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked",
    "Content-Length: @\r\nTransfer-Encoding: chunked",
    "Content-Length: 0\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: @",
    "Transfer-Encoding: chunked\r\nContent-Length: 0",
    "Content-Length: @\r\nTransfer-Encoding: identity",
    "Content-Length: @\r\nTransfer-Encoding: xchunked",
    "Content-Length: @\r\nTransfer-Encoding : chunked",
    "Content-Length: @\r\nTransfer_Encoding: chunked",
    "Content-Length: @\r\n Transfer-Encoding: chunked",
    "Content-Length: @\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nContent_Length: 0",
];

/// Every way to say the length, before bodies that mean one thing with it and another without.
fn lengths(cases: &mut Vec<Named>) {
    let plain = "hello".to_owned();
    let inside = INSIDE.to_owned();
    let chunked = "5\r\nhello\r\n0\r\n\r\n".to_owned();
    let inside_a_chunk = format!("{:x}\r\n{INSIDE}\r\n0\r\n\r\n", INSIDE.len());
    let behind_the_last = format!("0\r\n\r\n{INSIDE}");
    let bodies = [plain, inside, chunked, inside_a_chunk, behind_the_last];
    for fields in LENGTHS {
        for (at, body) in bodies.iter().enumerate() {
            let fields = format!("Host: a\r\n{}", fields.replace('@', &body.len().to_string()));
            cases.push(request(&format!("POST {TARGET} HTTP/1.1"), &fields, body));
            if at == 1 || at == 4 {
                cases.push(request(&format!("GET {TARGET} HTTP/1.1"), &fields, body));
                let stays = format!("{fields}\r\nConnection: keep-alive");
                cases.push(request(&format!("POST {TARGET} HTTP/1.0"), &stays, body));
            }
        }
    }
}

/// Chunked bodies, well-formed and not.
const CHUNKS: &[&str] = &[
    "5\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
    "05\r\nhello\r\n0\r\n\r\n",
    "000000000000005\r\nhello\r\n0\r\n\r\n",
    "0000000000000000000000000000000005\r\nhello\r\n0\r\n\r\n",
    "a\r\nhellohello\r\n0\r\n\r\n",
    "A\r\nhellohello\r\n0\r\n\r\n",
    "5;x\r\nhello\r\n0\r\n\r\n",
    "5;x=y;z\r\nhello\r\n0\r\n\r\n",
    "5;x=\"a;b\"\r\nhello\r\n0;last\r\n\r\n",
    "5;x=\"\\\"\"\r\nhello\r\n0\r\n\r\n",
    "5 ;x\r\nhello\r\n0\r\n\r\n",
    "5; x\r\nhello\r\n0\r\n\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "5\t\r\nhello\r\n0\r\n\r\n",
    " 5\r\nhello\r\n0\r\n\r\n",
    "5x\r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    "-5\r\nhello\r\n0\r\n\r\n",
    "5_\r\nhello\r\n0\r\n\r\n",
    "5,5\r\nhello\r\n0\r\n\r\n",
    "5\0\r\nhello\r\n0\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n",
    "5\rhello\r\n0\r\n\r\n",
    "5\r\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "5\r\nhello\r0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "5\r\nhelloXX0\r\n\r\n",
    "5\r\nhello\r\n\r\n0\r\n\r\n",
    "\r\n5\r\nhello\r\n0\r\n\r\n",
    "5;\nx\r\nhello\r\n0\r\n\r\n",
    "5;\rx\r\nhello\r\n0\r\n\r\n",
    "5;\0\r\nhello\r\n0\r\n\r\n",
    "5;x\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\n\n",
    "5\r\nhello\r\n0\r\n\n",
    "5\r\nhello\r\n0\n\r\n",
    "5\r\nhello\r\n0\r\r\n\r\n",
    "5\r\nhello\r\n00000\r\n\r\n",
    "5\r\nhello\r\n0;\r\n\r\n",
    "5\r\nhello\r\n0 \r\n\r\n",
    "5\r\nhello\r\n-0\r\n\r\n",
    "5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
    "5\r\nhello\r\n0\r\nX-T: 1\r\nX-U: 2\r\n\r\n",
    "5\r\nhello\r\n0\r\nContent-Length: 44\r\n\r\n",
    "5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "5\r\nhello\r\n0\r\nHost: b\r\n\r\n",
    "5\r\nhello\r\n0\r\nX-T: 1\r\n folded\r\n\r\n",
    "5\r\nhello\r\n0\r\nX-T : 1\r\n\r\n",
    "5\r\nhello\r\n0\r\nX-T: 1\n\r\n",
    "5\r\nhello\r\n0\r\nX-T: 1\r\n\n",
    "5\r\nhello\r\n0\r\nno colon\r\n\r\n",
    "5\r\nhello\r\n0\r\n: empty\r\n\r\n",
    "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "10000000000000005\r\nhello\r\n0\r\n\r\n",
    "fffffffffffffffb\r\nhello\r\n0\r\n\r\n",
    "\r\n\r\n",
    "0\r\n\r\n",
    "hello",
];

fn chunks(cases: &mut Vec<Named>) {
    let fields = "Host: a\r\nTransfer-Encoding: chunked";
    for body in CHUNKS {
        cases.push(request(&format!("POST {TARGET} HTTP/1.1"), fields, body));
        // With a whole request for whoever stops too early.
        let more = format!("{body}{INSIDE}");
        cases.push(request(&format!("PUT {TARGET} HTTP/1.1"), fields, &more));
    }
    let as_trailers = format!("5\r\nhello\r\n0\r\n{INSIDE}");
    cases.push(request(&format!("POST {TARGET} HTTP/1.1"), fields, &as_trailers));
}

/// Request lines; the fields are `Host: a`.
const LINES: &[&str] = &[
    "GET /c/NNNN/first HTTP/1.1",
    "GET  /c/NNNN/first HTTP/1.1",
    "GET /c/NNNN/first  HTTP/1.1",
    "GET\t/c/NNNN/first HTTP/1.1",
    "GET /c/NNNN/first x HTTP/1.1",
    "GET /c/NNNN/first\tx HTTP/1.1",
    " GET /c/NNNN/first HTTP/1.1",
    "GET /c/NNNN/first HTTP/1.1 ",
    "GET /c/NNNN/first http/1.1",
    "GET /c/NNNN/first HTTP/1.2",
    "GET /c/NNNN/first HTTP/2.0",
    "GET /c/NNNN/first HTTP/1.10",
    "GET /c/NNNN/first HTTP/01.1",
    "GET /c/NNNN/first",
    "GET /c/NNNN/first HTTP/1.1\nX: y",
    "GET /c/NNNN/first HTTP/1.1\rX: y",
    "GET /c/NNNN/first\0 HTTP/1.1",
    "GET /c/NNNN/first%00 HTTP/1.1",
    "GET /c/NNNN/first%0d%0a%0d%0aGET%20/ HTTP/1.1",
    "GET /c/NNNN/first?x=1&y=|{} HTTP/1.1",
    "GET /c/NNNN/first#fragment HTTP/1.1",
    "GET /c/NNNN/first/../first HTTP/1.1",
    "GET /c/NNNN/first\\..\\x HTTP/1.1",
    "GET //c/NNNN/first HTTP/1.1",
    "GET http://a/c/NNNN/first HTTP/1.1",
    "GET HTTP://other:81/c/NNNN/first HTTP/1.1",
    "GET http://a?/c/NNNN/first HTTP/1.1",
    "GET http://u@a/c/NNNN/first HTTP/1.1",
    "GET ftp://a/c/NNNN/first HTTP/1.1",
    "GET c/NNNN/first HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "GET * HTTP/1.1",
    "CONNECT a:80 HTTP/1.1",
    "PRI * HTTP/2.0",
    "get /c/NNNN/first HTTP/1.1",
    "patch /c/NNNN/first HTTP/1.1",
    "BREW /c/NNNN/first HTTP/1.1",
    "G@T /c/NNNN/first HTTP/1.1",
    "HEAD /c/NNNN/first HTTP/1.1",
    "TRACE /c/NNNN/first HTTP/1.1",
    "DELETE /c/NNNN/first HTTP/1.1",
    "GET /c/NNNN/first HTTP/1.0",
    "\r\nGET /c/NNNN/first HTTP/1.1",
    "\r\n\r\nGET /c/NNNN/first HTTP/1.1",
    "\nGET /c/NNNN/first HTTP/1.1",
    "\0GET /c/NNNN/first HTTP/1.1",
];

/// Fields of a POST whose body is `INSIDE`, with its length.
const FIELDS: &[&str] = &[
    "X: y",
    "Host:",
    "Host: a\r\nHost: a",
    "Host: a\r\nHost: b",
    "Host : a",
    "Host: a, b",
    "Host: a/c",
    "Host: a@b",
    "Host: a:",
    "Host: a:port",
    "Host: [::1]:80",
    "Host: a_b",
    "Host: a\r\n b",
    "Host: a\r\nX-Forwarded-Host: b",
    "Host: a\r\nExpect: 100-continue",
    "Host: a\r\nExpect: 100-CONTINUE",
    "Host: a\r\nExpect: 100-continue\r\nExpect: 100-continue",
    "Host: a\r\nExpect: 100-continue, x",
    "Host: a\r\nExpect: x",
    "Host: a\r\nConnection: close",
    "Host: a\r\nConnection: keep-alive",
    "Host: a\r\nConnection: Host",
    "Host: a\r\nConnection: x, y, , z",
    "Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket",
    "Host: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA",
    "Host: a\r\nUpgrade: websocket",
    "Host: a\r\nTE: trailers",
    "Host: a\r\nTE: chunked",
    "Host: a\r\nTrailer: Content-Length",
    "Host: a\r\nKeep-Alive: timeout=5, max=1",
    "Host: a\r\nProxy-Connection: close",
    "Host: a\r\nX-HTTP-Method-Override: GET",
    "Host: a\r\n: empty",
    "Host: a\r\nno colon",
    "Host: a\r\nX Y: z",
    "Host: a\r\nX(Y): z",
    "Host: a\r\nX: \u{e9}",
    "Host: a\r\nX\u{e9}: y",
    "Host: a\r\nX: a\x01b",
    "Host: a\r\nX: a\x7fb",
    "Host: a\r\nX:",
    "Host: a\r\nX: y\r\n\tz",
    "\tHost: a",
];

fn heads(cases: &mut Vec<Named>) {
    for line in LINES {
        cases.push(request(line, "Host: a", ""));
    }
    let length = format!("Content-Length: {}", INSIDE.len());
    for fields in FIELDS {
        let body = format!("{fields}\r\n{length}");
        cases.push(request(&format!("POST {TARGET} HTTP/1.1"), &body, INSIDE));
        cases.push(request(&format!("GET {TARGET} HTTP/1.1"), fields, ""));
    }
    for method in ["HEAD", "OPTIONS", "DELETE", "PATCH", "patch", "BREW", "TRACE"] {
        let fields = format!("Host: a\r\n{length}");
        cases.push(request(&format!("{method} {TARGET} HTTP/1.1"), &fields, INSIDE));
    }
    // Line ends of one kind only, all through.
    let bare = format!("POST {TARGET} HTTP/1.1\nHost: a\n{length}\n\n{INSIDE}");
    cases.push(("bare LF all through".to_owned(), bare.into_bytes()));
    let bare = format!("POST {TARGET} HTTP/1.1\rHost: a\r{length}\r\r{INSIDE}");
    cases.push(("bare CR all through".to_owned(), bare.into_bytes()));
}
