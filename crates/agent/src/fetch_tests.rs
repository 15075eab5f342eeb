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
