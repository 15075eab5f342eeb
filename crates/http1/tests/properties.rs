//! Properties of heads: no panic, no dependence on splits, and what we write reads the same again.

use http1::{
    After, AnswerTo, Forwarding, Progress, RequestLimits, RequestParser, ResponseParser, Version,
};
use proptest::prelude::*;

const PARTS: &[&str] = &[
    "GET ",
    "POST ",
    "/ ",
    "/a?b ",
    "http://h/ ",
    "HTTP/1.1",
    "HTTP/1.0",
    "\r\n",
    "\n",
    "\r",
    "Host: a",
    "Host:",
    "Content-Length: 3",
    "Content-Length: 03",
    "Transfer-Encoding: chunked",
    "Connection: x",
    "Connection: upgrade, close",
    "Upgrade: ws",
    "x: y",
    " ",
    ":",
    "\0",
    "Cookie: a=b",
    "é",
    "* ",
    "HTTP/1.1 200 OK",
    "HTTP/1.1 101 X",
    "X : y",
    "\r\n folded",
    "Expect: 100-continue",
    "\r\n\r\n",
];

/// Bytes that look enough like HTTP to get past the first line.
fn almost_http() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(PARTS).prop_map(|part| part.as_bytes().to_vec());
    let noise = prop::collection::vec(any::<u8>(), 0..4);
    let lines = prop::sample::select(PARTS).prop_map(|part| format!("{part}\r\n").into_bytes());
    prop::collection::vec(prop_oneof![4 => words, 1 => noise, 8 => lines], 0..16)
        .prop_map(|parts| parts.concat())
}

fn request_in_pieces(input: &[u8], cuts: &[usize]) -> Result<Progress, http1::Refused> {
    let mut parser = RequestParser::new(RequestLimits { head: 200, ..RequestLimits::default() });
    let mut seen = 0;
    for cut in cuts.iter().copied().chain([input.len()]) {
        seen = input.len().min(seen + cut);
        match parser.parse(&input[..seen])? {
            Progress::Unfinished => {}
            finished @ Progress::Finished(_) => return Ok(finished),
        }
    }
    Ok(Progress::Unfinished)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_split_never_changes_the_verdict_on_a_request(
        input in almost_http(),
        cuts in prop::collection::vec(0_usize..30, 0..30),
    ) {
        prop_assert_eq!(request_in_pieces(&input, &cuts), request_in_pieces(&input, &[]));
    }

    #[test]
    fn what_is_forwarded_reads_the_same_again(
        fields in almost_http(),
        start in prop::sample::select(&["GET / HTTP/1.1\r\nHost: a\r\n", "POST /x HTTP/1.0\r\n", "GET http://b/ HTTP/1.1\r\nHost: a\r\n"][..]),
    ) {
        let input = [start.as_bytes(), &fields, b"\r\n\r\n"].concat();
        let mut parser = RequestParser::new(RequestLimits::default());
        if let Ok(Progress::Finished(_)) = parser.parse(&input) {
            let head = parser.head();
            let mut out = Vec::new();
            let with = Forwarding { client: b"::1", proto: b"http", port: b"80", strip: 0, is_trusted: false };
            head.forward(&input, &with, &mut out);
            if head.authority(&input).is_empty() {
                // An HTTP/1.0 request without Host: what goes on says so, and nothing more.
                prop_assert!(out.windows(8).any(|w| w == b"Host: \r\n"));
            } else {
                let mut again = RequestParser::new(RequestLimits::default());
                prop_assert_eq!(again.parse(&out), Ok(Progress::Finished(out.len())));
                prop_assert_eq!(again.head().target(&out), head.target(&input));
                prop_assert_eq!(again.head().authority(&out), head.authority(&input));
                prop_assert_eq!(again.head().body().is_chunked(), head.body().is_chunked());
                prop_assert_eq!(again.head().content_length(), head.content_length());
                prop_assert_eq!(again.head().asks_upgrade(), head.asks_upgrade());
            }
        }
    }

    #[test]
    fn an_answer_that_is_forwarded_ends_where_it_ended(
        fields in almost_http(),
        status in prop::sample::select(&["HTTP/1.1 200 OK\r\n", "HTTP/1.0 200\r\n", "HTTP/1.1 101 x\r\n", "HTTP/1.1 304 \r\n", "HTTP/1.1 204 x\r\n"][..]),
        head in any::<bool>(),
        upgrade in any::<bool>(),
    ) {
        let to = AnswerTo { head, upgrade, version: Version::Http11 };
        let input = [status.as_bytes(), &fields, b"\r\n\r\n"].concat();
        let mut parser = ResponseParser::new();
        let verdict = parser.parse(&input, to);
        let mut split = ResponseParser::new();
        let mut last = Ok(Progress::Unfinished);
        for end in 0..=input.len() {
            last = split.parse(&input[..end], to);
            if last != Ok(Progress::Unfinished) {
                break;
            }
        }
        prop_assert_eq!(verdict, last);
        if let Ok(Progress::Finished(_)) = verdict {
            let mut out = Vec::new();
            parser.head().forward(&input, to, After::KeepAlive, b"", &mut out);
            let mut again = ResponseParser::new();
            prop_assert_eq!(again.parse(&out, to), Ok(Progress::Finished(out.len())));
            let (before, after) = (parser.head().body(to), again.head().body(to));
            // Close-delimited becomes chunked; everything else keeps its framing.
            let kept = format!("{before:?}") == format!("{after:?}");
            prop_assert!(kept || after.is_chunked());
        }
    }
}
