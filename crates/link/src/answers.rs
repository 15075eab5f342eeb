//! The requests that a door answers: to join, to renew a certificate, to open a session, and for content.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http::header::{AUTHORIZATION, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use identity::{Authority, Fingerprint, InviteSecret, MemberIdentity, PeerCertificate};
use model::Role;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::io::ReaderStream;

use crate::content::{ContentRefusal, ContentRequest, ServedContent};
use crate::door_state::{DoorCaller, DoorState, MemberStanding};
use crate::join::{Certified, JOIN, RENEW};
use crate::member::LINK;
use crate::member_session;

/// The body of an answer.
pub(crate) type AnswerBody = UnsyncBoxBody<Bytes, io::Error>;

/// The longest request for a certificate, in bytes.
const REQUEST: usize = 16 << 10;
/// The time for the body of a request.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long after its end a certificate can still be renewed.
const RENEWABLE: Duration = Duration::from_hours(24 * 60);
/// The size of a piece of a file's content, in bytes.
const PIECE: usize = 64 << 10;

/// Answers one request.
pub(crate) async fn answer(
    shared: Arc<DoorState>,
    caller: DoorCaller,
    request: Request<Incoming>,
) -> Response<AnswerBody> {
    let path = request.uri().path().to_owned();
    let answered = match (request.method(), path.as_str()) {
        (&Method::POST, JOIN) => join(&shared, &caller, request).await,
        (&Method::POST, RENEW) => renew(&shared, &caller, request).await,
        (&Method::GET, LINK) => open(shared, &caller, request),
        (&Method::GET, path) => content(&shared, &caller, path).await,
        _ => Err(refused(StatusCode::NOT_FOUND, "there is no such thing here")),
    };
    answered.unwrap_or_else(|refusal| {
        let Refusal { status, why } = refusal;
        tracing::info!(from = %caller.from, path, %status, why, "a request of a member was refused");
        response(status, format!("{why}\n").into())
    })
}

/// Why a request is refused.
struct Refusal {
    status: StatusCode,
    why: String,
}

fn refused(status: StatusCode, why: impl Into<String>) -> Refusal {
    Refusal { status, why: why.into() }
}

