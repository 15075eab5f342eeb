//! Fetches content from a server, over a few connections that are kept for the next request.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fmt, io};

use futures_util::stream::try_unfold;
use http::Response;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use identity::Credentials;
use rustls::ClientConfig;
use tokio::io::AsyncRead;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::io::StreamReader;

use crate::content::ContentRequest;
use crate::dial::Requests;
use crate::error::LinkError;

/// Requests at the same time.
const AT_ONCE: usize = 8;
/// The time without a byte after which a request has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Fetches content from one of a member's servers.
#[derive(Clone)]
pub struct Fetcher(Arc<Shared>);

struct Shared {
    places: Arc<Semaphore>,
    source: Mutex<Source>,
}

/// Where content comes from.
struct Source {
    tls: Arc<ClientConfig>,
    servers: Vec<String>,
    idle: Vec<(String, Requests)>,
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher").finish_non_exhaustive()
    }
}

impl Fetcher {
    /// Returns a fetcher that shows these credentials to these servers.
    ///
    /// # Errors
    /// If TLS cannot be set up with them.
    pub fn new(credentials: &Credentials, servers: Vec<String>) -> Result<Self, LinkError> {
        let tls = Arc::new(identity::member(credentials)?);
        let source = Mutex::new(Source { tls, servers, idle: Vec::new() });
        Ok(Self(Arc::new(Shared { places: Arc::new(Semaphore::new(AT_ONCE)), source })))
    }

    /// Shows renewed credentials from now on.
    ///
    /// # Errors
    /// If TLS cannot be set up with them.
    pub fn show(&self, credentials: &Credentials) -> Result<(), LinkError> {
        let tls = Arc::new(identity::member(credentials)?);
        let mut source = self.source();
        source.idle.clear();
        source.tls = tls;
        Ok(())
    }

    /// Fetches from these servers from now on.
    pub fn move_to(&self, servers: Vec<String>) {
        let mut source = self.source();
        if source.servers != servers {
            source.idle.clear();
            source.servers = servers;
        }
    }

    /// Asks for content. Waits while too many other requests are under way.
    ///
    /// # Errors
    /// If no server can be reached, or the server refuses.
    pub async fn fetch(&self, wanted: &ContentRequest) -> Result<Reader, LinkError> {
        let place = Arc::clone(&self.0.places).acquire_owned().await;
        let place = place.map_err(|_| LinkError::NoServer)?;
        let path = wanted.to_path();
        // An idle connection may have been closed by the server just now. A new one tells.
        let idle = self.source().idle.pop();
        if let Some((server, mut requests)) = idle
            && requests.is_usable()
        {
            match requests.get(&path).await {
                Ok(answer) => {
                    return Ok(self.coming(server, requests, answer, place));
                }
                Err(refused @ LinkError::Refused { .. }) => return Err(refused),
                Err(_) => {}
            }
        }
        let (tls, servers) = {
            let source = self.source();
            (Arc::clone(&source.tls), source.servers.clone())
        };
        let mut last = LinkError::NoServer;
        for server in servers {
            match Requests::connect(&server, &tls).await {
                Ok(mut requests) => {
                    let answer = requests.get(&path).await?;
                    return Ok(self.coming(server, requests, answer, place));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn coming(
        &self,
        server: String,
        requests: Requests,
        answer: Response<Incoming>,
        place: OwnedSemaphorePermit,
    ) -> Reader {
        let (of, body) = (self.clone(), answer.into_body());
        Coming { of, server, requests, body, _place: place }.into_reader()
    }

    fn source(&self) -> std::sync::MutexGuard<'_, Source> {
        self.0.source.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// ServedContent on its way. Reading fails if the connection breaks or nothing comes for a while. What came before
/// is not lost: the rest can be asked for.
type Reader = Box<dyn AsyncRead + Send + Unpin>;

/// The body of an answer, with the connection that it comes over.
struct Coming {
    of: Fetcher,
    server: String,
    requests: Requests,
    body: Incoming,
    _place: OwnedSemaphorePermit,
}

impl Coming {
    /// Returns the body as a reader. Its connection is kept for another request once it was read to the end.
    fn into_reader(self) -> Reader {
        let pieces = try_unfold(self, |mut coming| async move {
            loop {
                let late = |_| io::Error::from(io::ErrorKind::TimedOut);
                let frame = timeout(PATIENCE, coming.body.frame()).await.map_err(late)?;
                let Some(frame) = frame else {
                    let Self { of, server, requests, .. } = coming;
                    of.source().idle.push((server, requests));
                    return Ok::<_, io::Error>(None);
                };
                if let Ok(piece) = frame.map_err(io::Error::other)?.into_data() {
                    return Ok(Some((piece, coming)));
                }
            }
        });
        Box::new(StreamReader::new(Box::pin(pieces)))
    }
}
