//! Probes of one instance: an HTTP GET on a connection of its own, again and again. Reads no more of
//! an answer than its head and a little of its body, and judges nothing but the status.

use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use model::{Address, Expect, HealthCheck, HostReport, Launch, Listeners};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;

use crate::agent::World;
use crate::life::LastHealth;
use crate::lookout::{Freshness, Guard};
use crate::tally::{Seen, Tally};

/// The longest head of an answer.
const HEAD_BYTES: usize = 16 * 1024;
/// Of where an answer leads to, so much is told.
const LOCATION_CHARS: usize = 200;
/// The body is read so far, so that a server that writes it sees no error.
const BODY_BYTES: usize = 64 * 1024;
/// And for so long at the most.
const BODY_PATIENCE: Duration = Duration::from_millis(100);

/// The task that probes an instance.
pub(crate) struct Prober {
    task: JoinHandle<()>,
}

impl Prober {
    /// No further probe; what is already reported stands.
    pub fn abort(&self) {
        self.task.abort();
    }

    /// After this nothing is reported any more.
    pub async fn end(mut self) {
        self.task.abort();
        // Cancelled, or broken off by a panic that was logged: over in any case.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Probes until it is told to end; reports every change of the health or of the note.
pub(crate) fn start(world: Arc<World>, launch: Launch, expect: Expect, last: LastHealth) -> Prober {
    let task = tokio::spawn(async move {
        let mut tally = Tally::new(&launch.health, expect);
        let mut guard = Guard::new(&world, &launch);
        let mut told = Listeners::Unknown;
        loop {
            let changed = look(&launch, &mut tally, &mut guard).await;
            let listeners = guard.listeners();
            if changed || listeners != told {
                let report = HostReport::Health {
                    id: launch.id.clone(),
                    health: tally.health(),
                    streak: tally.streak(),
                    note: tally.note(),
                    listeners: listeners.clone(),
                };
                told = listeners;
                *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(report.clone());
                (world.report)(report);
            }
            tokio::select! {
                () = tokio::time::sleep(with_jitter(tally.gap())) => {}
                () = guard.changed() => {}
            }
        }
    });
    Prober { task }
}

/// One probe, unless somebody else would answer it. Whether the health or the note is another now.
async fn look(launch: &Launch, tally: &mut Tally, guard: &mut Guard) -> bool {
    if let Some(why) = guard.look(Freshness::Latest).await {
        return tally.is_not_itself(why);
    }
    let seen = once(&launch.address, &launch.health).await;
    // Nobody is called Up by what listened a moment ago.
    let rises = seen == Seen::Good && tally.is_about_to_rise();
    let freshness = if rises { Freshness::Now } else { Freshness::Latest };
    match guard.look(freshness).await {
        Some(why) => tally.is_not_itself(why),
        None => tally.count(seen),
    }
}

/// Up to a tenth more or less, so that instances are not probed in step.
fn with_jitter(gap: Duration) -> Duration {
    let mut byte = [128];
    // Without randomness there is no jitter, which does no harm.
    let _ = getrandom::fill(&mut byte);
    gap.mul_f64(0.9 + 0.2 * f64::from(byte[0]) / 255.0)
}

/// One probe.
async fn once(address: &Address, check: &HealthCheck) -> Seen {
    let request = get(address, &check.path);
    let probe = async {
        match address {
            Address::Tcp(address) => ask(TcpStream::connect(address).await?, &request).await,
            Address::Unix(path) => ask(UnixStream::connect(path).await?, &request).await,
        }
    };
    match tokio::time::timeout(check.timeout.to_duration(), probe).await {
        Ok(Ok(Answer { status: 200..=299, .. })) => Seen::Good,
        Ok(Ok(answer)) => Seen::Bad(format!("GET {} answered {answer}", check.path)),
        Ok(Err(e)) if nobody_listens(&e) => Seen::Refused,
        Ok(Err(e)) => Seen::Bad(format!("GET {}: {e}", check.path)),
        Err(_) => Seen::Bad(format!("GET {} got no answer within {}", check.path, check.timeout)),
    }
}

/// Not found: the unix socket has not been made yet.
fn nobody_listens(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
}

fn get(address: &Address, path: &str) -> String {
    let host = match address {
        Address::Tcp(address) => address.to_string(),
        Address::Unix(_) => "localhost".to_owned(),
    };
    // The path was checked when it was read; what could end the line must not come through anyway.
    let path: String = path.chars().filter(|c| !c.is_control() && *c != ' ').collect();
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: segue-probe\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    )
}

/// What is told of an answer.
struct Answer {
    status: u16,
    /// Where it leads to, if it leads elsewhere.
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

/// The field of a 3xx, as far as it goes into a sentence.
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

/// Sends the request and reads the status of the answer; interim answers (1xx) are passed over.
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

/// `HTTP/1.1 200 OK` → 200.
fn status_of(head: &[u8]) -> io::Result<u16> {
    let wrong = || io::Error::other("the answer is not HTTP/1");
    let rest = head.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(1..)).ok_or_else(wrong)?;
    let digits = rest.strip_prefix(b" ").and_then(|rest| rest.get(..3)).ok_or_else(wrong)?;
    std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answered(answer: &'static [u8]) -> Result<String, String> {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        let server = async move {
            let mut request = [0; 1024];
            let length = theirs.read(&mut request).await.unwrap();
            theirs.write_all(answer).await.unwrap();
            String::from_utf8(request[..length].to_vec()).unwrap()
        };
        let request = get(&"127.0.0.1:20001".parse().unwrap(), "/up");
        let (outcome, sent) = tokio::join!(ask(ours, &request), server);
        assert!(sent.starts_with("GET /up HTTP/1.1\r\nHost: 127.0.0.1:20001\r\n"), "{sent}");
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

    #[test]
    fn a_path_cannot_smuggle_a_header() {
        let request = get(&"127.0.0.1:1".parse().unwrap(), "/a\r\nX: y");
        assert!(request.starts_with("GET /aX:y HTTP/1.1\r\n"));
    }
}
