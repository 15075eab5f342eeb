//! The API in this server: answered on the socket in the data folder, and on its port, which is tried again
//! while another program has it. Traffic waits for neither.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use model::in_full;
use sd_notify::NotifyState;
use server::{ApiEngine, ApiState, Guard, ListenError};
use store::ReleaseStore;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::adapters::LocalFiles;

/// Time between two tries to get the port.
const AGAIN: Duration = Duration::from_secs(1);

/// Why the port is not there, if it is not.
#[derive(Clone, Debug, Default)]
struct Missing(Arc<RwLock<Option<String>>>);

impl Missing {
    fn why(&self) -> Option<String> {
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
        notify(&[NotifyState::Status(why.as_deref().unwrap_or("serving"))]);
    }
}

/// Without systemd there is nobody to notify.
fn notify(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}

/// Listeners that are bound before the server says that it is ready: a client that connects at once waits for
/// the answer.
#[derive(Debug)]
pub struct ApiListeners {
    socket: Option<UnixListener>,
    port: Option<TcpListener>,
    address: SocketAddr,
    missing: Missing,
}

impl ApiListeners {
    /// The socket in the data folder, then the port, if it can be had at once. Tells systemd in between that
    /// traffic is served.
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
    /// Host names that it answers for, besides those of this machine.
    pub hosts: Vec<String>,
    /// The token that a client has to send.
    pub token: wire::Secret,
}

/// The API, while it is answered.
pub struct Api {
    guard: Guard,
    /// Becomes true when somebody asks for the end of everything.
    down: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    serving: JoinSet<()>,
    collecting: AbortHandle,
}

impl Api {
    /// Begins to answer. Has to be called on the runtime.
    pub fn start(
        listeners: ApiListeners,
        config: ApiConfig,
        proxy: &proxy::Proxy,
        engine: Arc<dyn ApiEngine>,
        store: Arc<ReleaseStore>,
    ) -> Self {
        let ApiConfig { data, hosts, token } = config;
        let (down, stop) = (watch::Sender::new(false), watch::Sender::new(false));
        let (metrics, traffic, ready) = (proxy.clone(), proxy.clone(), proxy.clone());
        let missing = listeners.missing.clone();
        let parts = ApiState {
            as_root: rustix::process::geteuid().is_root(),
            engine: engine.clone(),
            store: store.clone(),
            host: Arc::new(LocalFiles { data: data.clone() }),
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

    /// The guard at its door.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Waits until somebody asks for the end of everything.
    pub async fn is_asked_down(&self) {
        // A sender that is gone means the same, but this one is not.
        let _ = self.down.subscribe().wait_for(|down| *down).await;
    }

    /// Lets what is under way finish, and hangs up.
    pub async fn stop(mut self) {
        self.collecting.abort();
        self.stop.send_replace(true);
        while self.serving.join_next().await.is_some() {}
    }
}

/// Answers on both; the tasks end after `stop` has become true.
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
        None => in_full(error),
    }
}
