//! Answers of the proxy itself: small, plain, and without any internal details.

use http1::{After, Version};

use crate::date::DateLine;
use crate::redirect::Elsewhere;

/// An answer of the proxy itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ErrorPage {
    pub(crate) status: u16,
    /// One sentence for the reader; empty for an answer without a body.
    pub(crate) text: &'static str,
    /// Seconds after which to try again.
    pub(crate) retry_after_s: Option<u32>,
}

impl ErrorPage {
    pub(crate) const fn new(status: u16, text: &'static str) -> Self {
        Self { status, text, retry_after_s: None }
    }

    /// The answer to OPTIONS, with the methods that are allowed here.
    pub(crate) const OPTIONS: Self = Self::new(200, "");
    pub(crate) const NO_TRACE: Self = Self::new(405, "TRACE is not offered here.");
    pub(crate) const NO_APP: Self = Self::new(404, "Nothing is served under this address.");
    pub(crate) const TOO_LARGE: Self = Self::new(413, "The request's body is too large.");
    pub(crate) const TIMEOUT: Self = Self::new(408, "The request took too long to arrive.");
    pub(crate) const BAD_GATEWAY: Self = Self::new(502, "The application gave no valid answer.");
    pub(crate) const CIRCLE: Self =
        Self::new(508, "The request goes round in a circle of proxies.");
    pub(crate) const GATEWAY_TIMEOUT: Self = Self::new(504, "The application took too long.");
    pub(crate) const CROWDED: Self = Self {
        status: 503,
        text: "There are too many connections at the moment.",
        retry_after_s: Some(1),
    };
    pub(crate) const UNAVAILABLE: Self = Self {
        status: 503,
        text: "The application cannot answer at the moment.",
        retry_after_s: Some(1),
    };

    /// Returns the page for a request that is refused.
    pub(crate) const fn refused(refused: http1::Refused) -> Self {
        let text = match refused {
            http1::Refused::Malformed(_) => "The request is malformed.",
            http1::Refused::Connect => "CONNECT is not offered here.",
            http1::Refused::TargetTooLong => "The address is too long.",
            http1::Refused::Expectation => "The expectation is not known here.",
            http1::Refused::HeadTooLarge => "The request's head is too large.",
            http1::Refused::Version => "Only HTTP/1.0 and HTTP/1.1 are spoken here.",
        };
        Self::new(refused.status(), text)
    }

    /// Writes the answer.
    pub(crate) fn write(self, form: Form, date: &DateLine, out: &mut Vec<u8>) {
        self.reply(form, |reply| reply.write(form, date, out));
    }

    /// Calls `then` with the answer, in the form that suits the client.
    pub(crate) fn reply(self, form: Form, then: impl FnOnce(&LocalReply<'_>)) {
        self.reply_at(None, form, then);
    }

    /// Calls `then` with a redirect.
    pub(crate) fn reply_moved(moved: &Elsewhere, form: Form, then: impl FnOnce(&LocalReply<'_>)) {
        let page = Self::new(moved.status, "This is found at another address.");
        page.reply_at(Some(&moved.location), form, then);
    }

    fn reply_at(self, location: Option<&str>, form: Form, then: impl FnOnce(&LocalReply<'_>)) {
        let (kind, body) = match form.json {
            _ if self.text.is_empty() => ("text/plain", String::new()),
            true => (
                "application/json",
                format!("{{\"status\":{},\"error\":\"{}\"}}\n", self.status, self.text),
            ),
            false => {
                ("text/plain", format!("{} {}\n{}\n", self.status, reason(self.status), self.text))
            }
        };
        let retry_after_s = self.retry_after_s.map(u64::from);
        let body = body.as_bytes();
        then(&LocalReply { status: self.status, kind, body, retry_after_s, location });
    }
}

/// A complete answer of the proxy itself, ready to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalReply<'a> {
    pub(crate) status: u16,
    /// The media type of `body`, which is in UTF-8.
    pub(crate) kind: &'a str,
    pub(crate) body: &'a [u8],
    pub(crate) retry_after_s: Option<u64>,
    /// The address to redirect to, in visible ASCII.
    pub(crate) location: Option<&'a str>,
}

impl LocalReply<'_> {
    /// Writes the answer, which must not be cached.
    pub(crate) fn write(&self, form: Form, date: &DateLine, out: &mut Vec<u8>) {
        let mut head = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: {}; charset=utf-8\r\n\
             Content-Length: {}\r\nCache-Control: no-store\r\n",
            self.status,
            reason(self.status),
            self.kind,
            self.body.len()
        );
        if let Some(seconds) = self.retry_after_s {
            head.push_str(&format!("Retry-After: {seconds}\r\n"));
        }
        if let Some(location) = self.location {
            head.push_str(&format!("Location: {location}\r\n"));
        }
        // The proxy itself answers 200 to OPTIONS only.
        if matches!(self.status, 200 | 405) {
            head.push_str("Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n");
        }
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(date);
        out.extend_from_slice(match (form.after, form.version) {
            (After::Close, _) => b"Connection: close\r\n\r\n",
            (After::KeepAlive, Version::Http10) => b"Connection: keep-alive\r\n\r\n",
            (After::KeepAlive, Version::Http11) => b"\r\n",
        });
        if !form.head {
            out.extend_from_slice(self.body);
        }
    }
}

/// The form of an answer, as the request demands it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    /// True if the request was HEAD: no body.
    pub(crate) head: bool,
    /// True if the client prefers JSON.
    pub(crate) json: bool,
    pub(crate) version: Version,
    pub(crate) after: After,
}

impl Form {
    /// The form for a request that could not be parsed.
    pub(crate) const UNREAD: Self =
        Self { head: false, json: false, version: Version::Http11, after: After::Close };
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        508 => "Loop Detected",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}
