//! The hidden verb `__sample`: a small web service for the demo. It speaks HTTP/1.1 with keep-alive on
//! threads. After SIGTERM it answers the requests that it has read and ends. Not part of the product.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::args::{SampleFault, SampleOptions};

/// The largest number of connections. Further connections are closed at once.
const CONNECTIONS: usize = 512;
/// The largest size of a request head, in bytes.
const HEAD: u64 = 16 * 1024;
/// The time limit for requests in flight after SIGTERM.
const GRACE: Duration = Duration::from_secs(20);

/// Serves until SIGTERM.
pub(crate) fn run(options: &SampleOptions) -> ExitCode {
    let mut err = io::stderr();
    if options.broken == Some(SampleFault::Exit) {
        let _ = writeln!(err, "starting {}", options.version);
        let _ = writeln!(err, "cannot start: the table `orders` has no column `total`");
        return ExitCode::FAILURE;
    }
    let variable = |name: &str, default: &str| std::env::var(name).unwrap_or(default.into());
    let address = format!("{}:{}", variable("HOST", "127.0.0.1"), variable("PORT", "0"));
    match serve(&address, options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(err, "cannot listen on {address}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(address: &str, options: &SampleOptions) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let listener = TcpListener::bind(address)?;
    let who = std::env::var("SEGUE_INSTANCE").unwrap_or_else(|_| std::process::id().to_string());
    let sample = Arc::new(Sample {
        version: options.version.clone(),
        who,
        broken: options.broken,
        state: Mutex::default(),
        idle: Condvar::new(),
    });
    let _ = writeln!(io::stdout(), "{} listens on {}", sample.version, listener.local_addr()?);
    let accepting = sample.clone();
    std::thread::spawn(move || accepting.accept(&listener));
    // Blocks until the signal comes. From then on no new request is served.
    let _ = signals.forever().next();
    sample.drain();
    Ok(())
}

/// State that all connections share.
pub(crate) struct Sample {
    version: String,
    who: String,
    broken: Option<SampleFault>,
    state: Mutex<State>,
    idle: Condvar,
}

#[derive(Default)]
struct State {
    connections: usize,
    in_flight: usize,
    draining: bool,
}

impl Sample {
    #[cfg(test)]
    pub(crate) fn new(version: &str) -> Self {
        Self {
            version: version.into(),
            who: "test".into(),
            broken: None,
            state: Mutex::default(),
            idle: Condvar::new(),
        }
    }

    pub(crate) fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming().flatten() {
            let mut state = self.lock();
            if state.connections == CONNECTIONS {
                continue;
            }
            state.connections += 1;
            drop(state);
            let sample = self.clone();
            std::thread::spawn(move || {
                let _ = sample.talk(stream);
                sample.lock().connections -= 1;
            });
        }
    }

    /// Serves one connection, request by request.
    fn talk(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut writer = stream.try_clone()?;
        let mut reader = BufReader::new(stream);
        loop {
            if reader.fill_buf()?.is_empty() {
                return Ok(());
            }
            if !self.begin() {
                return Ok(());
            }
            let answered = self.answer(&mut reader, &mut writer);
            let go_on = self.end();
            if answered? == Next::Close || !go_on {
                return Ok(());
            }
        }
    }

    fn answer(
        &self,
        reader: &mut BufReader<TcpStream>,
        writer: &mut TcpStream,
    ) -> io::Result<Next> {
        let Some(request) = read_request(reader)? else {
            let text = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
            writer.write_all(text.as_bytes())?;
            return Ok(Next::Close);
        };
        let (status, body) = match (request.path.as_str(), self.broken) {
            ("/up", Some(SampleFault::Unhealthy)) => {
                ("500 Internal Server Error", "not well\n".into())
            }
            ("/up", Some(SampleFault::Exit) | None) => ("200 OK", "ok\n".into()),
            ("/", _) => ("200 OK", format!("{} from {}\n", self.version, self.who)),
            (_, _) => ("404 Not Found", "there is nothing here\n".into()),
        };
        let close = request.close || self.lock().draining;
        let connection = if close { "close" } else { "keep-alive" };
        let mut text = format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\nx-release: {}\r\nconnection: \
             {connection}\r\ncontent-length: {}\r\n\r\n",
            self.version,
            body.len()
        );
        if request.method != "HEAD" {
            text += &body;
        }
        writer.write_all(text.as_bytes())?;
        Ok(if close { Next::Close } else { Next::Request })
    }

    /// Counts a new request; returns whether it may be served.
    fn begin(&self) -> bool {
        let mut state = self.lock();
        if state.draining {
            return false;
        }
        state.in_flight += 1;
        true
    }

    /// Ends a request; returns whether another may follow on this connection.
    fn end(&self) -> bool {
        let mut state = self.lock();
        state.in_flight -= 1;
        self.idle.notify_all();
        !state.draining
    }

    fn drain(&self) {
        let mut state = self.lock();
        state.draining = true;
        let waited = self.idle.wait_timeout_while(state, GRACE, |state| state.in_flight > 0);
        drop(waited);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Request,
    Close,
}

struct Request {
    method: String,
    path: String,
    close: bool,
}

/// Reads one request with its body; returns `None` if the data is not a request.
fn read_request(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut head = reader.take(HEAD);
    let mut line = String::new();
    head.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (Some(method), Some(target), Some("HTTP/1.1")) = (words.next(), words.next(), words.next())
    else {
        return Ok(None);
    };
    let path = target.split('?').next().unwrap_or_default().to_owned();
    let mut request = Request { method: method.to_owned(), path, close: false };
    let mut length = 0_u64;
    loop {
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else { return Ok(None) };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => match value.trim().parse() {
                Ok(bytes) => length = bytes,
                Err(_) => return Ok(None),
            },
            "transfer-encoding" => return Ok(None),
            "connection" => request.close = value.trim().eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    io::copy(&mut reader.take(length), &mut io::sink())?;
    Ok(Some(request))
}
