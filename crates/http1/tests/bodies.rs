//! Bodies: where they end, however they are split, and what comes out on the other side.

use http1::{Body, Encoder, Fault};
use proptest::prelude::*;

/// Reads `input` in pieces of the given sizes; gives data, trailers and what is left.
fn read(mut body: Body, input: &[u8], cuts: &[usize]) -> Result<(Vec<u8>, Vec<u8>, usize), Fault> {
    let mut data = Vec::new();
    let (mut pos, mut seen) = (0, 0);
    let mut cuts = cuts.iter().copied().chain(std::iter::repeat(input.len()));
    loop {
        let step = body.read(&input[pos..seen])?;
        data.extend_from_slice(&input[pos + step.skip..pos + step.skip + step.data]);
        pos += step.skip + step.data;
        if step.done {
            return Ok((data, body.trailers().to_vec(), input.len() - pos));
        }
        if step.skip + step.data == 0 {
            if seen == input.len() {
                return Ok((data, b"unfinished".to_vec(), 0));
            }
            seen = input.len().min(seen + cuts.next().unwrap_or(1).max(1));
        }
    }
}

fn chunked(input: &str) -> Result<(String, String, usize), Fault> {
    let whole = read(Body::chunked(), input.as_bytes(), &[])?;
    let split = read(Body::chunked(), input.as_bytes(), &vec![1; input.len()])?;
    assert_eq!(whole, split, "split and whole differ for {input:?}");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ok((text(whole.0), text(whole.1), whole.2))
}

#[test]
fn chunks_are_joined_and_what_follows_is_left() {
    let (data, trailers, left) = chunked("3\r\nabc\r\n0A\r\n0123456789\r\n0\r\n\r\nGET").unwrap();
    assert_eq!((data.as_str(), trailers.as_str(), left), ("abc0123456789", "", 3));
}

#[test]
fn extensions_are_bounded_and_never_forwarded() {
    assert_eq!(chunked("1;a=b;c=\"d\"\r\nx\r\n0 ; q\r\n\r\n").unwrap().0, "x");
    let long = format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(257));
    assert_eq!(chunked(&long), Err(Fault::ChunkSize));
}

/// RFC 9112, 7.1.1.
#[test]
fn extensions_have_the_form_of_the_rfc() {
    for good in [
        ";a",
        ";a;b",
        ";a=b",
        ";a=b;c",
        ";a=\"\"",
        ";a=\"b;c=d \t\u{e9}\"",
        ";a=\"\\\"\\\\\";b",
        " \t; a",
        "; a = b",
        ";a ;b",
        ";a=\"b\" ;c",
    ] {
        let body = format!("1{good}\r\nx\r\n0{good}\r\n\r\n");
        assert_eq!(chunked(&body).map(|read| read.0), Ok("x".to_owned()), "{good:?}");
    }
    for (bad, fault) in [
        (";", Fault::ChunkExtension),
        (";;a", Fault::ChunkExtension),
        (";a;", Fault::ChunkExtension),
        ("; ", Fault::ChunkExtension),
        (";a ", Fault::ChunkExtension),
        (";a b", Fault::ChunkExtension),
        (";=b", Fault::ChunkExtension),
        (";a=", Fault::ChunkExtension),
        (";a==b", Fault::ChunkExtension),
        (";a=b=c", Fault::ChunkExtension),
        (";a=b c", Fault::ChunkExtension),
        (";a[=b", Fault::ChunkExtension),
        (";a=b\"", Fault::ChunkExtension),
        (";a=\"b\"c", Fault::ChunkExtension),
        (";a=\"b", Fault::ChunkExtension),
        (";a=\"b\\", Fault::ChunkExtension),
        (";\u{e9}", Fault::ChunkExtension),
        (";a=\"\n\"", Fault::BareLf),
        (";a=\"\0\"", Fault::Control),
        (";a=\u{7f}", Fault::Control),
    ] {
        assert_eq!(chunked(&format!("1{bad}\r\nx\r\n0\r\n\r\n")), Err(fault), "{bad:?}");
    }
}

