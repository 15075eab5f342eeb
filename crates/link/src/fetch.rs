//! Fetches content from a server, over a few connections that are kept for the next request.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use identity::Credentials;
use rustls::ClientConfig;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::content::Wanted;
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

    /// Uses renewed credentials, and the addresses that a server named.
    ///
    /// # Errors
    /// If TLS cannot be set up with them.
    pub fn update(&self, credentials: &Credentials, servers: Vec<String>) -> Result<(), LinkError> {
        let tls = Arc::new(identity::member(credentials)?);
        *self.source() = Source { tls, servers, idle: Vec::new() };
        Ok(())
    }

    /// Asks for content. Waits while too many other requests are under way.
    ///
    /// # Errors
    /// If no server can be reached, or the server refuses.
    pub async fn fetch(&self, wanted: &Wanted) -> Result<Fetching, LinkError> {
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
                    return Ok(self.fetching(server, requests, answer.into_body(), place));
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
                    return Ok(self.fetching(server, requests, answer.into_body(), place));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn fetching(
        &self,
        server: String,
        requests: Requests,
        body: Incoming,
        place: OwnedSemaphorePermit,
    ) -> Fetching {
        Fetching { of: self.clone(), server, requests: Some(requests), body, _place: place }
    }

    fn source(&self) -> std::sync::MutexGuard<'_, Source> {
        self.0.source.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Content that is being fetched.
pub struct Fetching {
    of: Fetcher,
    server: String,
    requests: Option<Requests>,
    body: Incoming,
    _place: OwnedSemaphorePermit,
}

impl fmt::Debug for Fetching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetching").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Fetching {
    /// Returns the next piece; `None` at the end.
    ///
    /// # Errors
    /// If the connection breaks, or nothing comes for a while. What came before is not lost: the rest can be
    /// asked for.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, LinkError> {
        let answer = |why: String| LinkError::Answer { server: self.server.clone(), why };
        loop {
            let frame = timeout(PATIENCE, self.body.frame()).await;
            let frame = frame.map_err(|_| answer("it stopped in the middle".into()))?;
            let Some(frame) = frame else {
                if let Some(requests) = self.requests.take() {
                    self.of.source().idle.push((self.server.clone(), requests));
                }
                return Ok(None);
            };
            let frame = frame.map_err(|error| answer(error.to_string()))?;
            if let Ok(piece) = frame.into_data() {
                return Ok(Some(piece));
            }
        }
    }
}
