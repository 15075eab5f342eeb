//! The requests sent to each contender: the cases, and wrk's script for each.

use std::fmt::Write as _;

/// Length of a small answer.
pub(super) const SMALL: usize = 64;
pub(super) const KIB: usize = 1024;

/// One kind of request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) path: &'static str,
    pub(super) head: Head,
    /// Number of bytes sent with a POST. Without them, the request is a GET.
    pub(super) sent: Option<usize>,
    /// Number of bytes of the answer's body.
    pub(super) answered: usize,
    pub(super) connections: usize,
    pub(super) reuse: Reuse,
    /// Number of hosts of a table to be requested in turn. Without them, the host is the contender's
    /// address.
    pub(super) hosts: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    Bare,
    Browser,
}

/// Number of requests on one connection of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reuse {
    KeptAlive,
    OneRequest,
}

pub(super) const SMALL_GET: Case = Case {
    name: "bare",
    what: "small GET, bare head",
    path: "/small",
    head: Head::Bare,
    sent: None,
    answered: SMALL,
    connections: 32,
    reuse: Reuse::KeptAlive,
    hosts: 0,
};

/// All cases.
pub(super) const CASES: [Case; 7] = [
    SMALL_GET,
    Case {
        name: "browser",
        what: "small GET, 1 KB browser head",
        head: Head::Browser,
        ..SMALL_GET
    },
    Case { name: "10k", what: "GET of 10 KiB", path: "/10k", answered: 10 * KIB, ..SMALL_GET },
    Case {
        name: "1m",
        what: "GET of 1 MiB",
        path: "/1m",
        answered: KIB * KIB,
        connections: 8,
        ..SMALL_GET
    },
    Case { name: "post", what: "POST of 16 KiB", path: "/post", sent: Some(16 * KIB), ..SMALL_GET },
    // A POST of the size of a form. The proxy keeps the connection to the instance for the client that sent
    // a body. This case shows whether connections are then reused as well as without bodies.
    Case { name: "form", what: "POST of 200 bytes", path: "/post", sent: Some(200), ..SMALL_GET },
    Case {
        name: "new",
        what: "small GET, new connection each",
        reuse: Reuse::OneRequest,
        ..SMALL_GET
    },
];

/// Header fields that a browser sends besides the request line and Host.
const BROWSER: [(&str, &str); 14] = [
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
         Chrome/126.0.0.0 Safari/537.36",
    ),
    (
        "Accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,\
         */*;q=0.8,application/signed-exchange;v=b3;q=0.7",
    ),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Accept-Language", "en-GB,en;q=0.9,de-DE;q=0.8,de;q=0.7,en-US;q=0.6"),
    ("Cache-Control", "max-age=0"),
    (
        "Cookie",
        "session=3f9a1c77e0b84d52a6d1f0c29be4475d8a1e6bd3920c4f7e; theme=dark; consent=all; \
         _ga=GA1.1.1203948576.1718900000; cart=b64.eyJpdGVtcyI6WzEsMiwzXSwidG90YWwiOjQyfQ; \
         csrf=7d1e0a4c9b3f48e2a5c6d7e8f9012345; region=eu-central; seen=1718900000.1718986400.1719072800; ab=checkout-b.search-a; \
         hint=0a1b2c3d4e5f",
    ),
    ("Referer", "https://shop.example.org/catalogue/shoes?colour=blue&size=42&page=3"),
    ("Sec-Ch-Ua", "\"Chromium\";v=\"126\", \"Not/A)Brand\";v=\"8\""),
    ("Sec-Ch-Ua-Mobile", "?0"),
    ("Sec-Ch-Ua-Platform", "\"Linux\""),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Upgrade-Insecure-Requests", "1"),
];

/// Requests one host after the other. The requests are built before the run.
const IN_TURN: &str = r#"
local requests, at = {}, 0
init = function(args)
  for app = 0, hosts - 1 do
    wrk.headers["Host"] = "app-" .. app .. ".test"
    requests[app] = wrk.format()
  end
end
request = function()
  at = (at + 1) % hosts
  return requests[at]
end
"#;

/// At the end of a run, wrk's script writes one line that `load` parses.
const REPORT: &str = r#"
done = function(summary)
  local e = summary.errors
  local failed = e.status + e.connect + e.read + e.write + e.timeout
  io.write(string.format("\nbench: requests %.0f bytes %.0f micros %.0f failed %.0f\n",
    summary.requests, summary.bytes, summary.duration, failed))
end
"#;

impl Case {
    pub(super) fn named(name: &str) -> Option<Self> {
        CASES.into_iter().find(|case| case.name == name)
    }

    pub(super) fn method(&self) -> &'static str {
        if self.sent.is_some() { "POST" } else { "GET" }
    }

    /// Returns the header fields, without Host and Content-Length.
    pub(super) fn fields(&self) -> Vec<(&'static str, &'static str)> {
        let mut fields = match self.head {
            Head::Bare => Vec::new(),
            Head::Browser => BROWSER.to_vec(),
        };
        if self.reuse == Reuse::OneRequest {
            fields.push(("Connection", "close"));
        }
        fields
    }

    /// Returns wrk's script. If all requests are equal, the script runs no code per request.
    pub(super) fn script(&self) -> String {
        let mut script = format!("wrk.method = \"{}\"\n", self.method());
        for (name, value) in self.fields() {
            // Writing to a string cannot fail.
            let _ = writeln!(script, "wrk.headers[\"{name}\"] = [==[{value}]==]");
        }
        if let Some(sent) = self.sent {
            let _ = writeln!(script, "wrk.body = string.rep(\"x\", {sent})");
        }
        if self.hosts > 0 {
            let _ = write!(script, "local hosts = {}\n{IN_TURN}", self.hosts);
        }
        script + REPORT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browsers_head_is_about_one_kilobyte() {
        let line = |(name, value): &(&str, &str)| name.len() + value.len() + ": \r\n".len();
        let length: usize = BROWSER.iter().map(line).sum();
        assert!((980..1100).contains(&length), "{length}");
    }

    #[test]
    fn every_case_is_found_by_its_name() {
        for case in CASES {
            assert_eq!(Case::named(case.name).map(|found| found.what), Some(case.what));
        }
        assert!(Case::named("other").is_none());
    }

    #[test]
    fn a_script_says_what_is_sent() {
        let script = |name| Case::named(name).unwrap().script();
        assert!(script("bare").starts_with("wrk.method = \"GET\"\n\ndone ="));
        assert!(script("post").contains("wrk.body = string.rep(\"x\", 16384)\n"));
        assert!(script("new").contains("wrk.headers[\"Connection\"] = [==[close]==]\n"));
        let many = Case { hosts: 7, ..SMALL_GET }.script();
        assert!(many.contains("\nlocal hosts = 7\n\nlocal requests,"), "{many}");
    }
}
