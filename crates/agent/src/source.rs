//! The place from which an agent fetches what its own store lacks. On the server's host the agent shares the
//! server's store, and there is no source. Elsewhere the source is the connection to the server.

use std::fmt;
use std::io::{Cursor, Seek, SeekFrom};
use std::pin::Pin;
use std::sync::Arc;

use model::{AppName, Digest, in_full};
use store::ReleaseStore;
use thiserror::Error;
use tokio::io::AsyncRead;
use wire::Secret;

use crate::disk::on_disk;

/// A request to a source that is under way. It is given up by dropping it.
pub type Request<'a, T> = Pin<Box<dyn Future<Output = Result<T, SourceError>> + Send + 'a>>;

/// Bytes on their way. An error of a read means that the connection broke, and that another try may help.
pub type SourceReader = Box<dyn AsyncRead + Send + Unpin>;

/// A place from which an agent can fetch. The agent checks the digests of lists and contents. It makes at most eight requests
/// at a time, gives one up that brings nothing for 30 s, and makes it again.
pub trait ReleaseSource: Send + Sync + 'static {
    /// Opens a release's list of files in its canonical form, [`wire::Manifest::canonical_bytes`].
    fn manifest<'a>(&'a self, app: &'a AppName, digest: Digest) -> Request<'a, SourceReader>;

    /// Opens a content, which a release of `app` needs, at byte `from`.
    fn content<'a>(
        &'a self,
        app: &'a AppName,
        digest: Digest,
        from: u64,
    ) -> Request<'a, SourceReader>;

    /// Returns the value that the digest names of the variable `name`.
    fn value<'a>(&'a self, app: &'a AppName, name: &'a str, digest: Digest) -> Request<'a, Secret>;
}

/// The reason why a source did not answer with what was asked for. It contains no values.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SourceError {
    /// The source cannot be reached or cannot answer at present. Another try may help.
    #[error("{0}")]
    Unavailable(String),
    /// The source does not have this, or does not give it to this host. Another try does not help.
    #[error("{0}")]
    Refused(String),
}

/// A store as a source for the agents of other hosts. It gives whatever it has: the caller checks what each
/// host may have.
#[derive(Clone)]
pub struct StoreSource(pub Arc<ReleaseStore>);

impl fmt::Debug for StoreSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StoreSource").finish_non_exhaustive()
    }
}

impl StoreSource {
    /// Runs `work` with the store on a thread that may wait for the disk.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ReleaseStore) -> Result<T, String> + Send + 'static,
    ) -> Result<T, SourceError> {
        let store = Arc::clone(&self.0);
        let read = on_disk(move || work(&store)).await;
        let broke = || SourceError::Unavailable("see the server's log".to_owned());
        read.ok_or_else(broke)?.map_err(SourceError::Refused)
    }
}

impl ReleaseSource for StoreSource {
    fn manifest<'a>(&'a self, app: &'a AppName, digest: Digest) -> Request<'a, SourceReader> {
        let app = app.clone();
        Box::pin(self.read(move |store| {
            let found = store.content.manifest(&app, digest);
            let missing = || format!("the list of files {digest} is missing or damaged");
            let bytes = found.ok_or_else(missing)?.canonical_bytes();
            Ok(Box::new(Cursor::new(bytes)) as SourceReader)
        }))
    }

    fn content<'a>(
        &'a self,
        _app: &'a AppName,
        digest: Digest,
        from: u64,
    ) -> Request<'a, SourceReader> {
        Box::pin(async move {
            let opened = self.read(move |store| {
                let opened = store.content.open_blob(digest).and_then(|mut file| {
                    file.seek(SeekFrom::Start(from))?;
                    Ok(file)
                });
                opened.map_err(|e| format!("content {digest}: {e}"))
            });
            Ok(Box::new(tokio::fs::File::from_std(opened.await?)) as SourceReader)
        })
    }

    fn value<'a>(&'a self, app: &'a AppName, name: &'a str, digest: Digest) -> Request<'a, Secret> {
        let (app, name) = (app.clone(), name.to_owned());
        Box::pin(self.read(move |store| {
            let found = store.secrets.values(&app, &[(name.clone(), digest)].into());
            let mut values = found.map_err(|e| in_full(&e))?;
            Ok(Secret::new(values.remove(&name).unwrap_or_default()))
        }))
    }
}
