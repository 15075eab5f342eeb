//! The forms of a request target (RFC 9112, 3.2). Never decodes or normalises a path.

use crate::fault::{Fault, Refused};
use crate::fields::Span;
use crate::host::is_authority;

/// A parsed target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ParsedTarget {
    /// Path and query as forwarded. Empty stands for `/` (or `*`, see `asterisk`).
    pub path: Span,
    /// The authority of an absolute target.
    pub authority: Option<Span>,
    /// True if the target is the whole server, not a resource.
    pub asterisk: bool,
}

/// Parses the target at `span`.
pub(crate) fn parse(input: &[u8], method: &[u8], span: Span) -> Result<ParsedTarget, Refused> {
    let text = span.of(input);
    if method == b"CONNECT" {
        return Err(if is_tunnel(text) { Refused::Connect } else { Fault::Target.into() });
    }
    let plain = ParsedTarget { path: span, authority: None, asterisk: false };
    match text {
        [b'/', ..] => Ok(plain),
        b"*" if method == b"OPTIONS" => Ok(ParsedTarget { asterisk: true, ..plain }),
        _ => absolute(method, text, span),
    }
}

/// Returns whether this is a valid target of a tunnel: a host and, unlike in an authority, always a port
/// (RFC 9112, 3.2.3).
fn is_tunnel(text: &[u8]) -> bool {
    is_authority(text) && text.contains(&b':') && matches!(text.last(), Some(b'0'..=b'9'))
}

fn absolute(method: &[u8], text: &[u8], span: Span) -> Result<ParsedTarget, Refused> {
    let scheme = [&b"http://"[..], b"https://"].into_iter().find(|scheme| {
        text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    let scheme = scheme.ok_or(Fault::Target)?;
    let rest = &text[scheme.len()..];
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    if !is_authority(&rest[..end]) {
        return Err(Fault::Target.into());
    }
    let start = span.start as usize + scheme.len();
    Ok(ParsedTarget {
        path: Span::new(start + end, span.end as usize),
        authority: Some(Span::new(start, start + end)),
        asterisk: end == rest.len() && method == b"OPTIONS",
    })
}
