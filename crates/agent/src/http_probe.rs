//! One probe by HTTP: a GET on a new connection. Reads only the head and a little of the body of a response,
//! and judges only the status.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use datadir::FoundSocket;
use model::{Address, Serving};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::probe_history::ProbeResult;

/// The longest head of a response, in bytes.
const HEAD_BYTES: usize = 16 * 1024;
/// The largest number of characters of a `Location` in a message.
const LOCATION_CHARS: usize = 200;
/// The number of bytes of the body that are read, so that a server that is writing them sees no error.
const BODY_BYTES: usize = 64 * 1024;
/// The longest time spent on reading the body.
const BODY_PATIENCE: Duration = Duration::from_millis(100);

/// The request that an instance is probed with.
#[derive(Clone, Debug)]
pub(crate) struct HttpProbe {
    address: Address,
    /// The path, for messages.
    path: String,
    timeout: Duration,
    request: String,
}

impl HttpProbe {
    /// Creates the probe that the release's settings describe.
    pub fn new(serving: &Serving) -> Self {
        Self {
            address: serving.probed_address().clone(),
            path: serving.health.path.clone(),
            timeout: serving.health.timeout.to_duration(),
            request: serving.health_request(),
        }
    }

    /// Sends the request once and judges the response.
    pub async fn ask(&self) -> ProbeResult {
        let mut is_connected = false;
        let probe = async {
            match &self.address {
                Address::Tcp(address) => {
                    let stream = TcpStream::connect(address).await?;
                    is_connected = true;
                    ask(stream, &self.request).await
                }
                Address::Unix(path) => {
                    let found = FoundSocket::find(Path::new(path))?;
                    let stream = UnixStream::connect(found.path()).await?;
                    is_connected = true;
                    ask(stream, &self.request).await
                }
            }
        };
        let (path, timeout) = (&self.path, model::Millis(duration_ms(self.timeout)));
        match tokio::time::timeout(self.timeout, probe).await {
            Ok(Ok(Answer { status: 200..=299, .. })) => ProbeResult::Good,
            Ok(Ok(answer)) => {
                let advice = self.advice(answer.status);
                ProbeResult::Bad(format!("GET {path} answered {answer}{advice}"))
            }
            Ok(Err(e)) if nobody_listens(&e) => {
                ProbeResult::Refused("connection refused".to_owned())
            }
            // A full queue of connections. A unix socket reports this at once.
            Ok(Err(e)) if e.kind() == io::ErrorKind::WouldBlock => {
                ProbeResult::Silent(format!("GET {path}: its queue of new connections is full"))
            }
            Ok(Err(e)) => ProbeResult::Bad(format!("GET {path}: {e}")),
            Err(_) if is_connected => {
                ProbeResult::Silent(format!("GET {path} got no answer within {timeout}"))
            }
            Err(_) => ProbeResult::Silent(format!(
                "GET {path}: could not connect within {timeout}, its queue of new connections is full"
            )),
        }
    }

    /// Returns the setting that helps, for a status that frameworks send to a probe that does not look like a
    /// user's request.
    fn advice(&self, status: u16) -> String {
        if !matches!(status, 301 | 302 | 307 | 308 | 400 | 403 | 421) {
            return String::new();
        }
        let host = self.request.lines().find_map(|line| line.strip_prefix("Host: "));
        format!(", its Host was {} (`host` in [health])", host.unwrap_or_default())
    }
}

fn duration_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Returns true if nobody listens. "Not found" means that the unix socket has not been created yet.
fn nobody_listens(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
}

/// The parts of a response that matter for the result.
struct Answer {
    status: u16,
    /// The target of a redirect.
    location: Option<String>,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            Some(location) => write!(f, "{} to {location}", self.status),
            None => write!(f, "{}", self.status),
        }
    }
}

/// Returns the `Location` of a 3xx, shortened to fit into a sentence.
fn location(head: &[u8], status: u16) -> Option<String> {
    if !(300..=399).contains(&status) {
        return None;
    }
    let field = |line: &[u8]| {
        let (name, value) = line.split_at_checked(line.iter().position(|b| *b == b':')?)?;
        name.eq_ignore_ascii_case(b"location").then(|| value[1..].trim_ascii().to_vec())
    };
    let value = head.split(|byte| *byte == b'\n').find_map(field)?;
    let text: String = String::from_utf8_lossy(&value).chars().take(LOCATION_CHARS).collect();
    Some(text.chars().filter(|c| !c.is_control()).collect())
}

