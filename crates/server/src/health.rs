//! Endpoints for the operator: liveness, readiness, metrics, and the end of the server.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use wire::{Code, Problem};

use crate::answer::{ApiResult, No, Sent, blocking};
use crate::{ApiState, StoreError};

pub(crate) async fn healthy() -> &'static str {
    "ok\n"
}

pub(crate) async fn ready(State(api): State<ApiState>) -> ApiResult<String> {
    let amiss = (api.ready)().map_err(|why| No(Problem::new(Code::Unavailable, why)))?;
    Ok(amiss.map_or_else(|| "ready\n".to_owned(), |what| format!("ready, but {what}\n")))
}

pub(crate) async fn metrics(State(api): State<ApiState>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (api.metrics)())
}

pub(crate) async fn down(
    State(api): State<ApiState>,
    // The body is read so that the connection can be closed in order.
    Sent(_): Sent<serde::de::IgnoredAny>,
) -> ApiResult<Json<wire::Down>> {
    let host = api.host.clone();
    // The instances are counted on the host, so the number is right whatever the engine knows.
    let count = move || {
        host.running().map_err(|error| {
            let why = model::in_full(&error);
            StoreError::Unavailable(format!("cannot find the instances: {why}"))
        })
    };
    let instances = blocking(count).await.map_err(|No(problem)| {
        No(problem.hint("nothing was stopped; look at the data folder's run/"))
    })?;
    api.down.send_replace(true);
    Ok(Json(wire::Down { pid: std::process::id(), instances }))
}
