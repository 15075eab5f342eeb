//! The rules for answers from upstream, one test each.

use http1::{
    After, AnswerTo, BadAnswer, Body, Encoder, Fault, Persistence, Progress, ResponseHead,
    ResponseParser, Version,
};

const GET: AnswerTo = AnswerTo { head: false, upgrade: false, version: Version::Http11 };
const HEAD: AnswerTo = AnswerTo { head: true, ..GET };
const UPGRADE: AnswerTo = AnswerTo { upgrade: true, ..GET };
const OLD: AnswerTo = AnswerTo { version: Version::Http10, ..GET };

fn parse(input: &str, to: AnswerTo) -> Result<ResponseHead, BadAnswer> {
    let mut whole = ResponseParser::new();
    let verdict = whole.parse(input.as_bytes(), to);
    let mut split = ResponseParser::new();
    let mut last = Ok(Progress::Unfinished);
    for end in 0..=input.len() {
        last = split.parse(&input.as_bytes()[..end], to);
        if last != Ok(Progress::Unfinished) {
            break;
        }
    }
    assert_eq!(verdict, last, "split and whole differ for {input:?}");
    assert_eq!(verdict?, Progress::Finished(input.len()), "{input:?}");
    Ok(whole.head().clone())
}

fn answer(fields: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n")
}

fn forwarded(input: &str, to: AnswerTo) -> String {
    let mut out = Vec::new();
    parse(input, to).expect(input).forward(input.as_bytes(), to, After::KeepAlive, b"", &mut out);
    String::from_utf8(out).expect("text")
}

#[test]
fn space_before_a_colon_is_stripped() {
    assert_eq!(
        forwarded(&answer("X : a\r\nY: b\r\nContent-Length: 0\r\n"), GET),
        answer("X: a\r\nY: b\r\nContent-Length: 0\r\n")
    );
}

#[test]
fn a_fold_becomes_a_space() {
    let out = forwarded(&answer("A: 1\r\nX: a\r\n\tb\r\n  c \r\nContent-Length: 0\r\n"), GET);
    assert_eq!(out, answer("A: 1\r\nX: a  \tb    c\r\nContent-Length: 0\r\n"));
}

#[test]
fn equal_content_lengths_collapse_and_differing_ones_are_refused() {
    for fields in ["Content-Length: 5\r\nContent-Length: 5\r\n", "Content-Length: 5, 5\r\n"] {
        assert_eq!(forwarded(&answer(fields), GET), answer("Content-Length: 5\r\n"));
        assert!(matches!(parse(&answer(fields), GET).unwrap().body(GET), Body::Length(5)));
    }
    for fields in ["Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length: 5, 6\r\n"] {
        assert_eq!(parse(&answer(fields), GET).unwrap_err(), BadAnswer::Lengths);
    }
    let malformed = answer("Content-Length: 5x\r\n");
    assert_eq!(parse(&malformed, GET).unwrap_err(), BadAnswer::Malformed(Fault::ContentLength));
}

#[test]
fn chunks_beside_a_length_drop_the_length_and_the_connection() {
    let both = answer("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n");
    let head = parse(&both, GET).unwrap();
    assert!(head.body(GET).is_chunked() && head.persistence(GET) == Persistence::Close);
    assert_eq!(forwarded(&both, GET), answer("Transfer-Encoding: chunked\r\n"));
}

#[test]
fn unknown_codings_are_refused() {
    for value in ["gzip", "gzip, chunked", "chunked, chunked", ""] {
        let input = answer(&format!("Transfer-Encoding: {value}\r\n"));
        assert!(parse(&input, GET).is_err(), "{value}");
    }
}

#[test]
fn bare_line_ends_and_nul_are_refused() {
    for input in [
        "HTTP/1.1 200 OK\nX: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        "HTTP/1.1 200 O\0K\r\n\r\n",
    ] {
        assert!(matches!(parse(input, GET), Err(BadAnswer::Malformed(_))), "{input:?}");
    }
}

