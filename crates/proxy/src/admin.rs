//! Metrics and health of a proxy that runs alone: three paths, one request per connection, on a thread of
//! its own. Never reachable through the apps' ports, and never delayed by one client.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use http1::{Progress, RequestLimits, RequestParser};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::task::JoinHandle;

use crate::error::Error;
use crate::handle::Proxy;

/// Time that one client has for sending its request and reading the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Number of clients served at a time. One more closes the oldest connection.
const CLIENTS: usize = 64;
/// Pause after a system error that is not caused by a client.
const PAUSE: Duration = Duration::from_millis(50);

/// Reserves the admin address.
///
/// # Errors
/// If another process listens there already.
pub fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).map_err(|source| Error::Listen { address, source })
}

/// Serves on `listener` for the life of the process. `ready` returns whether traffic is served well.
///
/// # Errors
/// If the system gives no thread.
pub fn start(
    listener: TcpListener,
    proxy: Proxy,
    ready: impl Fn() -> bool + Send + 'static,
) -> Result<(), Error> {
    let wrong = |source| Error::System { act: "start the admin thread", source };
    listener.set_nonblocking(true).map_err(wrong)?;
    let runtime = |mut builder: Builder| -> std::io::Result<LocalRuntime> {
        builder.enable_io().enable_time().build_local(LocalOptions::default())
    };
    let serve = move || {
        let served = runtime(Builder::new_current_thread()).and_then(|runtime| {
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                serve(&listener, Rc::new((proxy, Box::new(ready)))).await;
                Ok(())
            })
        });
        if let Err(error) = served {
            tracing::error!(%error, "metrics are not served");
        }
    };
    let spawned = thread::Builder::new().name("proxy-admin".to_owned()).spawn(serve);
    spawned.map(|_| ()).map_err(wrong)
}

/// The data that the pages show.
type Told = (Proxy, Box<dyn Fn() -> bool>);

async fn serve(listener: &tokio::net::TcpListener, told: Rc<Told>) {
    let mut clients = VecDeque::<JoinHandle<()>>::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        clients.retain(|client| !client.is_finished());
        if clients.len() == CLIENTS
            && let Some(longest) = clients.pop_front()
        {
            longest.abort();
        }
        let told = Rc::clone(&told);
        clients.push_back(tokio::task::spawn_local(async move {
            match tokio::time::timeout(PATIENCE, answer(client, &told)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "an admin request broke off"),
                Err(_) => tracing::debug!("an admin request took too long"),
            }
        }));
    }
}

async fn answer(mut client: TcpStream, told: &Told) -> std::io::Result<()> {
    let mut parser = RequestParser::new(RequestLimits::default());
    let mut input = Vec::new();
    let (status, text) = loop {
        if client.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        match parser.parse(&input) {
            Ok(Progress::Unfinished) => {}
            Ok(Progress::Finished(_)) => break page(parser.head().path(&input), told),
            Err(_) => break ("400 Bad Request", "malformed\n".to_owned()),
        }
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        text.len()
    );
    client.write_all(head.as_bytes()).await?;
    client.write_all(text.as_bytes()).await
}

fn page(path: &[u8], (proxy, ready): &Told) -> (&'static str, String) {
    match path {
        b"/metrics" => ("200 OK", proxy.metrics()),
        b"/healthz" => ("200 OK", "alive\n".to_owned()),
        b"/readyz" if proxy.is_accepting() && ready() => ("200 OK", "ready\n".to_owned()),
        b"/readyz" => ("503 Service Unavailable", "not ready\n".to_owned()),
        _ => ("404 Not Found", "there are /metrics, /healthz and /readyz\n".to_owned()),
    }
}
