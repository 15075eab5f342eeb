//! What every input must satisfy. Used by the fuzz targets and, over the corpus, by normal tests.

use http1::{
    AnswerTo, Body, Forwarding, Progress, RequestLimits, RequestParser, ResponseParser, Version,
};

/// A split never changes the verdict, and what is forwarded reads the same again.
pub fn request(input: &[u8]) {
    let mut whole = RequestParser::new(RequestLimits::default());
    let verdict = whole.parse(input);
    let mut split = RequestParser::new(RequestLimits::default());
    let mut last = split.parse(&input[..input.len() / 2]);
    if last == Ok(Progress::Unfinished) {
        last = split.parse(input);
    }
    assert_eq!(verdict, last);
    let Ok(Progress::Finished(_)) = verdict else { return };
    let head = whole.head();
    let mut out = Vec::new();
    head.forward(
        input,
        &Forwarding { client: b"::1", proto: b"http", port: b"80", strip: 0, is_trusted: false },
        &mut out,
    );
    if !head.authority(input).is_empty() {
        let mut again = RequestParser::new(RequestLimits {
            head: 64 << 10,
            fields: 512,
            ..RequestLimits::default()
        });
        assert_eq!(again.parse(&out), Ok(Progress::Finished(out.len())));
        assert_eq!(again.head().body().is_chunked(), head.body().is_chunked());
        assert_eq!(again.head().content_length(), head.content_length());
    }
}

/// A split never changes what a chunked body holds.
pub fn chunked(input: &[u8]) {
    let whole = read(input, input.len());
    assert_eq!(whole, read(input, 1));
    assert_eq!(whole, read(input, 7));
}

fn read(input: &[u8], cut: usize) -> Option<(Vec<u8>, bool, usize)> {
    let mut body = Body::chunked();
    let mut data = Vec::new();
    let (mut pos, mut seen) = (0, 0);
    loop {
        let step = body.read(&input[pos..seen]).ok()?;
        data.extend_from_slice(&input[pos + step.skip..pos + step.skip + step.data]);
        pos += step.skip + step.data;
        if step.done {
            return Some((data, true, pos));
        }
        if step.skip + step.data == 0 {
            if seen == input.len() {
                return Some((data, false, pos));
            }
            seen = input.len().min(seen + cut.max(1));
        }
    }
}

/// A split never changes the verdict on an answer.
pub fn response(input: &[u8]) {
    for (head, upgrade) in [(false, false), (true, false), (false, true)] {
        let to = AnswerTo { head, upgrade, version: Version::Http11 };
        let mut whole = ResponseParser::new();
        let verdict = whole.parse(input, to);
        let mut split = ResponseParser::new();
        let mut last = split.parse(&input[..input.len() / 2], to);
        if last == Ok(Progress::Unfinished) {
            last = split.parse(input, to);
        }
        assert_eq!(verdict, last);
    }
}
