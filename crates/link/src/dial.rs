//! Connections from a member to its server: TCP, then TLS, then either requests or a WebSocket.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Builder;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::LinkError;

/// The time for one step of connecting.
const CONNECT: Duration = Duration::from_secs(5);
/// The time for the head of an answer, and for the body of a short one.
const ANSWER: Duration = Duration::from_secs(15);
/// The longest short answer, in bytes.
const SHORT: usize = 1 << 20;

/// Whom TLS names as the server. Members know servers by fleet and role, so the name is never looked at.
pub(crate) const SERVER_NAME: &str = "segue.invalid";

/// Connects to a server at `HOST:PORT`.
pub(crate) async fn connect(
    server: &str,
    tls: &Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, LinkError> {
    let failed = |source| LinkError::Connect { server: server.to_owned(), source };
    let late = || failed(std::io::ErrorKind::TimedOut.into());
    let stream = timeout(CONNECT, TcpStream::connect(server)).await;
    let stream = stream.map_err(|_| late())?.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    let name =
        ServerName::try_from(SERVER_NAME).map_err(|error| failed(std::io::Error::other(error)))?;
    let connector = TlsConnector::from(Arc::clone(tls));
    let shaken = timeout(CONNECT, connector.connect(name, stream)).await;
    shaken.map_err(|_| late())?.map_err(failed)
}

/// A connection for requests.
pub(crate) struct Requests {
    server: String,
    sender: SendRequest<Full<Bytes>>,
}

impl Requests {
    /// Connects to a server.
    pub async fn connect(server: &str, tls: &Arc<ClientConfig>) -> Result<Self, LinkError> {
        let stream = connect(server, tls).await?;
        let server = server.to_owned();
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|source| LinkError::Request { server: server.clone(), source })?;
        // Ends with the sender, or with the connection.
        tokio::spawn(connection);
        Ok(Self { server, sender })
    }

    /// Returns whether the connection takes another request.
    pub fn is_usable(&self) -> bool {
        self.sender.is_ready()
    }

    /// Asks for the content at a path. The body of the answer is not read yet. An answer other than success
    /// is an error with the server's own words.
    pub async fn get(&mut self, path: &str) -> Result<Response<Incoming>, LinkError> {
        self.send(Request::get(path), Vec::new()).await
    }

    /// Posts a body, authorised by a secret if there is one, and returns the short answer.
    pub async fn post(
        &mut self,
        path: &str,
        secret: Option<&str>,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, LinkError> {
        let request = Request::post(path);
        let request = match secret {
            Some(secret) => request.header(header::AUTHORIZATION, format!("Bearer {secret}")),
            None => request,
        };
        let answer = self.send(request, body).await?;
        self.short(answer).await
    }

    async fn send(
        &mut self,
        request: Builder,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, LinkError> {
        let request = request
            .header(header::HOST, SERVER_NAME)
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| self.unusable(&error.to_string()))?;
        let answer = timeout(ANSWER, self.sender.send_request(request)).await;
        let answer = answer.map_err(|_| self.unusable("it did not come in time"))?;
        let server = || self.server.clone();
        let answer = answer.map_err(|source| LinkError::Request { server: server(), source })?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let words = self.short(answer).await.unwrap_or_default();
        Err(self.refused(status, &words))
    }

    async fn short(&self, answer: Response<Incoming>) -> Result<Vec<u8>, LinkError> {
        let body = timeout(ANSWER, Limited::new(answer.into_body(), SHORT).collect()).await;
        let body = body.map_err(|_| self.unusable("it did not come in time"))?;
        let body = body.map_err(|error| self.unusable(&error.to_string()))?;
        Ok(body.to_bytes().to_vec())
    }

    fn unusable(&self, why: &str) -> LinkError {
        LinkError::Answer { server: self.server.clone(), why: why.to_owned() }
    }

    fn refused(&self, status: StatusCode, words: &[u8]) -> LinkError {
        let words = String::from_utf8_lossy(words);
        let why = words.lines().next().unwrap_or_default();
        let why = if why.is_empty() { status.to_string() } else { why.chars().take(500).collect() };
        LinkError::Refused { server: self.server.clone(), status: status.as_u16(), why }
    }
}
