//! What a proxy asks a host without a server between: whether instances still listen where the proxy's saved table has
//! them. One line of JSON each way, over TLS with certificates of the fleet on both sides.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use identity::Credentials;
use model::InstanceId;
use serde::{Deserialize, Serialize};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::dial;
use crate::error::LinkError;

/// Connections at the same time; the next one waits.
const AT_ONCE: usize = 32;
/// The time for one question with its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest question or answer, in bytes.
const LONGEST: u64 = 4 << 20;
/// Pause after a system error that is not caused by a client.
const PAUSE: Duration = Duration::from_millis(100);

/// Where an instance listens according to a proxy's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listens {
    /// The address.
    pub at: SocketAddr,
    /// Whether something else than the instance's own processes may listen there.
    #[serde(default)]
    pub any: bool,
}

/// A question of a proxy.
#[derive(Debug, Serialize, Deserialize)]
struct Question {
    instances: BTreeMap<InstanceId, Listens>,
}

/// The answer of a host.
#[derive(Debug, Serialize, Deserialize)]
struct Confirmed {
    instances: BTreeSet<InstanceId>,
}

/// Returns those of the instances that listen there. Called on a thread that may block.
pub type Confirm =
    dyn Fn(&BTreeMap<InstanceId, Listens>) -> BTreeSet<InstanceId> + Send + Sync + 'static;

/// A host's answers to proxies.
#[derive(Clone)]
pub struct Confirmer(Arc<Shared>);

struct Shared {
    tls: Mutex<TlsAcceptor>,
    confirm: Box<Confirm>,
}

impl fmt::Debug for Confirmer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Confirmer").finish_non_exhaustive()
    }
}

impl Confirmer {
    /// Returns the answers of a host that shows these credentials.
    ///
    /// # Errors
    /// If TLS cannot be set up with them.
    pub fn new(credentials: &Credentials, confirm: Box<Confirm>) -> Result<Self, LinkError> {
        let tls = Mutex::new(acceptor(credentials)?);
        Ok(Self(Arc::new(Shared { tls, confirm })))
    }

    /// Shows renewed credentials from now on.
    ///
    /// # Errors
    /// If TLS cannot be set up with them.
    pub fn show(&self, credentials: &Credentials) -> Result<(), LinkError> {
        let tls = acceptor(credentials)?;
        *self.0.tls.lock().unwrap_or_else(PoisonError::into_inner) = tls;
        Ok(())
    }

    /// Answers whoever connects. Must be called on a runtime; returns only on an error.
    ///
    /// # Errors
    /// If the listener cannot be watched.
    pub async fn run(&self, listener: TcpListener) -> io::Result<std::convert::Infallible> {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let places = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
            let Ok((stream, from)) = listener.accept().await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let confirmer = self.clone();
            tokio::spawn(async move {
                let answered = timeout(PATIENCE, confirmer.answer(stream)).await;
                let answered = answered.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                if let Err(error) = answered {
                    tracing::debug!(%error, %from, "a question of a proxy has no answer");
                }
                drop(place);
            });
        }
    }

    async fn answer(&self, stream: TcpStream) -> io::Result<()> {
        let acceptor = self.0.tls.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut stream = BufReader::new(acceptor.accept(stream).await?);
        let Question { instances } = serde_json::from_slice(&line(&mut stream).await?)?;
        let shared = self.0.clone();
        let confirmed = tokio::task::spawn_blocking(move || (shared.confirm)(&instances)).await;
        let instances = confirmed.map_err(io::Error::other)?;
        let mut answer = serde_json::to_vec(&Confirmed { instances })?;
        answer.push(b'\n');
        stream.write_all(&answer).await?;
        stream.shutdown().await
    }
}

fn acceptor(credentials: &Credentials) -> Result<TlsAcceptor, LinkError> {
    Ok(TlsAcceptor::from(Arc::new(identity::host_for_proxies(credentials)?)))
}

/// Asks the host that answers at this address which of these instances listen there.
///
/// # Errors
/// If it cannot be reached, is no host of this fleet, or does not answer in time.
pub async fn confirm(
    host: SocketAddr,
    credentials: &Credentials,
    instances: BTreeMap<InstanceId, Listens>,
) -> Result<BTreeSet<InstanceId>, LinkError> {
    let server = host.to_string();
    let tls = Arc::new(identity::proxy_to_hosts(credentials)?);
    let failed = |source| LinkError::Connect { server: host.to_string(), source };
    let asked = async {
        let mut stream = BufReader::new(dial::connect(&server, &tls).await?);
        let question = serde_json::to_vec(&Question { instances });
        let mut question = question.map_err(|error| failed(error.into()))?;
        question.push(b'\n');
        stream.write_all(&question).await.map_err(failed)?;
        stream.flush().await.map_err(failed)?;
        let answer = line(&mut stream).await.map_err(failed)?;
        let answer = serde_json::from_slice(&answer).map_err(|error| failed(error.into()))?;
        let Confirmed { instances } = answer;
        Ok(instances)
    };
    let late = |_| Err(failed(io::ErrorKind::TimedOut.into()));
    timeout(PATIENCE, asked).await.unwrap_or_else(late)
}

/// Reads a line of bounded length.
async fn line(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    from.take(LONGEST).read_until(b'\n', &mut line).await?;
    match line.pop() {
        Some(b'\n') => Ok(line),
        Some(_) | None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