/// Sends the request and reads the status of the response. Skips interim responses (1xx).
async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> io::Result<Answer> {
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::with_capacity(1024);
    let answer = loop {
        if let Some(end) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            match status_of(&head)? {
                100..=199 => drop(head.drain(..end + 4)),
                status => break Answer { status, location: location(&head[..end], status) },
            }
            continue;
        }
        if head.len() >= HEAD_BYTES {
            return Err(io::Error::other(format!("the head is longer than {HEAD_BYTES} bytes")));
        }
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::Error::other("the connection was closed without an answer"));
        }
    };
    let rest = async {
        let mut limited = stream.take(BODY_BYTES as u64);
        tokio::io::copy(&mut limited, &mut tokio::io::sink()).await
    };
    let _ = tokio::time::timeout(BODY_PATIENCE, rest).await;
    Ok(answer)
}

/// Returns the status of a status line: 200 for `HTTP/1.1 200 OK`.
fn status_of(head: &[u8]) -> io::Result<u16> {
    let wrong = || io::Error::other("the answer is not HTTP/1");
    let rest = head.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(1..)).ok_or_else(wrong)?;
    let digits = rest.strip_prefix(b" ").and_then(|rest| rest.get(..3)).ok_or_else(wrong)?;
    std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use model::Conventions;

    use super::*;

    async fn answered(answer: &'static [u8]) -> Result<String, String> {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        let server = async move {
            let mut request = [0; 1024];
            let length = theirs.read(&mut request).await.unwrap();
            theirs.write_all(answer).await.unwrap();
            String::from_utf8(request[..length].to_vec()).unwrap()
        };
        let (outcome, sent) = tokio::join!(ask(ours, "GET /up HTTP/1.1\r\n\r\n"), server);
        assert_eq!(sent, "GET /up HTTP/1.1\r\n\r\n");
        outcome.map(|answer| answer.to_string()).map_err(|e| e.to_string())
    }

    #[tokio::test]
    async fn the_status_is_read_whatever_follows() {
        for (answer, told) in [
            (&b"HTTP/1.1 200 OK\r\n\r\nhello"[..], "200"),
            (b"HTTP/1.0 503\r\nA: b\r\n\r\n", "503"),
            (b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 204 X\r\n\r\n", "204"),
            (b"HTTP/1.1 301 X\r\nlocation:  https://a/\x1bb \r\n\r\n", "301 to https://a/b"),
            (b"HTTP/1.1 302 X\r\n\r\nLocation: body", "302"),
            (b"HTTP/1.1 500 X\r\nLocation: /a\r\n\r\n", "500"),
        ] {
            assert_eq!(answered(answer).await, Ok(told.to_owned()));
        }
        assert!(answered(b"220 smtp ready\r\n\r\n").await.unwrap_err().contains("not HTTP"));
        assert!(answered(b"").await.unwrap_err().contains("closed without"));
        assert!(answered(b"HTTP/1.1 2").await.unwrap_err().contains("closed without"));
    }

    fn serving() -> Serving {
        let serving = serde_json::json!({
            "address": "127.0.0.1:20001", "health_address": null, "probe_host": null,
            "conventions": "second",
            "health": { "path": "/up", "interval": 1000, "timeout": 1000, "rise": 2, "fall": 3,
                        "start_deadline": 1000 },
        });
        serde_json::from_value(serving).unwrap()
    }

    #[test]
    fn a_probe_looks_like_a_request_of_a_user_that_came_through_a_proxy() {
        let mut serving = serving();
        assert_eq!(
            HttpProbe::new(&serving).request,
            "GET /up HTTP/1.1\r\nHost: 127.0.0.1:20001\r\nUser-Agent: segue-probe\r\nAccept: */*\r\n\
             X-Forwarded-Proto: https\r\nX-Forwarded-For: 127.0.0.1\r\nConnection: close\r\n\r\n"
        );
        serving.probe_host = Some("shop.example".to_owned());
        serving.health.headers = [("x-forwarded-proto", "http"), ("x-check", "1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        assert_eq!(
            HttpProbe::new(&serving).request,
            "GET /up HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: segue-probe\r\nAccept: */*\r\n\
             X-Forwarded-For: 127.0.0.1\r\nx-check: 1\r\nx-forwarded-proto: http\r\n\
             Connection: close\r\n\r\n"
        );
    }

    #[test]
    fn a_release_of_an_earlier_segue_is_probed_as_it_was() {
        let mut serving = serving();
        serving.conventions = Conventions::First;
        assert_eq!(
            HttpProbe::new(&serving).request,
            "GET /up HTTP/1.1\r\nHost: 127.0.0.1:20001\r\nUser-Agent: segue-probe\r\nAccept: */*\r\n\
             Connection: close\r\n\r\n"
        );
    }

    #[test]
    fn nothing_can_smuggle_a_header() {
        let mut serving = serving();
        serving.health.path = "/a\r\nX: y".to_owned();
        serving.probe_host = Some("a\r\nX: y".to_owned());
        let request = HttpProbe::new(&serving).request;
        assert!(
            request.starts_with("GET /aX:y HTTP/1.1\r\nHost: aX: y\r\nUser-Agent"),
            "{request}"
        );
    }
}
