//! For whoever operates the server: is it alive, is it ready, its numbers, and its end.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use wire::{Code, Problem};

use crate::Parts;
use crate::answer::{Answer, No, Sent};

pub(crate) async fn healthy() -> &'static str {
    "ok\n"
}

pub(crate) async fn ready(State(parts): State<Parts>) -> Answer<String> {
    let amiss = (parts.ready)().map_err(|why| No(Problem::new(Code::Unavailable, why)))?;
    Ok(amiss.map_or_else(|| "ready\n".to_owned(), |what| format!("ready, but {what}\n")))
}

pub(crate) async fn metrics(State(parts): State<Parts>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (parts.metrics)())
}

pub(crate) async fn down(
    State(parts): State<Parts>,
    // Read, so that the connection can be closed in order.
    Sent(_): Sent<serde::de::IgnoredAny>,
) -> Answer<Json<wire::Down>> {
    let crate::Stopping { instances } = parts.shutdown.down().await?;
    Ok(Json(wire::Down { pid: std::process::id(), instances }))
}