#[test]
fn what_is_no_status_line_is_refused() {
    for input in
        ["HTTP/2.0 200 OK\r\n\r\n", "HTTP/1.1 099 X\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "hello"]
    {
        assert_eq!(parse(input, GET).unwrap_err(), BadAnswer::StatusLine, "{input:?}");
    }
    assert_eq!(parse("HTTP/1.1 200\r\n\r\n", GET).unwrap().status(), 200);
    assert_eq!(
        forwarded("HTTP/1.0 299 \r\nContent-Length: 0\r\n\r\n", GET),
        "HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n"
    );
}

#[test]
fn an_unasked_switch_of_protocols_is_refused() {
    let switch = "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
    assert_eq!(parse(switch, GET).unwrap_err(), BadAnswer::UnaskedSwitch);
    assert_eq!(forwarded(switch, UPGRADE), switch);
}

#[test]
fn head_204_304_and_1xx_have_no_body() {
    let length = answer("Content-Length: 5\r\n");
    assert!(parse(&length, HEAD).unwrap().body(HEAD).is_empty());
    assert_eq!(forwarded(&length, HEAD), length);
    let chunked = answer("Transfer-Encoding: chunked\r\n");
    assert!(parse(&chunked, HEAD).unwrap().body(HEAD).is_empty());
    assert_eq!(forwarded(&chunked, HEAD), answer(""));
    let cached = "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n";
    assert!(parse(cached, GET).unwrap().body(GET).is_empty());
    assert_eq!(forwarded(cached, GET), cached);
    let empty = "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n";
    assert!(parse(empty, GET).unwrap().body(GET).is_empty());
    assert_eq!(forwarded(empty, GET), "HTTP/1.1 204 No Content\r\n\r\n");
    let early = parse("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n", GET).unwrap();
    assert!(early.is_interim() && early.body(GET).is_empty());
}

#[test]
fn close_delimited_answers_are_chunked_for_1_1_and_closed_for_1_0() {
    let input = answer("Connection: close\r\n");
    let head = parse(&input, GET).unwrap();
    assert!(matches!(head.body(GET), Body::UntilClose));
    assert_eq!(head.encoding(GET), (Encoder::Chunked, Persistence::KeepAlive));
    assert_eq!(head.encoding(OLD), (Encoder::Plain, Persistence::Close));
    assert_eq!(head.persistence(GET), Persistence::Close);
    assert_eq!(forwarded(&input, GET), answer("Transfer-Encoding: chunked\r\n"));
}

#[test]
fn connection_options_and_what_they_name_stay_here() {
    let input = answer(
        "Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5, max=9\r\nContent-Length: 0\r\n",
    );
    let head = parse(&input, GET).unwrap();
    assert_eq!(head.keep_alive_timeout(), Some(5));
    assert_eq!(forwarded(&input, GET), answer("Content-Length: 0\r\n"));
    assert_eq!(forwarded(&input, OLD), answer("Content-Length: 0\r\nConnection: keep-alive\r\n"));
}

#[test]
fn an_answer_says_whether_it_is_dated() {
    for (fields, dated) in [("Date: now\r\n", true), ("dATE:\r\n", true), ("Data: a\r\n", false)] {
        assert_eq!(parse(&answer(fields), GET).expect("good").is_dated(), dated, "{fields}");
    }
}

#[test]
fn answers_for_shared_caches_are_known() {
    for (fields, shared) in [
        ("", false),
        ("Cache-Control: public\r\n", true),
        ("Cache-Control: no-cache, S-MaxAge=10\r\n", true),
        ("Cache-Control: max-age=10\r\n", true),
        ("Cache-Control: private, max-age=10\r\n", false),
        ("Cache-Control: no-store\r\nExpires: Thu, 19 Nov 1981 08:52:00 GMT\r\n", false),
        ("Expires: Thu, 19 Nov 2081 08:52:00 GMT\r\n", true),
        ("Expires: 0\r\n", false),
        ("Cache-Control: no-cache\r\n", false),
    ] {
        let input = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n");
        let to = AnswerTo { head: false, upgrade: false, version: Version::Http11 };
        assert_eq!(parse(&input, to).expect("good").is_shared(), shared, "{fields}");
    }
}
