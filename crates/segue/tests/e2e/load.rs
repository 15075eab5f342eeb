//! Clients that ask at a steady pace on kept-alive connections, and remember every answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What a client lets pass between two requests. Without it the load takes all of a small machine, and
/// a story tells of apps that were starved instead of what it is about.
const PAUSE: Duration = Duration::from_millis(4);

/// Clients at work.
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Seen>>,
}

/// What one connection has seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// When each request was sent, and the version that answered.
    pub answers: Vec<(Instant, String)>,
    /// What went wrong.
    pub failures: Vec<String>,
}

impl Load {
    /// Starts this many connections.
    pub fn start(address: SocketAddr, connections: usize) -> Self {
        Self::start_on(None, address, connections)
    }

    /// Starts this many connections from the machine behind a file, or from this one.
    pub fn start_on(door: Option<PathBuf>, address: SocketAddr, connections: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let clients = (0..connections)
            .map(|_| {
                let (stop, door) = (stop.clone(), door.clone());
                std::thread::spawn(move || {
                    door.iter().for_each(|door| crate::fleet::enter(door));
                    client(address, &stop)
                })
            })
            .collect();
        Self { stop, clients }
    }

    /// Sends one request from the machine behind a file: the version that answered, or what went wrong.
    pub fn one_from(door: PathBuf, address: SocketAddr) -> Result<String, String> {
        let asked = std::thread::spawn(move || {
            crate::fleet::enter(&door);
            ask(&mut None, address, "/")
        });
        asked.join().unwrap()
    }

    /// Ends after the requests under way.
    pub fn stop(self) -> Vec<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().map(|client| client.join().unwrap()).collect()
    }
}

fn client(address: SocketAddr, stop: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    let mut connection = None;
    while !stop.load(Ordering::Relaxed) {
        let sent = Instant::now();
        match ask(&mut connection, address, "/") {
            Ok(version) => seen.answers.push((sent, version)),
            Err(error) => {
                connection = None;
                seen.failures.push(error);
                if seen.failures.len() > 20 {
                    break;
                }
            }
        }
        // it waits: the pace of the load
        std::thread::sleep(PAUSE);
    }
    seen
}

/// One request on a kept-alive connection: the body of a 200, or what went wrong.
pub fn ask(
    connection: &mut Option<BufReader<TcpStream>>,
    address: SocketAddr,
    path: &str,
) -> Result<String, String> {
    let told = |error: std::io::Error| error.to_string();
    if connection.is_none() {
        let stream = TcpStream::connect(address).map_err(told)?;
        stream.set_read_timeout(Some(Duration::from_secs(15))).map_err(told)?;
        stream.set_nodelay(true).map_err(told)?;
        *connection = Some(BufReader::new(stream));
    }
    let Some(reader) = connection.as_mut() else { return Err("no connection".into()) };
    let request = format!("GET {path} HTTP/1.1\r\nHost: web.test\r\n\r\n");
    reader.get_mut().write_all(request.as_bytes()).map_err(told)?;
    let (mut length, mut close, mut status) = (0, false, String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).map_err(told)? == 0 {
            return Err("the connection was closed before the answer".into());
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if status.is_empty() {
            status = line.to_owned();
        } else if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(|_| format!("{line:?}"))?;
        } else if lower.starts_with("connection:") && lower.contains("close") {
            close = true;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).map_err(told)?;
    if close {
        *connection = None;
    }
    let body = String::from_utf8_lossy(&body).trim().to_owned();
    if status.starts_with("HTTP/1.1 200") { Ok(body) } else { Err(format!("{status}: {body}")) }
}
