//! The HTTP API: who may ask, what is asked, and the stream of events.
//!
//! It translates and decides nothing: commands go to an [`Engine`], files to a [`Store`], and
//! output comes from a [`Host`]. It never touches a journal, a process or a routing table.

mod answer;
mod apps;
mod blobs;
mod changes;
mod collect;
mod commands;
mod deploys;
mod engine;
mod events;
mod feed;
mod guard;
mod host;
mod listen;
mod logs;
mod ops;
mod parts;
mod release_store;
mod store;
mod token;
mod visitors;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post, put};

/// All paths of the API.
pub use axum::Router;
pub use collect::collect_uploads;
pub use engine::{Command, Engine, Pending, Shutdown, Stopping};
pub use feed::{Feed, News, Subscription};
pub use guard::Guard;
pub use host::{Host, LogCursor, LogPage, LogStart};
pub use listen::{ListenError, bind, bind_in_folder, may_bind, serve_port, serve_socket};
pub use logs::MAX_LINES;
pub use parts::{Metrics, Parts, Ready, TrafficWarning};
pub use store::{Became, Store, StoreError};
pub use token::load_or_create_token;

/// A list of files is the largest body there is, besides blobs.
const BODY_LIMIT: usize = 32 * 1024 * 1024;

/// All routes, behind the guard.
pub fn router(parts: Parts, guard: Guard) -> Router {
    let brief = Router::new()
        .route("/metrics", get(ops::metrics))
        .route("/readyz", get(ops::ready))
        .route("/v1/apps", get(apps::list))
        .route("/v1/apps/{app}", get(apps::show).delete(commands::remove))
        .route("/v1/apps/{app}/releases", get(apps::releases))
        .route("/v1/apps/{app}/receipts", get(apps::receipts))
        .route("/v1/apps/{app}/receipts/{rollout}", get(apps::receipt))
        .route("/v1/apps/{app}/rollout", get(apps::rollout))
        .route("/v1/apps/{app}/deploys", post(deploys::deploy))
        .route("/v1/apps/{app}/plan", post(deploys::plan))
        .route("/v1/apps/{app}/rollback", post(commands::rollback))
        .route("/v1/apps/{app}/promote", post(commands::promote))
        .route("/v1/apps/{app}/pause", post(commands::pause))
        .route("/v1/apps/{app}/sync", post(commands::sync))
        .route("/v1/apps/{app}/resume", post(commands::resume))
        .route("/v1/apps/{app}/restart", post(commands::restart))
        .route("/v1/apps/{app}/scale", post(commands::scale))
        .route("/v1/apps/{app}/maintenance", post(commands::maintenance))
        .route("/v1/apps/{app}/abort", post(commands::abort))
        .route("/v1/state", get(commands::left_state))
        .route("/v1/blobs/missing", post(blobs::missing))
        .route("/v1/down", post(ops::down))
        .layer(middleware::from_fn(guard::in_time));
    let long = Router::new()
        .route("/v1/blobs/{digest}", put(blobs::put))
        .route("/v1/apps/{app}/events", get(events::stream))
        .route("/v1/apps/{app}/logs", get(logs::stream));
    Router::new()
        .route("/healthz", get(ops::healthy))
        .merge(brief)
        .merge(long)
        .fallback(answer::no_such_path)
        .method_not_allowed_fallback(answer::no_such_method)
        .layer(middleware::from_fn_with_state(parts.clone(), guard::not_read_only))
        .layer(middleware::from_fn_with_state(Arc::new(guard), guard::admit))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(parts)
}
