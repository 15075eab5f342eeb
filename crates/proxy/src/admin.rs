//! Metrics and health of a proxy that runs alone: three paths, one request per connection, on a
//! thread of its own. Never reachable through the apps' ports.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use http1::{Progress, RequestLimits, RequestParser};

use crate::error::Error;
use crate::handle::Proxy;

const PATIENCE: Duration = Duration::from_secs(2);

/// Reserves the admin address.
///
/// # Errors
/// If somebody listens there already.
pub fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).map_err(|source| Error::Listen { address, source })
}

/// Serves on `listener` as long as the process lives. `ready` tells whether traffic is served well.
///
/// # Errors
/// If the system gives no thread.
pub fn start(
    listener: TcpListener,
    proxy: Proxy,
    ready: impl Fn() -> bool + Send + 'static,
) -> Result<(), Error> {
    let serve = move || {
        for client in listener.incoming().flatten() {
            if let Err(error) = answer(client, &proxy, &ready) {
                tracing::debug!(%error, "an admin request broke off");
            }
        }
    };
    let spawned = thread::Builder::new().name("proxy-admin".to_owned()).spawn(serve);
    spawned.map(|_| ()).map_err(|source| Error::System { act: "start the admin thread", source })
}

fn answer(mut client: TcpStream, proxy: &Proxy, ready: &dyn Fn() -> bool) -> std::io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut parser = RequestParser::new(RequestLimits::default());
    let mut input = Vec::new();
    let (status, text) = loop {
        let mut part = [0; 4096];
        let count = client.read(&mut part)?;
        if count == 0 {
            return Ok(());
        }
        input.extend_from_slice(&part[..count]);
        match parser.parse(&input) {
            Ok(Progress::Unfinished) => {}
            Ok(Progress::Finished(_)) => break page(parser.head().path(&input), proxy, ready),
            Err(_) => break ("400 Bad Request", "malformed\n".to_owned()),
        }
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        text.len()
    );
    client.write_all(head.as_bytes())?;
    client.write_all(text.as_bytes())
}

fn page(path: &[u8], proxy: &Proxy, ready: &dyn Fn() -> bool) -> (&'static str, String) {
    match path {
        b"/metrics" => ("200 OK", proxy.metrics()),
        b"/healthz" => ("200 OK", "alive\n".to_owned()),
        b"/readyz" if proxy.is_accepting() && ready() => ("200 OK", "ready\n".to_owned()),
        b"/readyz" => ("503 Service Unavailable", "not ready\n".to_owned()),
        _ => ("404 Not Found", "there are /metrics, /healthz and /readyz\n".to_owned()),
    }
}
