//! The head of a request after parsing: its parts, as offsets into the input, and the way it is rewritten
//! for the upstream. Hop-by-hop fields and fields with which a client could deceive the app are left out,
//! and the proxy's own are added. Never judges a head; the parser does that.

use alloc::vec::Vec;

use crate::accept::Preference;
use crate::body::Body;
use crate::cookies;
use crate::fields::Span;
use crate::forward::{Forwarding, HOPS, Passed, RequestField, field, number_field};
use crate::host::host_of;
use crate::semantics::{ConnectionTokens, Persistence, Version, is_idempotent};
use crate::target::ParsedTarget;

/// The expectation of a request before it sends its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// Nothing.
    None,
    /// `100-continue`: the client waits for the server's go-ahead.
    Continue,
}

/// A valid request head: offsets into the input that the parser was given.
#[derive(Clone, Debug)]
pub struct RequestHead {
    pub(crate) method: Span,
    pub(crate) target: ParsedTarget,
    pub(crate) fields: Vec<RequestField>,
    pub(crate) host: Option<Span>,
    pub(crate) upgrade: Option<Span>,
    pub(crate) version: Version,
    pub(crate) options: ConnectionTokens,
    pub(crate) content_length: Option<u64>,
    pub(crate) chunked: bool,
    pub(crate) accept: Preference,
    pub(crate) own_cookies: bool,
    pub(crate) expect: Option<Span>,
    pub(crate) relayed: Relayed,
}

/// The fields about the proxies that a request has passed, and may still pass.
#[derive(Clone, Debug, Default)]
pub(crate) struct Relayed {
    pub(crate) max_forwards: Option<u64>,
    pub(crate) hops: u64,
    /// The first name of a field in which a proxy describes its client.
    pub(crate) claim: Option<Span>,
    /// True if another field shows that a proxy has passed the request on.
    pub(crate) tells_of_a_proxy: bool,
}

impl RequestHead {
    pub(crate) fn new() -> Self {
        Self {
            method: Span::default(),
            target: ParsedTarget::default(),
            fields: Vec::new(),
            host: None,
            upgrade: None,
            version: Version::Http11,
            options: ConnectionTokens::default(),
            content_length: None,
            chunked: false,
            accept: Preference::default(),
            own_cookies: false,
            expect: None,
            relayed: Relayed::default(),
        }
    }

