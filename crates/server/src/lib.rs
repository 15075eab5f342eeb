//! The HTTP API: authentication, commands, queries and the stream of events.
//!
//! The API translates requests and decides nothing. It passes commands to an [`ApiEngine`], keeps files in an
//! [`ApiStore`], and reads output from an [`ApiHost`]. It never touches a journal, a process or a routing
//! table.

mod answer;
mod api_state;
mod app_views;
mod apps;
mod blobs;
mod changes;
mod commands;
mod connection_limit;
mod deploys;
mod endpoints;
mod engine;
mod engine_handle;
mod events;
mod feed;
mod fleet;
mod guard;
mod health;
mod host;
mod listen;
mod logs;
mod members;
mod release_store;
mod store;
mod token;
mod upload_cleanup;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::middleware;

pub use api_state::{ApiState, Metrics, Ready, TrafficWarning};
pub use app_views::{AppViews, Notices};
/// The type that [`router`] returns.
pub use axum::Router;
pub use engine::{ApiEngine, EngineCommand, Pending};
pub use engine_handle::EngineHandle;
pub use feed::{Feed, FeedItem, Subscription};
pub use fleet::{ApiFleet, NoFleet};
pub use guard::Guard;
pub use host::ApiHost;
pub use listen::{ListenError, bind, bind_in_folder, may_bind, serve_port, serve_socket};
pub use logs::MAX_LINES;
pub use store::{ApiStore, Became, StoreError};
pub use token::load_or_create_token;
pub use upload_cleanup::collect_uploads;

/// The largest body of a request other than a blob, in bytes. A list of files is the largest such body.
const BODY_LIMIT: usize = 32 * 1024 * 1024;

/// Returns the router with all endpoints of the API, behind the guard.
pub fn router(api: ApiState, guard: Guard) -> Router {
    endpoints::routes()
        .fallback(answer::no_such_path)
        .method_not_allowed_fallback(answer::no_such_method)
        .layer(middleware::from_fn(guard::in_time))
        .layer(middleware::from_fn_with_state(api.clone(), guard::not_read_only))
        .layer(middleware::from_fn_with_state(Arc::new(guard), guard::admit))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(api)
}
