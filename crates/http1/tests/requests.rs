//! The rules for request heads, one test each. Every verdict is the same however the input is split.

use http1::{
    Fault, Forwarding, Progress, Refused, RequestHead, RequestLimits, RequestParser, Version,
};

/// Parses at once and byte by byte, demands the same verdict, and returns it.
fn parse(input: &[u8]) -> Result<Option<(RequestHead, usize)>, Refused> {
    let mut whole = RequestParser::new(RequestLimits::default());
    let verdict = whole.parse(input);
    let mut split = RequestParser::new(RequestLimits::default());
    let mut last = Ok(Progress::Unfinished);
    for end in 0..=input.len() {
        last = split.parse(&input[..end]);
        if last != Ok(Progress::Unfinished) {
            break;
        }
    }
    assert_eq!(verdict, last, "split and whole differ for {:?}", input.escape_ascii().to_string());
    match verdict? {
        Progress::Unfinished => Ok(None),
        Progress::Finished(len) => Ok(Some((whole.head().clone(), len))),
    }
}

#[track_caller]
fn refused(input: &str, why: Refused) {
    assert_eq!(parse(input.as_bytes()).map(|_| ()), Err(why), "{input:?}");
}

#[track_caller]
fn bad(input: &str, fault: Fault) {
    refused(input, Refused::Malformed(fault));
    assert_eq!(Refused::Malformed(fault).status(), 400);
}

#[track_caller]
fn good(input: &str) -> RequestHead {
    let (head, len) = parse(input.as_bytes()).expect(input).expect("a whole head");
    assert_eq!(len, input.len());
    head
}

fn forwarded(input: &str) -> String {
    let mut out = Vec::new();
    let with = Forwarding {
        client: b"192.0.2.7",
        proto: b"http",
        port: b"80",
        strip: 0,
        is_trusted: false,
    };
    good(input).forward(input.as_bytes(), &with, &mut out);
    String::from_utf8(out).expect("text")
}

