//! Fetches what a release needs and the store lacks: its list of files, their contents, the values of its
//! variables. What several instances need is fetched once. A break costs nothing that was fetched before it.
//! Knows no instances and lays nothing out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use model::{AppName, Digest, ReleaseNo, in_full};
use store::{ContentError, PartialBlob, ReleaseStore};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{RwLock, Semaphore, SemaphorePermit};
use tokio::task::JoinSet;
use tokio::time::timeout;
use wire::{Kind, Manifest};

use crate::disk::on_disk;
use crate::fetch_tries::{Failure, FetchTries, STALLED};
use crate::single_flight::{Call, SingleFlight};
use crate::source::ReleaseSource;

/// The largest number of requests to the source at a time.
const REQUESTS: usize = 8;
/// The number of bytes that are written at once.
const CHUNK_BYTES: usize = 256 * 1024;
/// The largest size of a list of files, in bytes. A list with the most entries and the longest paths fits.
const LIST_BYTES: u64 = 128 << 20;
/// The free space that fetching leaves to the host's own files and to the output of instances, in bytes.
const SPARE_BYTES: u64 = 32 << 20;

/// The fetches of one agent.
pub(crate) struct ReleaseFetcher {
    source: Arc<dyn ReleaseSource>,
    store: Arc<ReleaseStore>,
    data: PathBuf,
    requests: Semaphore,
    releases: SingleFlight<ReleaseNeeds, Progress>,
    contents: SingleFlight<Digest>,
    received: AtomicU64,
}

/// The needs of an instance.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ReleaseNeeds {
    pub app: AppName,
    pub release: ReleaseNo,
    /// The list of files; `None` if the release has no files, or they are laid out already.
    pub content: Option<Digest>,
    /// The variables, with the digests of their values.
    pub values: BTreeMap<String, Digest>,
}

/// How far a fetch has come.
#[derive(Default)]
struct Progress {
    /// The bytes of contents that are here.
    fetched: AtomicU64,
    /// The bytes of all contents that were missing.
    of: AtomicU64,
    /// The bytes of all files once they are laid out.
    laid_out: AtomicU64,
    trouble: Mutex<Option<String>>,
}

impl Progress {
    /// Returns the number of bytes that still have to be written.
    fn needed(&self) -> u64 {
        let fetched = self.fetched.load(Ordering::Relaxed);
        let rest = self.of.load(Ordering::Relaxed).saturating_sub(fetched);
        rest.saturating_add(self.laid_out.load(Ordering::Relaxed))
    }
}

/// One thing to fetch.
enum Item {
    Value(String, Digest),
    Content(Digest, u64),
}

/// A fetch that somebody waits for. What it has fetched is not deleted while it exists.
#[derive(Clone)]
pub(crate) struct Fetch {
    fetcher: Arc<ReleaseFetcher>,
    wanted: ReleaseNeeds,
    call: Arc<Call<Progress>>,
    /// Held shared by everything that works for this one.
    works: Arc<RwLock<()>>,
}

/// A fetch as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fetched {
    /// The number of bytes of contents that are here, of those that were missing.
    pub bytes: u64,
    pub of: u64,
    /// Why the last try failed, until bytes come again.
    pub trouble: Option<String>,
}

impl ReleaseFetcher {
    pub fn new(source: Arc<dyn ReleaseSource>, store: Arc<ReleaseStore>, data: PathBuf) -> Self {
        Self {
            source,
            store,
            data,
            requests: Semaphore::new(REQUESTS),
            releases: SingleFlight::default(),
            contents: SingleFlight::default(),
            received: AtomicU64::new(0),
        }
    }

    /// Returns the fetch of this, which may be under way already.
    pub fn join(self: &Arc<Self>, wanted: ReleaseNeeds) -> Fetch {
        let call = self.releases.join(wanted.clone());
        Fetch { fetcher: Arc::clone(self), wanted, call, works: Arc::default() }
    }

    /// Returns the lists of files and the values of an app that fetches need at present.
    pub fn in_use(&self, app: &AppName) -> (BTreeSet<Digest>, BTreeSet<Digest>) {
        let (mut lists, mut values) = (BTreeSet::new(), BTreeSet::new());
        for (wanted, _) in self.releases.under_way() {
            if wanted.app == *app {
                lists.extend(wanted.content);
                values.extend(wanted.values.into_values());
            }
        }
        (lists, values)
    }

