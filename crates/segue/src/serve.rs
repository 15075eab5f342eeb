//! `segue server`: the order in which its three parts start and stop. Traffic starts first, since it depends
//! on neither of the others; then the brain, then the API.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cli::{CommandError, DoorOptions, Limit, ServerOptions};
use control::Inbox;
use model::{Millis, ProxySettings};
use proxy::{SignalAction, Signals};
use server::AppViews;
use store::ReleaseStore;
use tokio::runtime::Runtime;
use wire::Secret;

use crate::api::{Api, ApiConfig, ApiListeners};
use crate::brain::{Brain, BrainConfig};
use crate::cookie_keys::{CookieKeys, NextKey};
use crate::data_folder::DataFolder;
use crate::failure::cannot_start;
use crate::fleet::{FleetConfig, Members};
use crate::front::Front;
use crate::key_renewal;
use crate::local_host::LocalHostTerms;
use crate::signals;

/// The time between SIGTERM and SIGKILL for instances when everything is stopped.
pub const GRACE: Millis = Millis::from_secs(30);

/// The scope of a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// The server alone; the instances go on.
    Server,
    /// The server and all instances.
    Everything,
}

/// Serves until a signal or `segue down`.
pub fn run(options: &ServerOptions) -> Result<(), CommandError> {
    let open_files = agent::OpenFiles::for_apps();
    check_addresses(options)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| cannot_start(&error))?;
    let signals = runtime.block_on(async { Signals::listen() });
    let signals = signals.map_err(|error| cannot_start(&error))?;
    let (folder, _lock) = DataFolder::claim(&options.data)?;
    let data = folder.path();

    let (inbox, mail) = Inbox::new();
    let keys = cookie_keys(data)?;
    let mut front = Front::start(proxy_config(options, &keys), data, &inbox)?;
    let token = server::load_or_create_token(data).map_err(|error| cannot_start(&error))?;
    let listeners = runtime.block_on(ApiListeners::bind(data, options.api));
    let store = open_store(data)?;
    let board = Arc::new(AppViews::default());
    let fleet = open_fleet(options, data, keys.to_text(), (&inbox, &board, &store))?;
    let config = BrainConfig {
        data: data.to_owned(),
        store: store.clone(),
        keep_releases: options.keep_releases,
        local: LocalHostTerms::of(options),
        open_files,
        board: board.clone(),
        fleet: fleet.clone(),
    };
    let brain = Brain::start(config, &mut front, (inbox, mail))?;
    let (data_folder, hosts) = (data.to_owned(), options.api_hosts.clone());
    let fleet = fleet.map(|fleet| fleet.desk());
    if let Some(desk) = &fleet {
        runtime.spawn(crate::fleet::keep_told(desk.clone(), front.proxy().clone()));
    }
    let own = front.proxy().clone();
    runtime.spawn(key_renewal::run(data.join("affinity.keys"), keys, own, fleet.clone()));
    let config = ApiConfig { data: data_folder, hosts, token, board, fleet };
    let api = {
        let _on_runtime = runtime.enter();
        Api::start(listeners, config, front.proxy(), brain.engine(), store)
    };
    let pid = format!("{}\n", std::process::id());
    if let Err(error) = datadir::replace(&data.join("server.pid"), pid.as_bytes()) {
        tracing::warn!(%error, "server.pid is not written");
    }

    let scope = runtime.block_on(asked_to_end(signals, &api, data, &front));
    end(&runtime, scope, data, (front, brain, api));
    runtime.shutdown_timeout(Duration::from_secs(1));
    if scope == Scope::Server
        && let Ok(count @ 1..) = agent::running(data)
    {
        let data = data.display();
        tracing::info!("{count} instances keep running; `segue down --data {data}` stops them");
    }
    Ok(())
}

/// Waits until a signal or a client asks for a stop, and carries out the other signals meanwhile.
async fn asked_to_end(mut signals: Signals, api: &Api, data: &Path, front: &Front) -> Scope {
    loop {
        tokio::select! {
            wish = signals.next() => match wish {
                SignalAction::End => return Scope::Server,
                SignalAction::Reload => signals::reload(data, api.guard(), front.proxy()).await,
            },
            () = api.is_asked_down() => return Scope::Everything,
        }
    }
}