fn with_fields(fields: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

#[test]
fn a_plain_request_passes() {
    let input = "GET /a?b=c HTTP/1.1\r\nHost: example.com:80\r\nAccept: */*\r\n\r\n";
    let head = good(input);
    let input = input.as_bytes();
    assert_eq!(head.method(input), b"GET");
    assert_eq!(head.path(input), b"/a");
    assert_eq!(head.target(input), b"/a?b=c");
    assert_eq!(head.host(input), b"example.com");
    assert!(head.body().is_empty() && head.is_idempotent(input));
}

#[test]
fn transfer_encoding_together_with_content_length_is_refused() {
    bad(&with_fields("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"), Fault::BothLengths);
    bad(&with_fields("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"), Fault::BothLengths);
}

#[test]
fn any_transfer_encoding_but_exactly_chunked_is_refused() {
    for value in
        ["gzip", "gzip, chunked", "chunked, chunked", "", "\"chunked\"", "xchunked", "chunked;a=b"]
    {
        bad(&with_fields(&format!("Transfer-Encoding: {value}\r\n")), Fault::TransferEncoding);
    }
    bad(
        &with_fields("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        Fault::TransferEncoding,
    );
    for value in ["chunked", "Chunked", "CHUNKED", " chunked\t"] {
        assert!(good(&with_fields(&format!("Transfer-Encoding: {value}\r\n"))).body().is_chunked());
    }
}

#[test]
fn transfer_encoding_in_http_1_0_is_refused() {
    bad("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Fault::TransferEncoding);
}

#[test]
fn only_one_plain_content_length_passes() {
    for value in ["", "+3", "-3", "3 3", "3,3", "3, 3", "0x3", "3a", "1234567890123456789", "3.0"] {
        bad(&with_fields(&format!("Content-Length: {value}\r\n")), Fault::ContentLength);
    }
    bad(&with_fields("Content-Length: 3\r\nContent-Length: 3\r\n"), Fault::ContentLength);
    assert_eq!(good(&with_fields("Content-Length: 003\r\n")).content_length(), Some(3));
}

#[test]
fn bare_line_ends_are_refused() {
    bad("GET / HTTP/1.1\nHost: a\r\n\r\n", Fault::BareLf);
    bad("GET / HTTP/1.1\r\nHost: a\n\r\n", Fault::BareLf);
    bad("GET / HTTP/1.1\r\nHost: a\r\n\n", Fault::BareLf);
    bad("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Fault::BareLf);
    bad("GET / HTTP/1.1\rHost: a\r\n\r\n", Fault::BareCr);
    bad("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", Fault::BareCr);
    bad("GET / HTTP/1.1\r\nHost: a\r\n\rx", Fault::BareCr);
}

#[test]
fn control_characters_and_nul_are_refused() {
    for byte in (0..0x20).chain([0x7f]).filter(|b| !b"\t\r\n".contains(b)) {
        bad(&with_fields(&format!("X: a{}b\r\n", char::from(byte))), Fault::Control);
    }
    bad(&with_fields("X\0: a\r\n"), Fault::Control);
}

#[test]
fn folded_fields_are_refused() {
    bad(&with_fields("X: a\r\n b\r\n"), Fault::Folded);
    bad("GET / HTTP/1.1\r\n Host: a\r\n\r\n", Fault::Folded);
}

#[test]
fn names_are_tokens_right_before_their_colon() {
    bad(&with_fields("X : a\r\n"), Fault::SpaceBeforeColon);
    bad(&with_fields("X\t: a\r\n"), Fault::SpaceBeforeColon);
    for name in [": a", "X(: a", "X@Y: a", "novalue", "\"X\": a", "é: a"] {
        let fields = format!("{name}\r\n");
        assert!(parse(with_fields(&fields).as_bytes()).is_err(), "{name}");
    }
}

#[test]
fn obs_text_tabs_odd_methods_and_raw_targets_pass() {
    assert!(parse(b"GET / HTTP/1.1\r\nHost: a\r\nX: \xe9\tb\xff\r\n\r\n").unwrap().is_some());
    good("patch / HTTP/1.1\r\nHost: a\r\n\r\n");
    good("M-SEARCH /a|b{c}\"<>^`\\ HTTP/1.1\r\nHost: a_b\r\n\r\n");
}

#[test]
fn one_empty_line_before_a_request_passes_and_two_do_not() {
    good("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(parse(b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").is_err());
}

#[test]
fn targets_are_visible_ascii_without_a_fragment() {
    for target in
        ["/a#b", "/\u{e9}", "/a\u{7f}", "a", "*", "//", "http://", "ftp://a/", "http://u@h/"]
    {
        let verdict = parse(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        assert_eq!(verdict.is_err(), target != "//", "{target}");
    }
    bad("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Fault::Target);
    bad("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", Fault::StartLine);
    bad("GET /\r\n\r\n", Fault::Target);
}

#[test]
fn lengths_are_checked_on_an_unfinished_head() {
    refused(&format!("GET /{}", "a".repeat(8192)), Refused::TargetTooLong);
    bad(&"M".repeat(33), Fault::NotAToken);
    refused(&format!("GET / HTTP/1.1\r\n{}", "n".repeat(257)), Refused::HeadTooLarge);
    refused(&format!("GET / HTTP/1.1\r\nX: {}", "v".repeat(32 << 10)), Refused::HeadTooLarge);
    assert_eq!(Refused::TargetTooLong.status(), 414);
    assert_eq!(Refused::HeadTooLarge.status(), 431);
    good(&format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(8191)));
    good(&with_fields(&format!("{}: v\r\n", "n".repeat(256))));
}

#[test]
fn host_is_one_valid_authority() {
    bad("GET / HTTP/1.1\r\nAccept: */*\r\n\r\n", Fault::Host);
    bad("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Fault::Host);
    for host in ["", "a b", "a/b", "u@a", "a:b", "[::1", "a,b c", "a?b"] {
        bad(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), Fault::Host);
    }
    good("GET / HTTP/1.0\r\n\r\n");
    good("GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n");
}

#[test]
fn an_absolute_target_wins_over_host() {
    let out = forwarded("GET HTTP://b.example:81/x?y HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(out.starts_with("GET /x?y HTTP/1.1\r\nHost: b.example:81\r\n"), "{out}");
    assert!(!out.contains("Host: a\r\n"));
    let out = forwarded("GET http://b?y HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(out.starts_with("GET /?y HTTP/1.1\r\nHost: b\r\n"), "{out}");
    let out = forwarded("OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(out.starts_with("OPTIONS * HTTP/1.1\r\nHost: b\r\n"), "{out}");
}

#[test]
fn asterisk_is_for_options_and_connect_is_refused() {
    good("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    bad("GET * HTTP/1.1\r\nHost: a\r\n\r\n", Fault::Target);
    for target in ["a:443", "[::1]:443"] {
        refused(&format!("CONNECT {target} HTTP/1.1\r\nHost: a\r\n\r\n"), Refused::Connect);
    }
    for target in ["/a", "a", "a:", "[::1]", "http://a:443/", "a:443/", "u@a:443", "*"] {
        bad(&format!("CONNECT {target} HTTP/1.1\r\nHost: a\r\n\r\n"), Fault::Target);
    }
    assert_eq!(Refused::Connect.status(), 405);
}

#[test]
fn fields_are_counted_and_cookie_crumbs_apart() {
    good(&with_fields(&"a: b\r\n".repeat(127)));
    refused(&with_fields(&"a: b\r\n".repeat(128)), Refused::HeadTooLarge);
    good(&with_fields(&("a: b\r\n".repeat(127) + &"cookie: b\r\n".repeat(256))));
    refused(&with_fields(&"cookie: b\r\n".repeat(257)), Refused::HeadTooLarge);
}

#[test]
fn other_expectations_are_refused_and_none_is_known_in_http_1_0() {
    let head = good(&with_fields("Expect: 100-Continue\r\nContent-Length: 1\r\n"));
    assert!(head.awaits_continue());
    refused(&with_fields("Expect: 200-ok\r\n"), Refused::Expectation);
    let old = "POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n";
    assert!(!good(old).awaits_continue() && !forwarded(old).contains("Expect"));
}

/// waitress waits for the body that the field announces, though there is none.
#[test]
fn an_expectation_without_a_body_is_not_passed_on() {
    for fields in ["Expect: 100-continue\r\n", "Content-Length: 0\r\nExpect: 100-continue\r\n"] {
        let input = with_fields(fields);
        assert!(!good(&input).awaits_continue());
        assert!(!forwarded(&input).contains("Expect"), "{input}");
    }
    let input = with_fields("Expect: 100-continue\r\nContent-Length: 1\r\n");
    assert!(good(&input).awaits_continue() && forwarded(&input).contains("Expect: 100-continue"));
    let input = with_fields("Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n");
    assert!(good(&input).awaits_continue() && forwarded(&input).contains("Expect: 100-continue"));
}

/// The parser that Node had before llhttp, and uvicorn still has, refuses a space behind a length.
#[test]
fn a_length_is_passed_on_in_one_spelling() {
    for odd in
        ["content-length:5", "Content-Length:\t5", "Content-Length: 5 ", "Content-Length: 005"]
    {
        let input = with_fields(&format!("A: b\r\n{odd}\r\nC: d\r\n"));
        let passed = forwarded(&input);
        assert!(passed.contains("\r\nA: b\r\nContent-Length: 5\r\nC: d\r\n"), "{passed}");
    }
    let plain = with_fields("content-LENGTH: 0\r\n");
    assert!(forwarded(&plain).contains("\r\ncontent-LENGTH: 0\r\n"));
    let zeros = with_fields("Content-Length: 000\r\n");
    assert!(forwarded(&zeros).contains("\r\nContent-Length: 0\r\n"));
}

#[test]
fn what_connection_names_is_removed_but_not_the_essential() {
    let out = forwarded(&with_fields("X-A: 1\r\nConnection: x-a, close\r\nX-B: 2\r\n"));
    assert!(!out.contains("X-A") && out.contains("X-B: 2") && !out.contains("Connection"), "{out}");
    let essential = [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "X-Forwarded-For",
        "X_Real_IP",
        "Forwarded",
    ];
    for name in essential {
        bad(&with_fields(&format!("Connection: {name}\r\n")), Fault::Connection);
    }
}

/// RFC 9110, 7.6.2.
#[test]
fn max_forwards_counts_down_for_options_and_trace_alone() {
    let asked = |method: &str, fields: &str| {
        format!("{method} / HTTP/1.1\r\nHost: a\r\nA: b\r\n{fields}C: d\r\n\r\n")
    };
    for method in ["OPTIONS", "TRACE"] {
        for (value, left) in
            [("1", "0"), ("010", "9"), ("999999999999999999", "999999999999999998")]
        {
            let input = asked(method, &format!("max-forwards:{value}\r\n"));
            let passed = forwarded(&input);
            let expected = format!("\r\nA: b\r\nMax-Forwards: {left}\r\nC: d\r\n");
            assert!(passed.contains(&expected), "{passed}");
        }
        assert_eq!(good(&asked(method, "Max-Forwards: 0\r\n")).max_forwards(), Some(0));
        assert_eq!(good(&asked(method, "")).max_forwards(), None);
        for fields in ["Max-Forwards: x\r\n", "Max-Forwards:\r\n", "Max-Forwards: 1, 1\r\n"] {
            bad(&asked(method, fields), Fault::MaxForwards);
        }
        bad(&asked(method, "Max-Forwards: 1\r\nMax-Forwards: 1\r\n"), Fault::MaxForwards);
    }
    let other = asked("GET", "Max-Forwards: x\r\n");
    assert!(forwarded(&other).contains("\r\nMax-Forwards: x\r\n"));
    assert_eq!(good(&other).max_forwards(), None);
}

/// RFC 9110, 9.3.8.
#[test]
fn a_trace_with_a_body_is_refused() {
    good("TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    for fields in ["Content-Length: 1", "Transfer-Encoding: chunked"] {
        bad(&format!("TRACE / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"), Fault::TraceBody);
    }
}

#[test]
fn an_upgrade_needs_both_fields_and_is_never_h2c() {
    let both = with_fields("Connection: Upgrade\r\nUpgrade: websocket\r\n");
    assert!(good(&both).asks_upgrade());
    assert!(forwarded(&both).contains("Connection: upgrade\r\nUpgrade: websocket\r\n"));
    for fields in [
        "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n",
        // Whoever expects a 100 must get it before the 101 (RFC 9110, 7.8).
        "Connection: upgrade\r\nUpgrade: websocket\r\nExpect: 100-continue\r\n",
        "Upgrade: websocket\r\n",
        "Connection: upgrade\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n",
    ] {
        assert!(!good(&with_fields(fields)).asks_upgrade());
        let out = forwarded(&with_fields(fields));
        assert!(!out.contains("pgrade") && !out.contains("HTTP2"), "{out}");
    }
}

#[test]
fn versions_other_than_1_0_and_1_1_are_refused() {
    for version in ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "HTTP/3.0"] {
        refused(&format!("GET / {version}\r\nHost: a\r\n\r\n"), Refused::Version);
    }
    for version in ["http/1.1", "HTTP/1", "HTTP/11", "HTTP/1.1 "] {
        bad(&format!("GET / {version}\r\nHost: a\r\n\r\n"), Fault::StartLine);
    }
    assert_eq!(good("GET / HTTP/1.0\r\n\r\n").version(), Version::Http10);
}

#[test]
fn a_client_cannot_set_what_the_app_trusts_us_to_set() {
    let fields = "X-Forwarded-For: 1.1.1.1\r\nx_forwarded_for: 1.1.1.1\r\nX-Segue-Cohort: qa\r\n\
        Proxy: evil\r\nX-Original-URL: /admin\r\nX_Rewrite_Url: /admin\r\nForwarded: for=1.1.1.1\r\n\
        X-SSL-Client-Verify: SUCCESS\r\nX-Real-IP: 1.1.1.1\r\nKeep-Alive: 5\r\nTE: trailers\r\nX-Ok: 1\r\n";
    let out = forwarded(&with_fields(fields));
    let expected = "POST / HTTP/1.1\r\nHost: a\r\nX-Ok: 1\r\nX-Forwarded-For: 192.0.2.7\r\n\
        X-Real-IP: 192.0.2.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Port: 80\r\n\
        X-Segue-Hops: 1\r\nX-Forwarded-Host: a\r\n\r\n";
    assert_eq!(out, expected);
}

#[test]
fn what_other_proxies_say_of_their_clients_passes_from_a_trusted_one_alone() {
    let fields = "X-Forwarded-Ssl: on\r\nX-A: 1\r\nCF.Connecting_IP: 6.6.6.6\r\nRemote-User: root\r\n\
        X-Forwarded-For: 1.1.1.1\r\nX-Client-IP: 6.6.6.6\r\nX-B: 2\r\nTrue-Client-IP: 6.6.6.6\r\n";
    let input = with_fields(fields);
    let head = good(&input);
    assert!(head.is_passed_on());
    assert_eq!(head.claim(input.as_bytes()), Some(&b"X-Forwarded-Ssl"[..]));
    let written = |is_trusted| {
        let mut out = Vec::new();
        let with = Forwarding { client: b"::1", proto: b"http", port: b"80", strip: 0, is_trusted };
        head.forward(input.as_bytes(), &with, &mut out);
        let text = String::from_utf8(out).expect("text");
        text[..text.find("X-Forwarded-For: ::1").expect("ours")].to_owned()
    };
    let start = "POST / HTTP/1.1\r\nHost: a\r\n";
    assert_eq!(written(false), format!("{start}X-A: 1\r\nX-B: 2\r\n"));
    let kept = fields.replace("X-Forwarded-For: 1.1.1.1\r\n", "");
    assert_eq!(written(true), format!("{start}{kept}"));
    for (field, passed_on) in [("Via: 1.1 a", true), ("Forwarded: for=a", true), ("X: y", false)] {
        assert_eq!(
            good(&with_fields(&format!("{field}\r\n"))).is_passed_on(),
            passed_on,
            "{field}"
        );
    }
}

#[test]
fn what_follows_the_head_is_not_looked_at() {
    let input = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\0\xff";
    let (_, len) = parse(input).unwrap().unwrap();
    assert_eq!(len, input.len() - 2);
}

#[test]
fn a_parser_is_used_again() {
    let mut parser = RequestParser::new(RequestLimits::default());
    let first = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nConnection: close, x\r\n\r\n";
    assert_eq!(parser.parse(first), Ok(Progress::Finished(first.len())));
    parser.restart();
    let second = b"GET / HTTP/1.1\r\nHost: b\r\nX: y\r\n\r\n";
    assert_eq!(parser.parse(second), Ok(Progress::Finished(second.len())));
    let head = parser.head();
    assert!(head.body().is_empty() && head.persistence() == http1::Persistence::KeepAlive);
    assert_eq!(head.values(second, b"x").collect::<Vec<_>>(), [b"y"]);
}

#[test]
fn our_own_cookies_are_read_and_never_passed_on_and_others_are() {
    for (cookies, passed) in [
        ("Cookie: a=1; __segue_web=x; b=2", Some("Cookie: a=1; b=2")),
        ("Cookie: __segue_web=x", None),
        ("Cookie:  __segue_web=x ;__segue_other=y", None),
        ("cookie: a=\"__segue_web\"; b__segue_=1", Some("cookie: a=\"__segue_web\"; b__segue_=1")),
        ("Cookie: __segue_web", None),
        ("Cookie: __segue_web=x;", None),
        ("Cookie: a=1;b=2;__segue_web=x", Some("Cookie: a=1; b=2")),
    ] {
        let input = format!("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n{cookies}\r\nY: 2\r\n\r\n");
        let out = forwarded(&input);
        assert!(!out.contains("__segue_web=") && !out.contains("__segue_other"), "{out}");
        let middle = passed.map_or(String::new(), |line| format!("{line}\r\n"));
        assert!(out.contains(&format!("X: 1\r\n{middle}Y: 2\r\n")), "{out}");
    }
    let input = "GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1; __segue_web=x; a=2\r\n\
                 Cookie: __segue_web=y; __segue_web2=z\r\n\r\n";
    let head = good(input);
    let values = |name| -> Vec<_> { head.cookies(input.as_bytes(), name).collect() };
    assert_eq!(values(b"a"), [b"1", b"2"]);
    let ours: Vec<_> = head.own_cookies(input.as_bytes(), b"__segue_web").collect();
    assert_eq!(ours, [b"x", b"y"]);
    assert_eq!(values(b"seg"), [b""; 0]);
}

#[test]
fn a_prefix_is_cut_off_and_told_and_a_client_cannot_tell_one() {
    let stripped = |target: &str, strip: usize| {
        let input = format!("GET {target} HTTP/1.1\r\nHost: a\r\nX-Forwarded-Prefix: /lie\r\n\r\n");
        let with =
            Forwarding { client: b"::1", proto: b"http", port: b"80", strip, is_trusted: false };
        let mut out = Vec::new();
        good(&input).forward(input.as_bytes(), &with, &mut out);
        let text = String::from_utf8(out).expect("text");
        let target = text.split(' ').nth(1).expect("a target").to_owned();
        let told = text.lines().find_map(|line| line.strip_prefix("X-Forwarded-Prefix: "));
        (target, told.map(ToOwned::to_owned))
    };
    for (target, strip, expected) in [
        ("/api/x?y=/api", 4, "/x?y=/api"),
        ("/api", 4, "/"),
        ("/api/", 4, "/"),
        ("/api?q", 4, "/?q"),
        ("http://a/api/x", 4, "/x"),
        ("http://a/api?q", 4, "/?q"),
    ] {
        assert_eq!(stripped(target, strip), (expected.to_owned(), Some("/api".to_owned())));
    }
    assert_eq!(stripped("/api/x", 0), ("/api/x".to_owned(), None));
    assert_eq!(stripped("http://a?q", 0), ("/?q".to_owned(), None));
}
