//! The stream of an app's events, as JSON lines. The stream ends when the server stops. It has a line about
//! the state of the rollout every second, so that a client can take silence for a broken connection.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use futures_util::stream;
use model::AppName;
use serde::Deserialize;
use tokio::time::{Interval, MissedTickBehavior, interval};
use wire::{Code, Line, Now, Problem, StreamEvent};

use crate::answer::{ApiResult, No, app_name, lines};
use crate::{ApiState, FeedItem, Subscription, apps};

/// The longest time between two lines.
const EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct EventsQuery {
    after: u64,
    rollout: Option<u32>,
}

pub(crate) async fn stream(
    State(api): State<ApiState>,
    Path(app): Path<String>,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> ApiResult<Response> {
    let Query(EventsQuery { after, rollout }) = query.map_err(wrong_query)?;
    let app = app_name(&app)?;
    apps::find(&api, &app)?;
    let news = api.engine.events(&app, after);
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let reader = Reader { api, app, rollout, news, tick };
    let body = stream::unfold(reader, |mut reader| async move {
        let line = reader.next().await?;
        Some((Ok::<_, Infallible>(encode(&line)), reader))
    });
    Ok(lines(Body::from_stream(body)))
}

pub(crate) fn wrong_query(rejection: QueryRejection) -> No {
    No(Problem::new(Code::Invalid, rejection.body_text()))
}

/// The reader of one stream.
struct Reader {
    api: ApiState,
    app: AppName,
    rollout: Option<u32>,
    news: Subscription,
    tick: Interval,
}

impl Reader {
    /// Returns the next line; `None` when the server stops.
    async fn next(&mut self) -> Option<Line> {
        loop {
            tokio::select! {
                biased;
                news = self.news.next() => match news? {
                    FeedItem::Event(seq, event) => {
                        if self.rollout.is_none_or(|id| event.rollout.is_some_and(|r| r.0 == id)) {
                            return Some(Line::Event(StreamEvent::new(seq, &event)));
                        }
                    }
                    FeedItem::Lost(count) => return Some(Line::Lost(count)),
                },
                _ = self.api.stop.wait_for(|stop| *stop) => return None,
                _ = self.tick.tick() => {
                    let view = self.api.engine.view(&self.app);
                    return Some(Line::Now(Now::new(view.as_deref(), self.api.engine.now())));
                }
            }
        }
    }
}

/// Encodes one value as a line of JSON.
pub(crate) fn encode(line: &impl serde::Serialize) -> Bytes {
    // These shapes have only texts as keys, so this cannot fail; an empty line would do no harm.
    let mut bytes = serde_json::to_vec(line).unwrap_or_default();
    bytes.push(b'\n');
    bytes.into()
}
