//! One user's browser: one connection, kept open as long as possible, and the cookies that it received.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The time after which a response counts as failed.
const PATIENCE: Duration = Duration::from_secs(15);

/// The response that a user got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// The answer of this release.
    Release(String),
    /// The app is closed, and the user should come back after this time.
    Wait(Duration),
}

/// A browser.
#[derive(Debug)]
pub(super) struct Browser {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, connection: None, cookies: BTreeMap::new() }
    }

    /// Deletes the cookies, so that the next request is a new user's. The connection stays open.
    pub(super) fn forget(&mut self) {
        self.cookies.clear();
    }

    /// Requests `/`. Anything but 200, or 503 with `Retry-After`, is an error.
    pub(super) fn ask(&mut self) -> io::Result<Told> {
        let mut reader = match self.connection.take() {
            Some(reader) => reader,
            None => {
                let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                BufReader::new(stream)
            }
        };
        let mut request = format!("GET / HTTP/1.1\r\nhost: {}\r\n", self.address);
        if !self.cookies.is_empty() {
            let pairs: Vec<String> =
                self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request += &format!("cookie: {}\r\n", pairs.join("; "));
        }
        request += "\r\n";
        reader.get_mut().write_all(request.as_bytes())?;
        let Answer { status, release, retry_after, cookies, close } = read_answer(&mut reader)?;
        if !close {
            self.connection = Some(reader);
        }
        for cookie in cookies {
            if let Some((name, value)) = cookie.split_once('=') {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        match (status, retry_after) {
            (200, _) => Ok(Told::Release(release)),
            (503, Some(time)) => Ok(Told::Wait(time)),
            (status, _) => Err(io::Error::other(format!("answered {status}"))),
        }
    }
}

struct Answer {
    status: u16,
    release: String,
    /// The time of `Retry-After`, if the response has that field.
    retry_after: Option<Duration>,
    /// The cookies that the response sets, as `name=value`.
    cookies: Vec<String>,
    close: bool,
}

/// Reads one whole response. An incomplete response is an error.
fn read_answer(reader: &mut BufReader<TcpStream>) -> io::Result<Answer> {
    let line = read_line(reader)?;
    let status = line.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("no HTTP answer"))?;
    let (mut length, mut close, mut retry_after) = (None, false, None);
    let mut cookies = Vec::new();
    loop {
        let line = read_line(reader)?;
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else { continue };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse::<u64>().ok(),
            "retry-after" => retry_after = value.trim().parse().ok().map(Duration::from_secs),
            "set-cookie" => {
                cookies.push(value.split(';').next().unwrap_or_default().trim().to_owned());
            }
            "connection" => close = value.trim().eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    let length = length.ok_or_else(|| io::Error::other("an answer without a length"))?;
    let mut body = String::new();
    let read = reader.take(length).read_to_string(&mut body)?;
    if read as u64 != length {
        return Err(io::Error::other("an answer was cut short"));
    }
    let release = body.split_whitespace().next().unwrap_or_default().to_owned();
    Ok(Answer { status, release, retry_after, cookies, close })
}

fn read_line(reader: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    if reader.take(8 * 1024).read_line(&mut line)? == 0 {
        return Err(io::Error::other("the connection was closed without an answer"));
    }
    Ok(line.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    #[test]
    fn cookies_are_kept_and_a_closed_app_is_told_from_a_failure() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut browser = Browser::new(listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let answers = [
                "200 OK\r\nset-cookie: key=a; Path=/; HttpOnly\r\ncontent-length: 3\r\n\r\nv1 ",
                "503 x\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n",
                "503 x\r\ncontent-length: 0\r\n\r\n",
            ];
            let mut reader = BufReader::new(listener.accept().unwrap().0);
            answers.map(|answer| {
                let mut cookie = None;
                loop {
                    let line = read_line(&mut reader).unwrap();
                    match line.split_once(": ") {
                        Some(("cookie", value)) => cookie = Some(value.to_owned()),
                        _ if line.is_empty() => break,
                        _ => {}
                    }
                }
                reader.get_mut().write_all(format!("HTTP/1.1 {answer}").as_bytes()).unwrap();
                cookie
            })
        });
        assert_eq!(browser.ask().unwrap(), Told::Release("v1".into()));
        assert_eq!(browser.ask().unwrap(), Told::Wait(Duration::from_secs(2)));
        browser.forget();
        assert_eq!(browser.ask().unwrap_err().to_string(), "answered 503");
        assert_eq!(server.join().unwrap(), [None, Some("key=a".into()), None]);
    }
}