async fn join(
    shared: &DoorState,
    caller: &DoorCaller,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Refusal> {
    let secret = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let secret = secret.and_then(|value| value.strip_prefix("Bearer "));
    let secret = secret.and_then(|secret| secret.parse::<InviteSecret>().ok());
    let forbidden = |why: String| refused(StatusCode::FORBIDDEN, why);
    let secret = secret.ok_or_else(|| forbidden("the invite has no secret".into()))?;
    let body = body(request).await?;
    let unreadable =
        |error: identity::IdentityError| refused(StatusCode::BAD_REQUEST, error.to_string());
    let key = Authority::requested_key(&body).map_err(unreadable)?;
    let member = shared.end.redeem(secret.fingerprint(), key).await;
    let (role, name) = member.map_err(forbidden)?;
    tracing::info!(from = %caller.from, %role, %name, "a member joins");
    let identity = MemberIdentity { fleet: shared.authority.fleet(), role, name };
    certify(shared, &body, &identity, key)
}

async fn renew(
    shared: &DoorState,
    caller: &DoorCaller,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Refusal> {
    let forbidden = |why: &str| refused(StatusCode::FORBIDDEN, why);
    let certificate = caller.certificate.as_ref();
    let peer = certificate.ok_or_else(|| forbidden("there is no certificate to renew"))?;
    if peer.validity.is_over(SystemTime::now() - RENEWABLE) {
        return Err(forbidden(
            "the certificate ran out more than 60 days ago: invite the member again",
        ));
    }
    match shared.end.standing(peer) {
        MemberStanding::Removed => {
            return Err(forbidden("the member was removed from the fleet"));
        }
        MemberStanding::NotKnownYet => return Err(starting()),
        MemberStanding::Member | MemberStanding::Unknown => {}
    }
    let body = body(request).await?;
    certify(shared, &body, &peer.identity, peer.key)
}

/// Signs a request with this key for this member.
fn certify(
    shared: &DoorState,
    request: &[u8],
    identity: &MemberIdentity,
    key: Fingerprint,
) -> Result<Response<AnswerBody>, Refusal> {
    let failed =
        |error: identity::IdentityError| refused(StatusCode::BAD_REQUEST, error.to_string());
    if !Authority::requested_key(request).map_err(failed)?.is(&key) {
        return Err(refused(StatusCode::FORBIDDEN, "the request is for another key"));
    }
    let certificate =
        shared.authority.sign(request, identity, SystemTime::now()).map_err(failed)?;
    let authorities = vec![shared.authority.certificate().clone()];
    let pem = Certified { certificate, authorities }.to_pem();
    Ok(response(StatusCode::OK, pem.into()))
}

/// Opens a session for a member.
fn open(
    shared: Arc<DoorState>,
    caller: &DoorCaller,
    mut request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Refusal> {
    let peer = member(caller)?.clone();
    let key = request.headers().get(SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    let accept = key.ok_or_else(|| refused(StatusCode::BAD_REQUEST, "a WebSocket is expected"))?;
    let upgrade = hyper::upgrade::on(&mut request);
    let from = caller.from;
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            member_session::run(&shared, peer, from, upgraded).await;
        }
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_ACCEPT, accept)
        .body(full(Bytes::new()))
        .map_err(|error| refused(StatusCode::BAD_REQUEST, error.to_string()))
}

async fn content(
    shared: &DoorState,
    caller: &DoorCaller,
    path: &str,
) -> Result<Response<AnswerBody>, Refusal> {
    let not_found = || refused(StatusCode::NOT_FOUND, "there is no such thing here");
    let wanted = ContentRequest::from_path(path).ok_or_else(not_found)?;
    let peer = member(caller)?;
    match shared.end.standing(peer) {
        MemberStanding::Member if peer.identity.role == Role::Host => {}
        MemberStanding::NotKnownYet => return Err(starting()),
        MemberStanding::Member | MemberStanding::Removed | MemberStanding::Unknown => {
            return Err(refused(StatusCode::FORBIDDEN, "only hosts of the fleet get content"));
        }
    }
    let found = shared.end.content(&peer.identity.name, wanted).await;
    let found = found.map_err(|refusal| {
        let status = match refusal {
            ContentRefusal::NotYours => StatusCode::FORBIDDEN,
            ContentRefusal::NotStored => StatusCode::NOT_FOUND,
            ContentRefusal::Unreadable => StatusCode::INTERNAL_SERVER_ERROR,
        };
        refused(status, refusal.to_string())
    })?;
    let ServedContent(reader) = found;
    let pieces = ReaderStream::with_capacity(reader, PIECE).map_ok(Frame::data);
    Ok(Response::new(StreamBody::new(pieces).boxed_unsync()))
}

/// Returns the refusal of a server that does not know its members yet.
fn starting() -> Refusal {
    refused(StatusCode::SERVICE_UNAVAILABLE, "the server is starting")
}

/// Returns the member that asks, unless its certificate has run out.
fn member(caller: &DoorCaller) -> Result<&PeerCertificate, Refusal> {
    let why = match &caller.certificate {
        None => "only members of the fleet may ask this",
        Some(_) => "the certificate has run out: renew it first",
    };
    caller.valid().ok_or_else(|| refused(StatusCode::FORBIDDEN, why))
}

async fn body(request: Request<Incoming>) -> Result<Vec<u8>, Refusal> {
    let body = timeout(PATIENCE, Limited::new(request.into_body(), REQUEST).collect()).await;
    let bad = |why: String| refused(StatusCode::BAD_REQUEST, why);
    let body = body.map_err(|_| bad("the request did not come in time".into()))?;
    Ok(body.map_err(|error| bad(error.to_string()))?.to_bytes().to_vec())
}

fn response(status: StatusCode, body: Bytes) -> Response<AnswerBody> {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    response
}

fn full(body: Bytes) -> AnswerBody {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}