    /// Returns the number of bytes that have come for all fetches together.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Waits for one of the places for requests.
    async fn place(&self) -> Result<SemaphorePermit<'_>, Failure> {
        // The semaphore is never closed.
        self.requests.acquire().await.map_err(|e| Failure::Final(e.to_string()))
    }
}

impl Fetch {
    /// Fetches everything, or waits until it is fetched. To give it up, drop this and then wait for
    /// [`Fetch::settled`].
    ///
    /// # Errors
    /// The reason why something could not be fetched, for people.
    pub async fn done(&self) -> Result<(), String> {
        let outcome = self.call.outcome(|| self.everything()).await;
        if outcome.is_err() {
            self.settled().await;
        }
        outcome
    }

    /// Waits until nothing works for this fetch any more. What is written later would be deleted by nobody.
    pub async fn settled(&self) {
        let _nobody = self.works.write().await;
    }

    /// Returns how far it has come.
    pub fn fetched(&self) -> Fetched {
        let Progress { fetched, of, laid_out: _, trouble } = &self.call.state;
        let trouble = trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let bytes = fetched.load(Ordering::Relaxed);
        Fetched { bytes, of: of.load(Ordering::Relaxed), trouble }
    }

    async fn everything(&self) -> Result<(), String> {
        let ReleaseNeeds { app, values, .. } = &self.wanted;
        let (owned, env) = (app.clone(), values.clone());
        let lacking = self.on_store(move |store| store.secrets.lacking(&owned, &env)).await?;
        let mut items: VecDeque<Item> =
            lacking.into_iter().map(|(name, digest)| Item::Value(name, digest)).collect();
        if let Some(list) = self.wanted.content {
            let manifest = self.manifest(list).await?;
            let sizes = manifest.entries.iter().map(|entry| match entry.kind {
                Kind::File { size, .. } => size,
                Kind::Symlink { .. } | Kind::Dir => 0,
            });
            self.call.state.laid_out.store(sizes.sum(), Ordering::Relaxed);
            let lacking = self.on_store(move |store| store.content.lacking(&manifest)).await?;
            let of = lacking.values().map(|lacking| lacking.size).sum();
            self.call.state.of.store(of, Ordering::Relaxed);
            self.check_room(lacking.values().map(|lacking| lacking.fetched).sum()).await?;
            items.extend(lacking.into_iter().map(|(digest, it)| Item::Content(digest, it.size)));
        }
        self.all(items).await
    }

    /// Checks that the disk has room for this fetch beside the others. `fetched` is the number of bytes that
    /// earlier fetches have left.
    async fn check_room(&self, fetched: u64) -> Result<(), String> {
        let mine = self.call.state.needed().saturating_sub(fetched);
        let all = self.fetcher.releases.under_way();
        let all: u64 = all.iter().map(|(_, call)| call.state.needed()).sum();
        let kept = SPARE_BYTES + all.saturating_sub(self.call.state.needed());
        let data = self.fetcher.data.clone();
        let disk = self.on_store(move |_| rustix::fs::statvfs(&data)).await?;
        let data = self.fetcher.data.display();
        let disk = disk.map_err(|e| format!("cannot find the free space of {data}: {e}"))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if mine == 0 || mine.saturating_add(kept) <= free {
            return Ok(());
        }
        let (needs, has, kept) = (mine.div_ceil(1 << 20), free >> 20, kept.div_ceil(1 << 20));
        Err(format!(
            "its files need {needs} MiB, and {data} has {has} MiB, of which {kept} MiB are kept for other \
             releases that are being fetched and for segue's own files\n\
             hint: make room on this host, or run fewer apps on it"
        ))
    }

    /// Fetches these, several at a time.
    async fn all(&self, items: VecDeque<Item>) -> Result<(), String> {
        let tasks = items.len().min(REQUESTS);
        let queue = Arc::new(Mutex::new(items));
        let mut workers = JoinSet::new();
        for _ in 0..tasks {
            let (fetch, queue) = (self.clone(), Arc::clone(&queue));
            let works = Arc::clone(&self.works).read_owned().await;
            workers.spawn(async move {
                let _works = works;
                while let Some(item) = next(&queue) {
                    fetch.item(item).await?;
                }
                Ok(())
            });
        }
        // If one fails, the others are given up.
        while let Some(ended) = workers.join_next().await {
            ended.unwrap_or_else(|e| Err(e.to_string()))?;
        }
        Ok(())
    }

