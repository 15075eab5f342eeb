//! Proves that the measured programs do their work: answers are right, the origin learns the client's
//! address, and our proxy counts the load client's requests.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::behind::{Size, host};
use super::case::Case;
use super::contender::{Contender, PROBES};
use crate::run::Done;

const PATIENCE: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(20);

/// Sends one request and checks the whole answer.
pub(super) fn answers(contender: &Contender, case: &Case) -> Done {
    let body = "x".repeat(case.sent.unwrap_or(0));
    let fields: String =
        case.fields().iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = case.sent.map(|sent| format!("Content-Length: {sent}\r\n")).unwrap_or_default();
    let request = format!(
        "{} {} HTTP/1.1\r\nHost: {}\r\n{fields}{length}",
        case.method(),
        case.path,
        contender.address
    );
    let (status, got) = ask(contender.address, &request, &body)?;
    let who = contender.who.name();
    if status != 200 || got.len() != case.answered {
        let bytes = got.len();
        return Err(format!("{who} answers {} with {status} and {bytes} bytes", case.path));
    }
    Ok(())
}

/// Checks that the origin learns the client's address from every contender that speaks HTTP.
pub(super) fn forwards(contender: &Contender) -> Done {
    let request = format!("GET /seen HTTP/1.1\r\nHost: {}\r\n", contender.address);
    let (status, seen) = ask(contender.address, &request, "")?;
    let seen = String::from_utf8_lossy(&seen);
    let wanted = if contender.who.speaks_http() { "127.0.0.1" } else { "" };
    if (status, &*seen) == (200, wanted) {
        return Ok(());
    }
    let who = contender.who.name();
    Err(format!("behind {who} the origin saw X-Forwarded-For {seen:?}, not {wanted:?} ({status})"))
}

/// Checks that the origin was probed by our proxy and by another one.
pub(super) fn probed(folder: &Path) -> Done {
    let file = folder.join(PROBES);
    let probes = fs::read_to_string(&file).map_err(|why| format!("{}: {why}", file.display()))?;
    let (ours, theirs): (Vec<&str>, Vec<&str>) =
        probes.lines().partition(|line| line.contains("\"segue-probe\""));
    for (who, probes) in [("segue", ours), ("HAProxy", theirs)] {
        if probes.is_empty() {
            return Err(format!("{who} has not probed the origin"));
        }
    }
    Ok(())
}

/// Checks that every app's host leads to an instance of that app.
pub(super) fn leads(contender: &Contender, size: Size) -> Done {
    for app in 0..size.apps {
        let host = host(app);
        let request = format!("GET /where HTTP/1.1\r\nHost: {host}\r\n");
        let (status, address) = ask(contender.address, &request, "")?;
        let address = String::from_utf8_lossy(&address);
        let right = size.addresses(app, 0).any(|at| at.ip().to_string() == address);
        if status != 200 || !right {
            let who = contender.who.name();
            return Err(format!("{who} leads {host} to {address:?} ({status})"));
        }
    }
    Ok(())
}

/// Returns how many requests our proxy says it has answered; `None` for other contenders.
pub(super) fn counted(contender: &Contender) -> Result<Option<u64>, String> {
    let Some(admin) = contender.admin else { return Ok(None) };
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\n");
    let (_, page) = ask(admin, &request, "")?;
    let page = String::from_utf8_lossy(&page);
    let count = total(&page, "segue_requests_total");
    count.map(Some).ok_or_else(|| format!("the metrics do not count requests: {page}"))
}

/// Returns the number of a contender's client connections according to the kernel.
pub(super) fn connections(contender: &Contender) -> Result<usize, String> {
    let file = "/proc/net/tcp";
    let table = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    // The columns are number, local address, remote address, state: 01 is established.
    let port = format!(":{:04X}", contender.address.port());
    let is_open = |line: &&str| {
        let mut words = line.split_whitespace().skip(1);
        words.next().is_some_and(|local| local.ends_with(&port)) && words.nth(1) == Some("01")
    };
    Ok(table.lines().filter(is_open).count())
}

/// Checks that our proxy has counted, since `before`, the requests that the load client got answers to. It
/// must not count fewer. It may count more only by those in flight at the end.
pub(super) fn counts(
    contender: &Contender,
    before: Option<u64>,
    (sent, in_flight): (f64, usize),
) -> Done {
    let Some(before) = before else { return Ok(()) };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let counted = counted(contender)?.unwrap_or(0).saturating_sub(before);
        #[expect(clippy::cast_precision_loss, reason = "millions at most")]
        let (counted, most) = (counted as f64, sent + in_flight as f64);
        if counted >= sent && counted <= most {
            return Ok(());
        }
        if counted > most || Instant::now() > deadline {
            return Err(format!("our metrics counted {counted} requests, the client {sent}"));
        }
        thread::sleep(STEP);
    }
}

/// Returns the sum of a metric family's samples.
fn total(page: &str, family: &str) -> Option<u64> {
    let samples = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(family)?;
        rest.starts_with(['{', ' ']).then(|| rest.rsplit(' ').next()?.parse::<u64>().ok())?
    });
    samples.fold(None, |sum, sample| Some(sum.unwrap_or(0) + sample))
}

/// Sends one request on a connection of its own. `head` lacks the empty line at its end.
fn ask(address: SocketAddr, head: &str, body: &str) -> Result<(u16, Vec<u8>), String> {
    let close = if head.contains("Connection: close") { "" } else { "Connection: close\r\n" };
    let exchange = || {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(format!("{head}{close}\r\n{body}").as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    };
    let answer: Vec<u8> =
        exchange().map_err(|error: std::io::Error| format!("cannot ask {address}: {error}"))?;
    parse(&answer).ok_or_else(|| format!("{address} answers {}", String::from_utf8_lossy(&answer)))
}

/// Parses the status and the body of an answer that ends with its connection.
fn parse(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(answer.get(..end)?).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = answer.get(end + 4..)?.to_vec();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    (length? == body.len()).then_some((status, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_whole_or_not_at_all() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        assert_eq!(parse(whole), Some((200, b"ok".to_vec())));
        assert_eq!(parse(&whole[..whole.len() - 1]), None);
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\n\r\nok"), None);
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn samples_of_one_family_are_added() {
        let page = "# TYPE a counter\na{app=\"x y\"} 3\na{app=\"z\"} 4\nab 100\n";
        assert_eq!(total(page, "a"), Some(7));
        assert_eq!(total(page, "ab"), Some(100));
        assert_eq!(total(page, "c"), None);
    }
}