/// Stops traffic first. The API is served until the end, so that it can report the progress.
fn end(runtime: &Runtime, scope: Scope, data: &Path, (front, brain, api): (Front, Brain, Api)) {
    let data = data.to_owned();
    let finish = move || {
        front.drain();
        // Control stops before the instances do; otherwise it would start others in their place.
        brain.stop();
        if scope == Scope::Everything
            && let Err(error) = agent::stop_all(&data, GRACE)
        {
            tracing::error!(%error, "cannot stop the instances");
        }
    };
    runtime.block_on(async {
        // A panic on that thread has been printed already.
        let _ = tokio::task::spawn_blocking(finish).await;
        api.stop().await;
    });
}

fn check_addresses(options: &ServerOptions) -> Result<(), CommandError> {
    server::may_bind(options.api).map_err(|error| cannot_start(&error))?;
    if let DoorOptions { fleet: Some(listen), advertise } = &options.door
        && listen.ip().is_unspecified()
        && advertise.is_empty()
    {
        let cause = format!("{} is no address that members could connect to", listen.ip());
        let failure = CommandError::because("open the door for members", cause);
        let hint = "say where they reach it: --advertise HOST:PORT";
        return Err(failure.hint(hint).exit(cli::ExitStatus::Usage));
    }
    if let Some(fault) = options.address.and_then(control::address_fault) {
        let failure = CommandError::because("start the server", fault);
        let hint = "--address is the one at which other machines reach this one";
        return Err(failure.hint(hint).exit(cli::ExitStatus::Usage));
    }
    if meet(options.http, options.api) {
        let cause = format!("--http and --api are both on port {}", options.api.port());
        let failure =
            CommandError::because("start the server", cause).hint("give the API a port of its own");
        return Err(failure.exit(cli::ExitStatus::Usage));
    }
    Ok(())
}

/// Returns whether a listener on one address would take the other's connections.
fn meet(http: SocketAddr, api: SocketAddr) -> bool {
    http.port() == api.port()
        && http.port() != 0
        && (http.ip() == api.ip() || http.ip().is_unspecified())
}

fn cookie_keys(data: &Path) -> Result<CookieKeys, CommandError> {
    let keys = data.join("affinity.keys");
    CookieKeys::load_or_renew(&keys, NextKey::OnlyOpens)
        .map_err(|error| CommandError::new(format!("read {}", keys.display()), &error))
}

fn proxy_config(options: &ServerOptions, keys: &CookieKeys) -> proxy::Config {
    let mut config = proxy::Config::new(vec![options.http]);
    config.workers = options.workers.map_or(config.workers, usize::from);
    config.access_log = options.access_log.clone().file();
    let ProxySettings { limits, trusted_proxies, trusted_networks } = proxy_settings(options);
    config.limits = limits.into();
    config.trusted_proxies = trusted_proxies;
    config.trusted_networks = trusted_networks;
    config.release_memory = crate::sys::release_memory;
    config.affinity_keys = keys.to_proxy();
    config
}

/// Returns the settings of all proxies, the server's own and those of its fleet.
fn proxy_settings(options: &ServerOptions) -> ProxySettings {
    ProxySettings {
        limits: Limit::all(&options.limits).proxy,
        trusted_proxies: options.trusted_proxies.clone(),
        trusted_networks: options.trusted_networks.clone(),
    }
}

/// Opens the door for members of the fleet, if one is wanted.
fn open_fleet(
    options: &ServerOptions,
    data: &Path,
    keys: Secret,
    (inbox, board, store): (&Inbox, &Arc<AppViews>, &Arc<ReleaseStore>),
) -> Result<Option<Arc<Members>>, CommandError> {
    let DoorOptions { fleet, advertise } = &options.door;
    let Some(listen) = *fleet else { return Ok(None) };
    let advertise = if advertise.is_empty() { vec![listen.to_string()] } else { advertise.clone() };
    let settings = proxy_settings(options);
    let config =
        FleetConfig { listen, advertise, settings, keys, local: LocalHostTerms::of(options) };
    let (inbox, board, store) = (inbox.clone(), board.clone(), store.clone());
    Members::open(config, data, inbox, board, store).map(|fleet| Some(Arc::new(fleet)))
}

fn open_store(data: &Path) -> Result<Arc<ReleaseStore>, CommandError> {
    let store = ReleaseStore::open(data).map(Arc::new);
    store.map_err(|error| {
        CommandError::new(format!("use the data folder {}", data.display()), &error)
    })
}

#[cfg(test)]
mod tests;