    async fn item(&self, item: Item) -> Result<(), String> {
        match item {
            Item::Value(name, digest) => self.value(&name, digest).await,
            Item::Content(digest, size) => {
                let call = self.fetcher.contents.join(digest);
                call.outcome(|| self.content(digest, size)).await
            }
        }
    }

    /// Returns the list of files, from the store or from the source.
    async fn manifest(&self, digest: Digest) -> Result<Manifest, String> {
        let app = self.wanted.app.clone();
        let stored = self.on_store(move |store| store.content.manifest(&app, digest)).await?;
        if let Some(manifest) = stored {
            return Ok(manifest);
        }
        let what = format!("the list of files {digest}");
        let mut tries = FetchTries::default();
        loop {
            match self.try_manifest(digest).await {
                Ok(manifest) => return Ok(manifest),
                Err(failure) => self.failed(&mut tries, failure, &what).await?,
            }
        }
    }

    async fn try_manifest(&self, digest: Digest) -> Result<Manifest, Failure> {
        let app = &self.wanted.app;
        let _place = self.fetcher.place().await?;
        let opened = timeout(STALLED, self.fetcher.source.manifest(app, digest)).await;
        let mut reader = opened.map_err(|_| Failure::stalled())??.take(LIST_BYTES);
        let mut bytes = Vec::new();
        while self.read(&mut reader, &mut bytes).await? > 0 {}
        let app = app.clone();
        let put =
            move |store: &ReleaseStore| store.content.put_manifest_first(&app, digest, &bytes);
        self.on_store(put).await.map_err(Failure::Final)?.map_err(Failure::of_store)
    }

    async fn value(&self, name: &str, digest: Digest) -> Result<(), String> {
        let what = format!("the value of {name}");
        let mut tries = FetchTries::default();
        loop {
            match self.try_value(name, digest).await {
                Ok(()) => return Ok(()),
                Err(failure) => self.failed(&mut tries, failure, &what).await?,
            }
        }
    }

    async fn try_value(&self, name: &str, digest: Digest) -> Result<(), Failure> {
        let app = &self.wanted.app;
        let _place = self.fetcher.place().await?;
        let asked = timeout(STALLED, self.fetcher.source.value(app, name, digest)).await;
        let value = asked.map_err(|_| Failure::stalled())??;
        self.came(0);
        let (app, name) = (app.clone(), name.to_owned());
        let put = move |store: &ReleaseStore| {
            store.secrets.put_named(&app, &name, digest, value.expose()).map_err(|e| in_full(&e))
        };
        self.on_store(put).await.and_then(|put| put).map_err(Failure::Final)
    }

    async fn content(&self, digest: Digest, size: u64) -> Result<(), String> {
        let what = format!("content {digest}");
        let mut tries = FetchTries::default();
        let mut part = None;
        loop {
            let bytes = |part: &Option<PartialBlob>| part.as_ref().map_or(0, PartialBlob::bytes);
            let before = bytes(&part);
            match self.try_content(digest, size, &mut part).await {
                Ok(()) => return Ok(()),
                Err(failure) => {
                    if bytes(&part) > before {
                        tries.progressed();
                    }
                    self.failed(&mut tries, failure, &what).await?;
                }
            }
        }
    }

    /// FetchTries to fetch a content, or the rest of it. `part` is what the tries so far have fetched.
    async fn try_content(
        &self,
        digest: Digest,
        size: u64,
        part: &mut Option<PartialBlob>,
    ) -> Result<(), Failure> {
        let mut open = match part.take() {
            Some(part) => part,
            None => match self.open(digest, size).await? {
                Some(part) => part,
                None => return Ok(()),
            },
        };
        if open.rest() > 0 {
            let broken;
            (open, broken) = self.receive(digest, open).await?;
            if let Some(why) = broken {
                *part = Some(open);
                return Err(Failure::Broken(why));
            }
        }
        let bytes = open.bytes();
        let stored = self.on_store(move |store| store.content.store_blob(open)).await;
        stored.map_err(Failure::Final)?.map_err(|error| {
            if matches!(error, ContentError::Mismatch { .. }) {
                // All of it is gone.
                self.call.state.fetched.fetch_sub(bytes, Ordering::Relaxed);
            }
            Failure::of_store(error)
        })
    }

