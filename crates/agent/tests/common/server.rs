//! A server as another host's agent sees it: a store to fetch from, over a connection with faults.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use agent::{ReleaseSource, Request, SourceError, SourceReader, StoreSource};
use model::{AppName, Digest};
use store::ReleaseStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use wire::{FileEntry, Kind, Manifest, Secret};

/// The number of bytes that one permit lets pass.
pub const PIECE: usize = 16 * 1024;

pub struct Server {
    pub store: Arc<ReleaseStore>,
    folder: tempfile::TempDir,
    faults: Arc<Faults>,
    asked: Mutex<Asked>,
}

/// The connection's effect on answers.
struct Faults {
    /// The number of bytes of a content after which it breaks.
    breaks_after: AtomicU64,
    /// The number of contents that still arrive changed.
    lies: AtomicU32,
    /// True if a byte comes after the end of each content.
    adds: AtomicBool,
    /// True if it is down.
    is_away: AtomicBool,
    /// Permits, one for each piece of a content.
    allowed: Semaphore,
}

/// The requests so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub lists: u32,
    pub values: u32,
    /// The positions at which each content was asked for.
    pub contents: BTreeMap<Digest, Vec<u64>>,
}

pub fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(*blake3::hash(bytes).as_bytes())
}

/// Some bytes that no other seed has.
pub fn text(bytes: usize, seed: u8) -> Vec<u8> {
    (0..bytes).map(|at| u8::try_from(at % 251).unwrap() ^ seed).collect()
}

impl Server {
    pub fn new() -> Arc<Self> {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(ReleaseStore::open(folder.path()).unwrap());
        let faults = Faults {
            breaks_after: AtomicU64::new(u64::MAX),
            lies: AtomicU32::new(0),
            adds: AtomicBool::new(false),
            is_away: AtomicBool::new(false),
            allowed: Semaphore::new(1 << 40),
        };
        Arc::new(Self { store, folder, faults: Arc::new(faults), asked: Mutex::default() })
    }

    /// Stores a release's files, and returns the digest of their list.
    pub fn upload(&self, app: &AppName, files: &[(&str, &[u8])]) -> Digest {
        let entry = |(path, bytes): &(&str, &[u8])| {
            let (digest, size) = (digest(bytes), bytes.len() as u64);
            self.store.content.put_blob(*bytes, digest, size).unwrap();
            let kind = Kind::File { digest, size, executable: false };
            FileEntry { path: (*path).to_owned(), kind, modified: None }
        };
        let manifest = Manifest { entries: files.iter().map(entry).collect() };
        self.store.content.put_manifest(app, &manifest, None).unwrap()
    }

    pub fn env(&self, app: &AppName, value: &str) -> BTreeMap<String, Digest> {
        let values = [("KEY".to_owned(), value.to_owned())].into();
        self.store.secrets.put(app, &values).unwrap()
    }

    pub fn breaks_after(&self, bytes: u64) {
        self.faults.breaks_after.store(bytes, Ordering::SeqCst);
    }

    pub fn lies(&self, times: u32) {
        self.faults.lies.store(times, Ordering::SeqCst);
    }

    pub fn adds_a_byte(&self) {
        self.faults.adds.store(true, Ordering::SeqCst);
    }

    pub fn is_away(&self, is_away: bool) {
        self.faults.is_away.store(is_away, Ordering::SeqCst);
    }

    /// Lets nothing of any content pass.
    pub fn close(&self) {
        self.faults.allowed.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// Lets this number of pieces pass.
    pub fn allow(&self, pieces: usize) {
        self.faults.allowed.add_permits(pieces);
    }

    pub fn asked(&self) -> Asked {
        self.asked.lock().unwrap().clone()
    }

    fn check(&self) -> Result<(), SourceError> {
        match self.faults.is_away.load(Ordering::SeqCst) {
            true => Err(SourceError::Unavailable("no connection to the server".to_owned())),
            false => Ok(()),
        }
    }
}

/// Sends a content the way the connection has it.
async fn send(faults: Arc<Faults>, mut content: SourceReader, mut to: tokio::io::DuplexStream) {
    let lies = |n: u32| n.checked_sub(1);
    let changed = faults.lies.fetch_update(Ordering::SeqCst, Ordering::SeqCst, lies).is_ok();
    let mut left = faults.breaks_after.load(Ordering::SeqCst);
    while left > 0 {
        let mut piece = vec![0; PIECE.min(usize::try_from(left).unwrap_or(PIECE))];
        let length = content.read(&mut piece).await.unwrap();
        if length == 0 {
            if faults.adds.load(Ordering::SeqCst) {
                let _ = to.write_all(b"!").await;
            }
            return;
        }
        faults.allowed.acquire().await.unwrap().forget();
        if changed {
            piece[0] ^= 1;
        }
        // The agent may have given it up.
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
        left -= length as u64;
    }
}

impl ReleaseSource for Server {
    fn manifest<'a>(&'a self, app: &'a AppName, digest: Digest) -> Request<'a, SourceReader> {
        Box::pin(async move {
            self.check()?;
            self.asked.lock().unwrap().lists += 1;
            StoreSource(Arc::clone(&self.store)).manifest(app, digest).await
        })
    }

    fn content<'a>(
        &'a self,
        app: &'a AppName,
        digest: Digest,
        from: u64,
    ) -> Request<'a, SourceReader> {
        Box::pin(async move {
            self.check()?;
            self.asked.lock().unwrap().contents.entry(digest).or_default().push(from);
            let content = StoreSource(Arc::clone(&self.store)).content(app, digest, from).await?;
            let (ours, theirs) = tokio::io::duplex(PIECE);
            tokio::spawn(send(Arc::clone(&self.faults), content, ours));
            Ok(Box::new(theirs) as SourceReader)
        })
    }

    fn value<'a>(&'a self, app: &'a AppName, name: &'a str, digest: Digest) -> Request<'a, Secret> {
        Box::pin(async move {
            self.check()?;
            self.asked.lock().unwrap().values += 1;
            StoreSource(Arc::clone(&self.store)).value(app, name, digest).await
        })
    }
}