#[test]
fn malformed_chunk_lines_are_refused() {
    for (input, fault) in [
        ("\r\nabc", Fault::ChunkSize),
        ("g\r\n", Fault::ChunkSize),
        ("-1\r\n", Fault::ChunkSize),
        ("0x1\r\n", Fault::ChunkSize),
        ("+1\r\n", Fault::ChunkSize),
        (" 1\r\n", Fault::ChunkSize),
        ("1 \r\n", Fault::ChunkSize),
        ("1 2\r\n", Fault::ChunkSize),
        ("1000000000000000\r\n", Fault::ChunkSize),
        ("1\nx\r\n", Fault::BareLf),
        ("1;a\nx\r\n", Fault::BareLf),
        ("1\rx", Fault::BareCr),
        ("1;\0\r\n", Fault::Control),
        ("1\r\nxy\r\n", Fault::ChunkEnd),
        ("1\r\nx\n", Fault::ChunkEnd),
        ("0\r\n\n", Fault::BareLf),
        ("0\r\n\rx", Fault::BareCr),
        ("0\r\nA: b\n\r\n", Fault::BareLf),
        ("0\r\nA : b\r\n\r\n", Fault::SpaceBeforeColon),
        ("0\r\n A: b\r\n\r\n", Fault::Folded),
    ] {
        assert_eq!(chunked(input), Err(fault), "{input:?}");
    }
}

#[test]
fn valid_trailers_pass_and_forbidden_ones_are_dropped() {
    let input = "0\r\nX-Sum: 1\r\nContent-Length: 9\r\nhost: evil\r\nX-Forwarded-For: e\r\nX-End: 2\r\n\r\nrest";
    let (data, trailers, left) = chunked(input).unwrap();
    assert_eq!((data.as_str(), left), ("", 4));
    assert_eq!(trailers, "X-Sum: 1\r\nX-End: 2\r\n");
    let long = format!("0\r\nA: {}\r\n\r\n", "x".repeat(9000));
    assert_eq!(chunked(&long), Err(Fault::TrailerTooLarge));
}

#[test]
fn a_body_cut_short_is_not_whole() {
    assert!(!Body::length(1).whole_at_close());
    assert!(!Body::chunked().whole_at_close());
    assert!(Body::UntilClose.whole_at_close() && Body::length(0).whole_at_close());
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded_however_it_is_cut(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
        cuts in prop::collection::vec(1_usize..90, 0..60),
        tail in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut wire = Vec::new();
        parts.iter().for_each(|part| Encoder::Chunked.data(part, &mut wire));
        Encoder::Chunked.end(b"", &mut wire);
        wire.extend_from_slice(&tail);
        let (data, _, left) = read(Body::chunked(), &wire, &cuts).unwrap();
        prop_assert_eq!(data, parts.concat());
        prop_assert_eq!(left, tail.len());
    }

    #[test]
    fn a_length_is_kept_to_the_byte(
        input in prop::collection::vec(any::<u8>(), 0..300),
        cuts in prop::collection::vec(1_usize..50, 0..20),
        length in 0_usize..300,
    ) {
        let (data, end, left) = read(Body::length(length as u64), &input, &cuts).unwrap();
        prop_assert_eq!(&data, &input[..length.min(input.len())]);
        if length <= input.len() {
            prop_assert!(end.is_empty() && left == input.len() - length);
        } else {
            prop_assert_eq!(end, b"unfinished");
        }
    }

    #[test]
    fn arbitrary_chunks_never_panic_and_never_depend_on_the_split(
        input in "([0-9a-f;= \r\n\tx:]|\r\n|0\r\n){0,60}",
        cuts in prop::collection::vec(1_usize..9, 0..30),
    ) {
        let whole = read(Body::chunked(), input.as_bytes(), &[]);
        let split = read(Body::chunked(), input.as_bytes(), &cuts);
        prop_assert_eq!(whole, split);
    }
}