    /// Opens the part of a content that is here. Returns `None` if the content is stored.
    async fn open(&self, digest: Digest, size: u64) -> Result<Option<PartialBlob>, Failure> {
        let opened = self.on_store(move |store| store.content.resume_blob(digest, size)).await;
        let part = opened.map_err(Failure::Final)?.map_err(Failure::of_store)?;
        let here = part.as_ref().map_or(size, PartialBlob::bytes);
        self.call.state.fetched.fetch_add(here, Ordering::Relaxed);
        Ok(part)
    }

    /// Receives the rest of a content. Returns what has come, and why no more came if something is missing.
    async fn receive(
        &self,
        digest: Digest,
        mut part: PartialBlob,
    ) -> Result<(PartialBlob, Option<String>), Failure> {
        let _place = self.fetcher.place().await?;
        let asked = self.fetcher.source.content(&self.wanted.app, digest, part.bytes());
        let opened = timeout(STALLED, asked).await.map_err(|_| Failure::stalled());
        let mut reader = match opened.and_then(|opened| opened.map_err(Failure::from)) {
            // One byte more than there should be, so that it is noticed.
            Ok(reader) => reader.take(part.rest().saturating_add(1)),
            Err(Failure::Broken(why)) => return Ok((part, Some(why))),
            Err(failure @ (Failure::Wrong(_) | Failure::Final(_))) => return Err(failure),
        };
        loop {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            let (mut ended, mut broken) = (false, None);
            while chunk.len() < CHUNK_BYTES && !ended {
                match self.read(&mut reader, &mut chunk).await {
                    Ok(0) => ended = true,
                    Ok(_) => {}
                    Err(failure) => (ended, broken) = (true, Some(failure.why())),
                }
            }
            part = self.write(part, chunk).await?;
            if ended {
                let early = || "it ended early".to_owned();
                let missing = (part.rest() > 0).then(|| broken.unwrap_or_else(early));
                return Ok((part, missing));
            }
        }
    }

    /// Reads what has come, or waits for it. Returns 0 at the end.
    async fn read(
        &self,
        reader: &mut (impl AsyncRead + Unpin),
        bytes: &mut Vec<u8>,
    ) -> Result<usize, Failure> {
        let read = timeout(STALLED, reader.read_buf(bytes)).await;
        let read = read.map_err(|_| Failure::stalled())?;
        let count = read.map_err(|e| Failure::Broken(e.to_string()))?;
        if count > 0 {
            self.came(count as u64);
        }
        Ok(count)
    }

    async fn write(&self, mut part: PartialBlob, chunk: Vec<u8>) -> Result<PartialBlob, Failure> {
        let bytes = chunk.len() as u64;
        let written = self.on_store(move |_| part.write(&chunk).map(|()| part)).await;
        let part = written.map_err(Failure::Final)?.map_err(Failure::of_store)?;
        self.call.state.fetched.fetch_add(bytes, Ordering::Relaxed);
        Ok(part)
    }

    /// Notes that something has come.
    fn came(&self, bytes: u64) {
        self.fetcher.received.fetch_add(bytes, Ordering::Relaxed);
        *self.call.state.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Waits until the next try.
    async fn failed(
        &self,
        tries: &mut FetchTries,
        failure: Failure,
        what: &str,
    ) -> Result<(), String> {
        let pause = tries.failed(failure).map_err(|why| format!("{what}: {why}"))?;
        let trouble = format!("{what}: {}", pause.why);
        tracing::debug!(app = %self.wanted.app, "a fetch is tried again: {trouble}");
        *self.call.state.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble);
        tokio::time::sleep(pause.length).await;
        Ok(())
    }

    /// Runs `work` with the store, on a thread that may wait for the disk.
    async fn on_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ReleaseStore) -> T + Send + 'static,
    ) -> Result<T, String> {
        let store = Arc::clone(&self.fetcher.store);
        let works = Arc::clone(&self.works).read_owned().await;
        let done = on_disk(move || {
            let _works = works;
            work(&store)
        });
        done.await.ok_or_else(|| "see the log of this host".to_owned())
    }
}

fn next(queue: &Mutex<VecDeque<Item>>) -> Option<Item> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}
