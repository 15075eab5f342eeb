//! Tests of fetches over a connection with any sequence of faults, in virtual time: what arrives in the end is
//! what the server has.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::{AppName, Digest, ReleaseNo};
use proptest::prelude::*;
use store::ReleaseStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::{FileEntry, Kind, Manifest, Secret};

use crate::fetch::{ReleaseFetcher, ReleaseNeeds};
use crate::source::{ReleaseSource, Request, SourceError, SourceReader, StoreSource};

/// The fate of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Away,
    /// The answer ends after this number of bytes.
    Ends(u64),
    /// Nothing comes after this number of bytes.
    Hangs(u64),
    /// The first byte is another one.
    Lies,
}

/// A source whose first requests fail.
struct Faulty {
    store: StoreSource,
    faults: Mutex<VecDeque<Fault>>,
}

impl Faulty {
    fn next(&self) -> Option<Fault> {
        self.faults.lock().unwrap().pop_front()
    }
}

fn away() -> SourceError {
    SourceError::Unavailable("it is away".to_owned())
}

/// Returns an answer with a fault.
fn spoil(mut whole: SourceReader, fault: Fault) -> SourceReader {
    let (mut ours, theirs) = tokio::io::duplex(1 << 16);
    tokio::spawn(async move {
        let bytes = match fault {
            Fault::Ends(bytes) | Fault::Hangs(bytes) => bytes,
            Fault::Away | Fault::Lies => u64::MAX,
        };
        if fault == Fault::Lies
            && let Ok(first) = whole.read_u8().await
        {
            let _ = ours.write_u8(!first).await;
        }
        let _ = tokio::io::copy(&mut whole.take(bytes), &mut ours).await;
        if matches!(fault, Fault::Hangs(_)) {
            std::future::pending::<()>().await;
        }
    });
    Box::new(theirs)
}

impl ReleaseSource for Faulty {
    fn manifest<'a>(&'a self, app: &'a AppName, digest: Digest) -> Request<'a, SourceReader> {
        match self.next() {
            Some(Fault::Away) => Box::pin(async { Err(away()) }),
            _ => self.store.manifest(app, digest),
        }
    }

    fn content<'a>(
        &'a self,
        app: &'a AppName,
        digest: Digest,
        from: u64,
    ) -> Request<'a, SourceReader> {
        let fault = self.next();
        Box::pin(async move {
            let whole = self.store.content(app, digest, from).await?;
            match fault {
                None => Ok(whole),
                Some(Fault::Away) => Err(away()),
                Some(fault) => Ok(spoil(whole, fault)),
            }
        })
    }

    fn value<'a>(&'a self, app: &'a AppName, name: &'a str, digest: Digest) -> Request<'a, Secret> {
        match self.next() {
            Some(Fault::Away) => Box::pin(async { Err(away()) }),
            _ => self.store.value(app, name, digest),
        }
    }
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(*blake3::hash(bytes).as_bytes())
}

/// Some bytes; no two sizes have the same.
fn text(size: usize) -> Vec<u8> {
    (0..size).map(|at| u8::try_from((at + size) % 251).unwrap()).collect()
}

fn upload(server: &ReleaseStore, app: &AppName, sizes: &[usize]) -> Digest {
    let entry = |(number, size): (usize, &usize)| {
        let bytes = text(*size);
        let (digest, size) = (digest(&bytes), bytes.len() as u64);
        server.content.put_blob(&bytes[..], digest, size).unwrap();
        let kind = Kind::File { digest, size, executable: false };
        FileEntry { path: format!("file-{number}"), kind, modified: None }
    };
    let manifest = Manifest { entries: sizes.iter().enumerate().map(entry).collect() };
    server.content.put_manifest(app, &manifest, None).unwrap()
}

const FIRST: [usize; 5] = [0, 1, 70_000, 300_000, 600_000];
const SECOND: [usize; 3] = [300_000, 600_000, 5_000];

/// Two fetches of one release, of which one is given up after a while, and one of another release.
async fn fetches(source: Arc<Faulty>, host: Arc<ReleaseStore>, give_up: Duration) {
    let app: AppName = "web".parse().unwrap();
    let server = Arc::clone(&source.store.0);
    let value = [("KEY".to_owned(), "hunter2".to_owned())].into();
    let values = server.secrets.put(&app, &value).unwrap();
    let lists = [&FIRST[..], &SECOND].map(|sizes| upload(&server, &app, sizes));
    let data = std::env::temp_dir();
    let fetcher = Arc::new(ReleaseFetcher::new(source, Arc::clone(&host), data));
    let needs = |release, content| ReleaseNeeds {
        app: app.clone(),
        release: ReleaseNo(release),
        content: Some(content),
        values: values.clone(),
    };
    let [given_up, stays] = [(); 2].map(|()| fetcher.join(needs(1, lists[0])));
    let other = fetcher.join(needs(2, lists[1]));
    let give_up = async {
        let _ = tokio::time::timeout(give_up, given_up.done()).await;
        given_up.settled().await;
    };
    let ((), first, second) = tokio::join!(give_up, stays.done(), other.done());
    assert_eq!((first, second), (Ok(()), Ok(())));
    for list in lists {
        assert!(host.content.has_manifest(&app, list));
    }
    for size in FIRST.into_iter().chain(SECOND) {
        let mut bytes = Vec::new();
        host.content.open_blob(digest(&text(size))).unwrap().read_to_end(&mut bytes).unwrap();
        assert!(bytes == text(size), "{size} bytes");
    }
    assert_eq!(host.secrets.values(&app, &values).unwrap(), value);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_connection_does_the_right_bytes_arrive(
        faults in proptest::collection::vec(
            prop_oneof![
                Just(Fault::Away),
                (0_u64..400_000).prop_map(Fault::Ends),
                (0_u64..400_000).prop_map(Fault::Hangs),
                Just(Fault::Lies),
            ],
            0..16,
        ),
        give_up in 0_u64..90_000,
    ) {
        // More lies would end a fetch.
        let mut lies = 0;
        let faults = faults.into_iter().filter(|fault| {
            lies += u32::from(*fault == Fault::Lies);
            *fault != Fault::Lies || lies <= 2
        });
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let [server, host] =
            folders.each_ref().map(|folder| Arc::new(ReleaseStore::open(folder.path()).unwrap()));
        let faults = Mutex::new(faults.collect());
        let source = Arc::new(Faulty { store: StoreSource(server), faults });
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(fetches(source, host, Duration::from_millis(give_up)));
        prop_assert_eq!(std::fs::read_dir(folders[1].path().join("parts")).unwrap().count(), 0);
    }
}
