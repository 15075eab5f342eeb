//! A session: a WebSocket between a server and a member, with heartbeats in both directions. Both ends run
//! this code.

use std::io::ErrorKind;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};

use crate::message::Replaces;
use crate::queue::Queue;

/// The longest message, in bytes. A snapshot with ten thousand instances has about 3 MB.
const LONGEST: usize = 64 << 20;

/// The times of a session.
#[derive(Clone, Copy, Debug)]
pub struct SessionTimes {
    /// The time between two heartbeats.
    pub heartbeat: Duration,
    /// The time without a word after which the other end counts as silent.
    pub silent: Duration,
    /// The time without a word after which the session ends, and the time in which a message must be on its
    /// way.
    pub lost: Duration,
}

impl Default for SessionTimes {
    fn default() -> Self {
        let secs = Duration::from_secs;
        Self { heartbeat: secs(2), silent: secs(3), lost: secs(10) }
    }
}

/// An event of a session.
#[derive(Debug)]
pub(crate) enum Heard<M> {
    /// The other end said this.
    Message(M),
    /// There was no word for [`SessionTimes::silent`].
    Silence,
    /// The other end speaks again after a silence.
    Again,
}

/// The reason why a session ended.
#[derive(Debug, Error)]
pub enum SessionEnd {
    /// This end closed it.
    #[error("it was closed")]
    Closed,
    /// The other end closed it.
    #[error("the other end closed it")]
    OtherEnd,
    /// There was no word from the other end.
    #[error("nothing was heard for {} s", .0.as_secs())]
    Silence(Duration),
    /// A message could not be sent in time.
    #[error(
        "a message of {bytes} bytes did not get through within {} s, although the connection stands; a \
         path that drops large packets does that (MTU)", within.as_secs()
    )]
    NotDelivered {
        /// The size of the message.
        bytes: usize,
        /// The time that it had.
        within: Duration,
    },
    /// The other end sent something that is no message.
    #[error("a message could not be read: {0}")]
    Unreadable(serde_json::Error),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Connection(std::io::Error),
    /// The other end does not keep to the rules of a WebSocket.
    #[error("the other end speaks no WebSocket: {0}")]
    Broken(WebSocketError),
}

impl SessionEnd {
    /// Returns the end that this error means. A process that is killed closes its connection without a word.
    fn of(error: WebSocketError) -> Self {
        match error {
            WebSocketError::Protocol(ProtocolError::ResetWithoutClosingHandshake)
            | WebSocketError::ConnectionClosed
            | WebSocketError::AlreadyClosed => Self::OtherEnd,
            WebSocketError::Io(error) if error.kind() == ErrorKind::UnexpectedEof => Self::OtherEnd,
            WebSocketError::Io(error) => Self::Connection(error),
            WebSocketError::Tls(_)
            | WebSocketError::Capacity(_)
            | WebSocketError::Protocol(_)
            | WebSocketError::WriteBufferFull(_)
            | WebSocketError::Utf8(_)
            | WebSocketError::AttackAttempt
            | WebSocketError::Url(_)
            | WebSocketError::Http(_)
            | WebSocketError::HttpFormat(_) => Self::Broken(error),
        }
    }
}

/// Returns the limits of a session's WebSocket.
pub(crate) fn limits() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(LONGEST)).max_frame_size(Some(LONGEST))
}

/// Runs a session until it ends. Messages of `queue` are sent, and `hear` gets what comes.
pub(crate) async fn run<S, Out, In>(
    socket: WebSocketStream<S>,
    queue: &Queue<Out>,
    heartbeat: impl Fn() -> Out,
    times: SessionTimes,
    mut hear: impl FnMut(Heard<In>),
) -> SessionEnd
where
    S: AsyncRead + AsyncWrite + Unpin,
    Out: Replaces,
    In: DeserializeOwned,
{
    let (mut sink, mut stream) = socket.split();
    // The size of the message that is on its way, and since when.
    let sending = Mutex::new(None::<(usize, Instant)>);
    let on_its_way = |message| {
        *sending.lock().unwrap_or_else(PoisonError::into_inner) = message;
    };
    let write = async {
        loop {
            let message = match tokio::time::timeout(times.heartbeat, queue.next()).await {
                Ok(Some(message)) => message,
                Ok(None) => {
                    let _ = tokio::time::timeout(times.heartbeat, sink.close()).await;
                    return SessionEnd::Closed;
                }
                Err(_) => heartbeat(),
            };
            let text = match serde_json::to_string(&message) {
                Ok(text) => text,
                Err(error) => return SessionEnd::Unreadable(error),
            };
            let bytes = text.len();
            on_its_way(Some((bytes, Instant::now())));
            let sent = tokio::time::timeout(times.lost, sink.send(Message::text(text))).await;
            on_its_way(None);
            match sent {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return SessionEnd::of(error),
                Err(_) => return SessionEnd::NotDelivered { bytes, within: times.lost },
            }
        }
    };
    let read = async {
        let mut last = Instant::now();
        let mut silent = false;
        loop {
            let patience = if silent { times.lost } else { times.silent };
            let message = match timeout_at(last + patience, stream.next()).await {
                Err(_) if silent => return SessionEnd::Silence(times.lost),
                Err(_) => {
                    silent = true;
                    hear(Heard::Silence);
                    continue;
                }
                Ok(None) => return SessionEnd::OtherEnd,
                Ok(Some(Err(error))) => return SessionEnd::of(error),
                Ok(Some(Ok(message))) => message,
            };
            last = Instant::now();
            if std::mem::take(&mut silent) {
                hear(Heard::Again);
            }
            let text = match message {
                Message::Text(text) => text,
                Message::Close(_) => return SessionEnd::OtherEnd,
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {
                    continue;
                }
            };
            match serde_json::from_str(&text) {
                Ok(message) => hear(Heard::Message(message)),
                Err(error) => return SessionEnd::Unreadable(error),
            }
        }
    };
    let end = tokio::select! {
        end = write => end,
        end = read => end,
    };
    match sending.into_inner().unwrap_or_else(PoisonError::into_inner) {
        // The other end may give up first, since what comes behind that message does not get through either.
        Some((bytes, since)) if since.elapsed() >= times.silent => {
            SessionEnd::NotDelivered { bytes, within: since.elapsed() }
        }
        Some(_) | None => end,
    }
}
