//! The API in this server, on the socket in the data folder and on its port. While another program has the
//! port, binding is retried. Traffic waits for neither.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use model::in_full;
use sd_notify::NotifyState;
use server::{ApiEngine, ApiState, AppViews, Guard, ListenError, NoFleet};
use store::ReleaseStore;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::adapters::HostFiles;
use crate::fleet::Desk;

/// The time between two attempts to bind the port.
const AGAIN: Duration = Duration::from_secs(1);

/// The reason why the port is not bound, if it is not.
#[derive(Clone, Debug, Default)]
struct Missing(Arc<RwLock<Option<String>>>);

impl Missing {
    fn why(&self) -> Option<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stores the reason. If it has changed, logs it and notifies systemd.
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
        notify(&[NotifyState::Status(why.as_deref().unwrap_or("serving"))]);
    }
}

/// Notifies systemd. Without systemd this does nothing.
fn notify(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}

/// The API's listeners. They are bound before the server says that it is ready, so a client that connects at
/// once waits for the answer.
#[derive(Debug)]
pub struct ApiListeners {
    socket: Option<UnixListener>,
    port: Option<TcpListener>,
    address: SocketAddr,
    missing: Missing,
}

impl ApiListeners {
    /// Binds the socket in the data folder, then the port if it is free. Between the two, notifies systemd
    /// that traffic is served.
    pub async fn bind(data: &Path, address: SocketAddr) -> Self {
        let socket = server::bind_in_folder(data);
        let socket = socket.inspect_err(|error| tracing::error!("{}", in_full(error))).ok();
        notify(&[NotifyState::Ready, NotifyState::Status("serving")]);
        let missing = Missing::default();
        let port = match server::bind(address).await {
            Ok(bound) => Some(bound),
            Err(error) => {
                missing.set(Some(cause(address, &error)));
                None
            }
        };
        Self { socket, port, address, missing }
    }
}

/// Settings of the API.
pub struct ApiConfig {
    /// The data folder.
    pub data: PathBuf,
    /// The host names that the API answers for, besides those of this machine.
    pub hosts: Vec<String>,
    /// The token that a client has to send.
    pub token: wire::Secret,
    /// The views that control publishes.
    pub board: Arc<AppViews>,
    /// The members of the fleet, if the server has a door for them.
    pub fleet: Option<Arc<Desk>>,
}

/// The API while it serves requests.
pub struct Api {
    guard: Guard,
    /// Becomes true when a client asks to stop all instances and the server.
    down: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    serving: JoinSet<()>,
    collecting: AbortHandle,
}

impl Api {
    /// Starts serving. Must be called on the runtime.
    pub fn start(
        listeners: ApiListeners,
        config: ApiConfig,
        proxy: &proxy::Proxy,
        engine: Arc<dyn ApiEngine>,
        store: Arc<ReleaseStore>,
    ) -> Self {
        let ApiConfig { data, hosts, token, board, fleet } = config;
        let (down, stop) = (watch::Sender::new(false), watch::Sender::new(false));
        let (metrics, traffic, ready) = (proxy.clone(), proxy.clone(), proxy.clone());
        let missing = listeners.missing.clone();
        let parts = ApiState {
            as_root: rustix::process::geteuid().is_root(),
            engine: engine.clone(),
            store: store.clone(),
            host: Arc::new(HostFiles { data: data.clone(), board, fleet: fleet.clone() }),
            fleet: match fleet {
                Some(fleet) => fleet,
                None => Arc::new(NoFleet),
            },
            down: down.clone(),
            metrics: Arc::new(move || metrics.metrics()),
            traffic_warning: Arc::new(move |app| traffic.warning(app)),
            ready: Arc::new(move || {
                ready.is_accepting().then(|| missing.why()).ok_or_else(|| "it is ending".to_owned())
            }),
            stop: stop.subscribe(),
        };
        let guard = Guard::new(token, hosts);
        let router = server::router(parts, guard.clone());
        let serving = serve(listeners, &data, &router, &stop);
        let collecting = tokio::spawn(server::collect_uploads(engine, store)).abort_handle();
        Self { guard, down, stop, serving, collecting }
    }

    /// Returns the guard, which checks the requests.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Waits until a client asks to stop all instances and the server.
    pub async fn is_asked_down(&self) {
        // An error would mean that the sender is gone, but `self` has the sender.
        let _ = self.down.subscribe().wait_for(|down| *down).await;
    }

    /// Lets requests in flight finish, then closes all connections.
    pub async fn stop(mut self) {
        self.collecting.abort();
        self.stop.send_replace(true);
        while self.serving.join_next().await.is_some() {}
    }
}

/// Serves on both listeners. The tasks end after `stop` has become true.
fn serve(
    listeners: ApiListeners,
    data: &Path,
    router: &server::Router,
    stop: &watch::Sender<bool>,
) -> JoinSet<()> {
    let ApiListeners { socket, port: first, address, missing } = listeners;
    let mut tasks = JoinSet::new();
    if let Some(socket) = socket {
        tasks.spawn(server::serve_socket(socket, router.clone(), stop.subscribe()));
    }
    let (token, router, stop) = (data.join("token"), router.clone(), stop.subscribe());
    tasks.spawn(async move {
        let mut stopped = stop.clone();
        let bound = match first {
            Some(bound) => bound,
            None => tokio::select! {
                bound = bind(address, &missing) => bound,
                // An error means that the sender is gone, which also means stop.
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

/// Binds the port as soon as it is free.
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
        None => in_full(error),
    }
}
