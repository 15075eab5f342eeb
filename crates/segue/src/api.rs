//! Where the API is answered: on the socket in the data folder, and on its port, which is tried again
//! while another program has it. Traffic waits for neither.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use server::ListenError;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Time between two tries to get the port.
const AGAIN: Duration = Duration::from_secs(1);

/// Why the port is not there, if it is not.
#[derive(Clone, Debug, Default)]
pub struct Missing(Arc<RwLock<Option<String>>>);

impl Missing {
    pub fn why(&self) -> Option<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells systemd, too, and the log when it is news.
    fn set(&self, why: Option<String>) {
        let before = std::mem::replace(
            &mut *self.0.write().unwrap_or_else(PoisonError::into_inner),
            why.clone(),
        );
        if before == why {
            return;
        }
        if let Some(why) = &why {
            tracing::warn!("{why}; it is tried again every second");
        }
        notify(&[sd_notify::NotifyState::Status(why.as_deref().unwrap_or("serving"))]);
    }
}

/// Without systemd there is nobody to notify.
pub fn notify(states: &[sd_notify::NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}

/// What is bound before anybody is told that the server is ready: who asks at once waits for the answer.
#[derive(Debug, Default)]
pub struct Bound {
    socket: Option<UnixListener>,
    port: Option<TcpListener>,
}

impl Bound {
    /// The socket in the data folder. Has to be called on the runtime.
    pub fn socket(data: &Path) -> Self {
        let bound = server::bind_in_folder(data);
        let socket = bound.inspect_err(|error| tracing::error!("{}", model::in_full(error))).ok();
        Self { socket, port: None }
    }

    /// The port, if it can be had at once.
    pub async fn port(&mut self, port: SocketAddr, missing: &Missing) {
        match server::bind(port).await {
            Ok(bound) => self.port = Some(bound),
            Err(error) => missing.set(Some(cause(port, &error))),
        }
    }
}

/// Begins to answer; the tasks end after `stop` has become true.
pub fn open(
    bound: Bound,
    (data, port): (&Path, SocketAddr),
    router: server::Router,
    stop: &watch::Receiver<bool>,
    missing: &Missing,
) -> JoinSet<()> {
    let Bound { socket, port: first } = bound;
    let mut tasks = JoinSet::new();
    if let Some(socket) = socket {
        tasks.spawn(server::serve_socket(socket, router.clone(), stop.clone()));
    }
    let (token, missing) = (data.join("token"), missing.clone());
    let stop = stop.clone();
    tasks.spawn(async move {
        let mut stopped = stop.clone();
        let bound = match first {
            Some(bound) => bound,
            None => tokio::select! {
                bound = bind(port, &missing) => bound,
                // A sender that is gone means the same.
                _ = stopped.wait_for(|stop| *stop) => return,
            },
        };
        if let Ok(address) = bound.local_addr() {
            let token = token.display();
            tracing::info!("the API listens on http://{address}, its token is in {token}");
        }
        server::serve_port(bound, router, stop).await;
    });
    tasks
}

/// The port, as soon as it can be had.
async fn bind(port: SocketAddr, missing: &Missing) -> TcpListener {
    loop {
        match server::bind(port).await {
            Ok(bound) => {
                missing.set(None);
                return bound;
            }
            Err(error) => missing.set(Some(cause(port, &error))),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn cause(port: SocketAddr, error: &ListenError) -> String {
    let holders = wire::holders(port).unwrap_or_default();
    match holders.first() {
        Some(holder) => format!("the API cannot listen on {port}: {holder} has it"),
        None => model::in_full(error),
    }
}
