//! The output of instances, as JSON lines. With `follow`, the response goes on with new output.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use futures_util::stream;
use model::{AppName, InstanceId};
use serde::Deserialize;
use wire::{Code, LogCursor, LogPage, LogRequest, LogStart, Problem};

use crate::answer::{ApiResult, No, app_name, blocking, lines};
use crate::events::{encode, wrong_query};
use crate::{ApiState, StoreError, apps};

/// The largest number of lines in one page of output.
pub const MAX_LINES: u32 = 10_000;
/// The time between two checks for new output.
const LOOK: Duration = Duration::from_millis(200);
/// After this number of checks without new output, an empty line shows that the connection is alive.
const QUIET: u32 = 5;

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogsQuery {
    instance: Option<InstanceId>,
    lines: u32,
    follow: bool,
}

impl Default for LogsQuery {
    fn default() -> Self {
        Self { instance: None, lines: 100, follow: false }
    }
}

pub(crate) async fn stream(
    State(api): State<ApiState>,
    Path(app): Path<String>,
    query: Result<Query<LogsQuery>, QueryRejection>,
) -> ApiResult<Response> {
    let Query(LogsQuery { instance, lines: count, follow }) = query.map_err(wrong_query)?;
    let app = app_name(&app)?;
    apps::find(&api, &app)?;
    if let Some(other) = instance.as_ref().filter(|instance| instance.app != app) {
        let message = format!("{other} is no instance of `{app}`");
        return Err(No(Problem::new(Code::Invalid, message)));
    }
    let reader = Reader { api, app, instance, quiet: 0 };
    let first = reader.page(LogStart::Last(count.min(MAX_LINES))).await?;
    let body = text(&first);
    if !follow {
        return Ok(lines(Body::from(body)));
    }
    let start = (Some(body), first.next, reader);
    let rest = stream::unfold(start, |(first, cursor, mut reader)| async move {
        if let Some(body) = first {
            return Some((Ok::<_, Infallible>(body), (None, cursor, reader)));
        }
        let (body, cursor) = reader.more(cursor).await?;
        Some((Ok(body), (None, cursor, reader)))
    });
    Ok(lines(Body::from_stream(rest)))
}

/// The reader of one stream with `follow`.
struct Reader {
    api: ApiState,
    app: AppName,
    instance: Option<InstanceId>,
    quiet: u32,
}

impl Reader {
    async fn page(&self, start: LogStart) -> ApiResult<LogPage> {
        let host = self.api.host.clone();
        let (app, instance) = (self.app.clone(), self.instance.clone());
        let request = LogRequest { app, instance, start };
        let read = move || {
            host.logs(&request).map_err(|error| {
                let app = &request.app;
                StoreError::Unavailable(format!("cannot read the output of {app}: {error}"))
            })
        };
        blocking(read).await
    }

    /// Returns the output after `cursor`, or an empty line if none came for a while. Returns `None` when the
    /// server stops or the output cannot be read any more.
    async fn more(&mut self, mut cursor: LogCursor) -> Option<(Bytes, LogCursor)> {
        loop {
            tokio::select! {
                biased;
                _ = self.api.stop.wait_for(|stop| *stop) => return None,
                () = tokio::time::sleep(LOOK) => {}
            }
            let page = self.page(LogStart::After(cursor)).await.ok()?;
            self.quiet = if page.lines.is_empty() { self.quiet + 1 } else { 0 };
            if !page.lines.is_empty() {
                return Some((text(&page), page.next));
            }
            if self.quiet >= QUIET {
                self.quiet = 0;
                return Some((Bytes::from_static(b"\n"), page.next));
            }
            cursor = page.next;
        }
    }
}

fn text(page: &LogPage) -> Bytes {
    page.lines.iter().flat_map(|line| encode(line).to_vec()).collect::<Vec<u8>>().into()
}
