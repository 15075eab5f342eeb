//! Tests of fetches in virtual time: what a connection does that neither breaks nor brings anything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use model::{AppName, Digest, ReleaseNo};
use store::ReleaseStore;
use tokio::time::Instant;
use wire::{FileEntry, Kind, Manifest, Secret};

use crate::fetch::{Fetch, ReleaseFetcher, ReleaseNeeds};
use crate::source::{ReleaseSource, Request, SourceError, SourceReader, StoreSource};

/// A source that sends the first bytes of a content and then nothing, for so many requests; or is away.
struct Mute {
    store: StoreSource,
    mute: Mutex<u32>,
    away: bool,
    asked: Mutex<Vec<u64>>,
}

const FIRST: u64 = 1_000;

impl ReleaseSource for Mute {
    fn manifest<'a>(&'a self, app: &'a AppName, digest: Digest) -> Request<'a, SourceReader> {
        if self.away {
            return Box::pin(async { Err(SourceError::Unavailable("it is away".to_owned())) });
        }
        self.store.manifest(app, digest)
    }

    fn content<'a>(
        &'a self,
        app: &'a AppName,
        digest: Digest,
        from: u64,
    ) -> Request<'a, SourceReader> {
        self.asked.lock().unwrap().push(from);
        let mute = {
            let mut left = self.mute.lock().unwrap();
            let mute = *left > 0;
            *left = left.saturating_sub(1);
            mute
        };
        Box::pin(async move {
            let whole = self.store.content(app, digest, from).await?;
            if !mute {
                return Ok(whole);
            }
            let (mut ours, theirs) = tokio::io::duplex(1 << 16);
            tokio::spawn(async move {
                let mut first = tokio::io::AsyncReadExt::take(whole, FIRST);
                tokio::io::copy(&mut first, &mut ours).await.unwrap();
                // The connection stays open.
                std::future::pending::<()>().await;
                drop(ours);
            });
            Ok(Box::new(theirs) as SourceReader)
        })
    }

    fn value<'a>(&'a self, app: &'a AppName, name: &'a str, digest: Digest) -> Request<'a, Secret> {
        self.store.value(app, name, digest)
    }
}

/// A host, and a server with a release.
struct World {
    source: Arc<Mute>,
    host: Arc<ReleaseStore>,
    fetch: Fetch,
    content: Digest,
    _folders: [tempfile::TempDir; 2],
}

fn world(mute: u32, away: bool) -> World {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [server, host] =
        folders.each_ref().map(|folder| Arc::new(ReleaseStore::open(folder.path()).unwrap()));
    let app: AppName = "web".parse().unwrap();
    let bytes = vec![7; 10_000];
    let digest = Digest::from_bytes(*blake3::hash(&bytes).as_bytes());
    server.content.put_blob(&bytes[..], digest, 10_000).unwrap();
    let kind = Kind::File { digest, size: 10_000, executable: false };
    let entries = vec![FileEntry { path: "file".to_owned(), kind, modified: None }];
    let content = server.content.put_manifest(&app, &Manifest { entries }, None).unwrap();
    let (store, mute, asked) = (StoreSource(server), Mutex::new(mute), Mutex::default());
    let source = Arc::new(Mute { store, mute, away, asked });
    let data = folders[1].path().to_path_buf();
    let fetcher = ReleaseFetcher::new(Arc::<Mute>::clone(&source), Arc::clone(&host), data);
    let (release, values) = (ReleaseNo(1), BTreeMap::new());
    let wanted = ReleaseNeeds { app, release, content: Some(content), values };
    let fetch = Arc::new(fetcher).join(wanted);
    World { source, host, fetch, content, _folders: folders }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_brings_nothing_is_given_up_and_goes_on_where_it_stopped() {
    let world = world(3, false);
    let begun = Instant::now();
    world.fetch.done().await.unwrap();
    assert_eq!(*world.source.asked.lock().unwrap(), [0, 1_000, 2_000, 3_000]);
    let took = begun.elapsed();
    let least = Duration::from_secs(90);
    assert!(took >= least && took < least + Duration::from_secs(5), "{took:?}");
    assert!(world.host.content.has_manifest(&"web".parse().unwrap(), world.content));
    assert_eq!(world.fetch.fetched().bytes, 10_000);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_stays_away_is_asked_for_an_hour() {
    let world = world(0, true);
    let begun = Instant::now();
    let why = world.fetch.done().await.unwrap_err();
    assert!(why.ends_with(": it is away; nothing came for 60 min"), "{why}");
    assert!(begun.elapsed() < Duration::from_secs(61 * 60));
    assert!(world.fetch.fetched().trouble.is_some_and(|why| why.ends_with("it is away")));
}

/// A source that answers at once, after it has given the only thread for the disk something to wait for.
struct Busy(Mutex<Option<std::sync::mpsc::Receiver<()>>>);

impl ReleaseSource for Busy {
    fn manifest<'a>(&'a self, _: &'a AppName, _: Digest) -> Request<'a, SourceReader> {
        Box::pin(async { Err(SourceError::Refused("there is none".to_owned())) })
    }

    fn content<'a>(&'a self, _: &'a AppName, _: Digest, _: u64) -> Request<'a, SourceReader> {
        Box::pin(async { Err(SourceError::Refused("there is none".to_owned())) })
    }

    fn value<'a>(&'a self, _: &'a AppName, _: &'a str, _: Digest) -> Request<'a, Secret> {
        let busy = self.0.lock().unwrap().take().unwrap();
        drop(tokio::task::spawn_blocking(move || busy.recv()));
        Box::pin(async { Ok(Secret::new("hunter2")) })
    }
}

/// A value that is written after its app's values were deleted would stay for ever.
#[test]
fn nothing_is_written_once_a_fetch_that_was_given_up_has_settled() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(ReleaseStore::open(folder.path()).unwrap());
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().max_blocking_threads(1).build().unwrap();
    let (go_on, busy) = std::sync::mpsc::channel();
    let source = Arc::new(Busy(Mutex::new(Some(busy))));
    let data = folder.path().to_path_buf();
    let fetcher = Arc::new(ReleaseFetcher::new(source.clone(), Arc::clone(&store), data));
    let values = BTreeMap::from([("KEY".to_owned(), Digest::from_bytes([1; 32]))]);
    let (app, release): (AppName, _) = ("web".parse().unwrap(), ReleaseNo(1));
    let wanted = ReleaseNeeds { app: app.clone(), release, content: None, values: values.clone() };
    runtime.block_on(async {
        let fetch = fetcher.join(wanted);
        let own = fetch.clone();
        let done = tokio::spawn(async move { own.done().await });
        while source.0.lock().unwrap().is_some() {
            tokio::task::yield_now().await;
        }
        let everybody_runs = async || {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        };
        everybody_runs().await;
        done.abort();
        let mut settled = Box::pin(fetch.settled());
        tokio::select! {
            biased;
            () = &mut settled => panic!("the value is still to be written"),
            () = everybody_runs() => {}
        }
        go_on.send(()).unwrap();
        settled.await;
    });
    assert!(store.secrets.lacking(&app, &values).is_empty(), "it was written before");
}
