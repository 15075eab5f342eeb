//! Turns answers and refusals into HTTP responses. Every refusal says what was refused and why.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use model::AppName;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use wire::{Code, ErrorBody, Problem};

use control::{Refusal, RefusalCode};

use crate::StoreError;

/// A refusal, which becomes an error response.
#[derive(Debug)]
pub(crate) struct No(pub(crate) Problem);

pub(crate) type ApiResult<T> = Result<T, No>;

impl IntoResponse for No {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(ErrorBody { error: self.0 })).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let scheme = header::HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

impl From<Problem> for No {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> Self {
        let Refusal { code, message, hint } = refusal;
        let code = match code {
            RefusalCode::Refused => Code::Refused,
            RefusalCode::Conflict => Code::Conflict,
            RefusalCode::NotFound => Code::NotFound,
            RefusalCode::Unavailable => Code::Unavailable,
        };
        Self(Problem { code, message, hint })
    }
}

impl From<StoreError> for No {
    fn from(error: StoreError) -> Self {
        Self(match error {
            StoreError::Invalid(message) => Problem::new(Code::Invalid, message),
            StoreError::Refused { message, hint } => {
                Problem::new(Code::Refused, message).hint(hint)
            }
            StoreError::Unavailable(message) => Problem::new(Code::Unavailable, message),
        })
    }
}

/// Bodies longer than this, in bytes, are parsed on a thread for blocking work.
const LONG: usize = 64 * 1024;
/// Limits how many long bodies are parsed at a time. Each may have 32 MiB, and there may be two hundred
/// connections.
static LONG_BODIES: Semaphore = Semaphore::const_new(8);

/// A JSON body parsed as a `T`. An empty body is parsed as `{}`.
pub(crate) struct Sent<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send + 'static> FromRequest<S> for Sent<T> {
    type Rejection = No;

    async fn from_request(request: Request, state: &S) -> ApiResult<Self> {
        let length = request.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        // A body without a length may be long.
        let _turn = match length {
            Some(length) if length <= LONG => None,
            Some(_) | None => LONG_BODIES.acquire().await.ok(),
        };
        let bytes = Bytes::from_request(request, state).await.map_err(broken_body)?;
        let long = bytes.len() > LONG;
        let read = move || {
            let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
            serde_json::from_slice(text).map(Self).map_err(|error| {
                StoreError::Invalid(format!("the body is not what is asked for: {error}"))
            })
        };
        // A list of files can be long, and the API has one thread for all its clients.
        if long { blocking(read).await } else { Ok(read()?) }
    }
}

fn broken_body(rejection: BytesRejection) -> No {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return No(Problem::new(Code::TooLarge, "the body is larger than this path takes"));
    }
    No(Problem::new(Code::Invalid, "the body broke off"))
}

/// Parses an app's name from the path of a request.
pub(crate) fn app_name(text: &str) -> ApiResult<AppName> {
    text.parse().map_err(|error: model::Invalid| No(Problem::new(Code::Invalid, error.to_string())))
}

/// Returns the refusal for an unknown app, with the nearest name that exists as a hint.
pub(crate) fn no_such_app<'a>(app: &AppName, apps: impl IntoIterator<Item = &'a str>) -> No {
    let problem = Problem::new(Code::NotFound, format!("there is no app `{app}`"));
    No(match model::nearest(app.as_str(), apps) {
        Some(near) => problem.hint(format!("did you mean `{near}`?")),
        None => problem.hint("`segue status` lists the apps"),
    })
}

/// Makes a response of JSON lines.
pub(crate) fn lines(body: Body) -> Response {
    let headers =
        [(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-store")];
    (headers, body).into_response()
}

pub(crate) async fn no_such_path(uri: Uri) -> No {
    No(Problem::new(Code::NotFound, format!("there is nothing at {}", uri.path())))
}

pub(crate) async fn no_such_method(method: Method, uri: Uri) -> Response {
    let message = format!("{} does not take {method}", uri.path());
    let error = ErrorBody { error: Problem::new(Code::Invalid, message) };
    (StatusCode::METHOD_NOT_ALLOWED, Json(error)).into_response()
}

/// Runs blocking work on a thread for such work.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> ApiResult<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(No(Problem::new(Code::Internal, "a defect of segue ended the request"))),
    }
}