    /// Returns the method.
    pub fn method<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        self.method.of(input)
    }

    /// Returns the path and the query as they will be forwarded.
    pub fn target<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        match self.target.path.of(input) {
            b"" if self.target.asterisk => b"*",
            b"" => b"/",
            path => path,
        }
    }

    /// Returns the path without the query.
    pub fn path<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        let target = self.target(input);
        match target.iter().position(|&b| b == b'?') {
            Some(0) => b"/",
            Some(end) => &target[..end],
            None => target,
        }
    }

    /// Returns the host and port that the client asked for: an absolute target's authority, else `Host`.
    /// Empty only in HTTP/1.0.
    pub fn authority<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        self.target.authority.or(self.host).map_or(&[], |span| span.of(input))
    }

    /// Returns the authority without its port, as the client wrote it: letters may be of either case.
    pub fn host<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        host_of(self.authority(input))
    }

    /// Returns the version that the client speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns whether the client would use the connection again.
    pub fn persistence(&self) -> Persistence {
        self.options.persistence(self.version)
    }

    /// Returns the framing of the body.
    pub fn body(&self) -> Body {
        match (self.chunked, self.content_length) {
            (true, _) => Body::chunked(),
            (false, Some(length)) => Body::length(length),
            (false, None) => Body::length(0),
        }
    }

    /// Returns the length of the body, if it is declared.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// Returns how many more times an OPTIONS or TRACE request may be forwarded, this time included. At 0
    /// the proxy answers it itself (RFC 9110, 7.6.2). For other methods the field has no meaning.
    pub fn max_forwards(&self) -> Option<u64> {
        self.relayed.max_forwards
    }

    /// Returns how many proxies of this kind have passed the request on, as they report it.
    pub fn hops(&self) -> u64 {
        self.relayed.hops
    }

    /// Returns what the client waits for before it sends the body. HTTP/1.0 has no expectations.
    pub fn expectation(&self) -> Expectation {
        match (self.expect, self.version) {
            (Some(_), Version::Http11) => Expectation::Continue,
            (Some(_), Version::Http10) | (None, _) => Expectation::None,
        }
    }

    /// Returns whether the client asks for another protocol on this connection.
    pub fn asks_upgrade(&self) -> bool {
        self.upgrade.is_some()
    }

    /// Returns whether the client prefers JSON to HTML, for answers of the proxy itself.
    pub fn prefers_json(&self) -> bool {
        self.accept.is_json()
    }

    /// Returns whether the method allows the request to be sent twice.
    pub fn is_idempotent(&self, input: &[u8]) -> bool {
        is_idempotent(self.method(input))
    }

    /// Returns whether a sender says that it has passed the request on for its client.
    pub fn is_passed_on(&self) -> bool {
        self.relayed.tells_of_a_proxy || self.relayed.claim.is_some()
    }

    /// Returns the first name of a field in which a proxy describes its client. Such a field is passed on
    /// only if that proxy is trusted.
    pub fn claim<'a>(&self, input: &'a [u8]) -> Option<&'a [u8]> {
        self.relayed.claim.map(|span| span.of(input))
    }

    /// Returns whether the answer has no body, whatever its head says.
    pub fn is_head(&self, input: &[u8]) -> bool {
        self.method(input) == b"HEAD"
    }

    /// Returns the values of all fields with this lower-case name.
    pub fn values<'a>(&'a self, input: &'a [u8], name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let same =
            move |field: &&RequestField| field.span.name.of(input).eq_ignore_ascii_case(name);
        self.fields.iter().filter(same).map(move |field| field.span.value.of(input))
    }

    /// Clears the head, but keeps the memory.
    pub(crate) fn clear(&mut self) {
        let mut fields = core::mem::take(&mut self.fields);
        fields.clear();
        *self = Self { fields, ..Self::new() };
    }

    /// Returns the values of the proxy's own cookies with this name. Costs nothing if there are none.
    pub fn own_cookies<'a>(
        &'a self,
        input: &'a [u8],
        name: &'a [u8],
    ) -> impl Iterator<Item = &'a [u8]> {
        self.own_cookies.then(|| self.cookies(input, name)).into_iter().flatten()
    }

    /// Returns the values of all cookies with this name.
    pub fn cookies<'a>(
        &'a self,
        input: &'a [u8],
        name: &'a [u8],
    ) -> impl Iterator<Item = &'a [u8]> {
        self.values(input, b"cookie").flat_map(move |value| cookies::named(value, name))
    }

    /// Writes the head for the upstream, the empty line included. `input` is the input that was parsed.
    pub fn forward(&self, input: &[u8], with: &Forwarding<'_>, out: &mut Vec<u8>) {
        let authority = self.authority(input);
        out.extend_from_slice(self.method(input));
        out.push(b' ');
        let target = self.target(input);
        let (prefix, rest) = target.split_at_checked(with.strip).unwrap_or((b"", target));
        // The rest may be `?query`, of an absolute target without a path, or empty, if all is stripped.
        if !matches!(rest.first(), Some(b'/' | b'*')) {
            out.push(b'/');
        }
        out.extend_from_slice(rest);
        out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
        out.extend_from_slice(authority);
        out.extend_from_slice(b"\r\n");
        self.kept_fields(input, with.is_trusted, out);
        if self.body().is_chunked() {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        if let Some(protocol) = self.upgrade {
            out.extend_from_slice(b"Connection: upgrade\r\n");
            field(out, b"Upgrade", protocol.of(input));
        }
        field(out, b"X-Forwarded-For", with.client);
        field(out, b"X-Real-IP", with.client);
        field(out, b"X-Forwarded-Proto", with.proto);
        field(out, b"X-Forwarded-Port", with.port);
        match self.relayed.hops {
            // This proxy is nearly always the first one.
            0 => out.extend_from_slice(b"X-Segue-Hops: 1\r\n"),
            hops => number_field(out, HOPS, hops.saturating_add(1)),
        }
        if !authority.is_empty() {
            field(out, b"X-Forwarded-Host", authority);
        }
        if !prefix.is_empty() {
            field(out, b"X-Forwarded-Prefix", prefix);
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Copies the kept fields in runs: most heads have one or two runs.
    fn kept_fields(&self, input: &[u8], is_trusted: bool, out: &mut Vec<u8>) {
        let mut run = 0..0;
        for field in &self.fields {
            match field.passed {
                Passed::Whole => {}
                Passed::Claim if is_trusted => {}
                Passed::WithoutOurs => {
                    out.extend_from_slice(input.get(run.clone()).unwrap_or_default());
                    run = 0..0;
                    cookies::write_others(field.span.value.of(input), out);
                    continue;
                }
                Passed::Length => {
                    out.extend_from_slice(input.get(run.clone()).unwrap_or_default());
                    run = 0..0;
                    let length = self.content_length().unwrap_or_default();
                    number_field(out, b"Content-Length", length);
                    continue;
                }
                Passed::MaxForwards => {
                    out.extend_from_slice(input.get(run.clone()).unwrap_or_default());
                    run = 0..0;
                    let left = self.max_forwards().unwrap_or_default().saturating_sub(1);
                    number_field(out, b"Max-Forwards", left);
                    continue;
                }
                Passed::Claim | Passed::Not => continue,
            }
            let line = field.span.line;
            if line.start as usize != run.end {
                out.extend_from_slice(input.get(run.clone()).unwrap_or_default());
                run.start = line.start as usize;
            }
            run.end = line.end as usize;
        }
        out.extend_from_slice(input.get(run).unwrap_or_default());
    }

    /// Returns whether the client waits for a 100 before it sends its body.
    pub fn awaits_continue(&self) -> bool {
        self.expectation() == Expectation::Continue
    }
}
