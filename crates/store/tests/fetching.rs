//! Contents that come from another store in pieces: continued after a break, checked, and deleted when nobody
//! needs them.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use model::{AppName, Digest};
use store::{Content, ContentError, Lacking, PartialBlob, ReleaseStore};
use wire::{FileEntry, Kind, Manifest};

fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(*blake3::hash(bytes).as_bytes())
}

fn web() -> AppName {
    "web".parse().unwrap()
}

/// Some text that differs everywhere.
fn text(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

fn list(contents: &[&[u8]]) -> Manifest {
    let entry = |(number, bytes): (usize, &&[u8])| {
        let size = bytes.len() as u64;
        let kind = Kind::File { digest: digest(bytes), size, executable: false };
        FileEntry { path: format!("file-{number}"), kind, modified: None }
    };
    Manifest { entries: contents.iter().enumerate().map(entry).collect() }
}

fn put_first(content: &Content, list: &Manifest) -> Result<Manifest, ContentError> {
    content.put_manifest_first(&web(), list.name(), &list.canonical_bytes())
}

fn part(content: &Content, of: &[u8]) -> PartialBlob {
    content.resume_blob(digest(of), of.len() as u64).unwrap().unwrap()
}

fn parts(data: &Path) -> Vec<PathBuf> {
    fs::read_dir(data.join("parts")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_content_goes_on_where_it_stopped_even_in_another_process() {
    let data = tempfile::tempdir().unwrap();
    let big = text(300_000);
    let list = list(&[&big, b""]);
    let store = ReleaseStore::open(data.path()).unwrap();
    let lacks =
        |store: &ReleaseStore, of: &[u8]| store.content.lacking(&list).get(&digest(of)).copied();
    assert_eq!(put_first(&store.content, &list).unwrap(), list);
    assert!(!store.content.has_manifest(&web(), list.name()), "its contents are missing");
    assert_eq!(lacks(&store, &big), Some(Lacking { size: 300_000, fetched: 0 }));
    part(&store.content, &big).write(&big[..100_000]).unwrap();
    assert_eq!(lacks(&store, &big), Some(Lacking { size: 300_000, fetched: 100_000 }));
    let mut second = part(&store.content, &big);
    assert_eq!((second.bytes(), second.rest()), (100_000, 200_000));
    second.write(&big[100_000..150_000]).unwrap();
    drop((second, store));
    let store = ReleaseStore::open(data.path()).unwrap();
    let mut third = part(&store.content, &big);
    assert_eq!(third.bytes(), 150_000);
    third.write(&big[150_000..]).unwrap();
    let more = third.write(b"x").unwrap_err();
    assert!(matches!(more, ContentError::TooLong { bytes: 300_000, .. }), "{more:?}");
    store.content.store_blob(third).unwrap();
    let empty = part(&store.content, b"");
    assert_eq!(empty.rest(), 0, "of an empty content, nothing has to be sent");
    store.content.store_blob(empty).unwrap();
    assert!(store.content.lacking(&list).is_empty() && parts(data.path()).is_empty());
    assert!(store.content.has_manifest(&web(), list.name()));
    store.content.copy_blob(digest(&big), 300_000, &data.path().join("copy")).unwrap();
    assert_eq!(fs::read(data.path().join("copy")).unwrap(), big);
    assert!(store.content.resume_blob(digest(&big), 300_000).unwrap().is_none(), "it is stored");
    assert!(parts(data.path()).is_empty());
}

#[test]
fn a_damaged_part_is_thrown_away_whole() {
    let data = tempfile::tempdir().unwrap();
    let big = text(300_000);
    let store = ReleaseStore::open(data.path()).unwrap();
    let content = &store.content;
    put_first(content, &list(&[&big])).unwrap();
    part(content, &big).write(&big[..200_000]).unwrap();
    // What the disk has now is not what was sent.
    let mut damaged = big[..200_000].to_vec();
    damaged[..1_000].fill(0);
    fs::write(&parts(data.path())[0], &damaged).unwrap();
    let mut rest = part(content, &big);
    rest.write(&big[200_000..]).unwrap();
    let wrong = content.store_blob(rest).unwrap_err();
    assert!(matches!(wrong, ContentError::Mismatch { .. }), "{wrong:?}");
    assert!(parts(data.path()).is_empty());
    // The same, while it is open.
    let mut whole = part(content, &big);
    whole.write(&big[..200_000]).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&parts(data.path())[0]).unwrap();
    file.write_at(&[0; 1_000], 0).unwrap();
    whole.write(&big[200_000..]).unwrap();
    let wrong = content.store_blob(whole).unwrap_err();
    assert!(matches!(wrong, ContentError::Mismatch { .. }), "{wrong:?}");
    // More than there should be: nothing of it can be trusted.
    fs::write(data.path().join("parts").join(digest(&big).to_string()), text(300_001)).unwrap();
    let mut again = part(content, &big);
    assert_eq!(again.bytes(), 0);
    again.write(&big).unwrap();
    content.store_blob(again).unwrap();
    assert!(content.lacking(&list(&[&big])).is_empty());
}

#[test]
fn one_at_a_time_writes_a_content() {
    let data = tempfile::tempdir().unwrap();
    let big = text(300_000);
    let store = ReleaseStore::open(data.path()).unwrap();
    let content = &store.content;
    put_first(content, &list(&[&big])).unwrap();
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        let mut first = part(content, &big);
        let others: Vec<_> = (0..4)
            .map(|_| {
                let (tell, big) = (tell.clone(), &big);
                scope.spawn(move || {
                    tell.send(()).unwrap();
                    content
                        .resume_blob(digest(big), big.len() as u64)
                        .unwrap()
                        .map(|part| part.bytes())
                })
            })
            .collect();
        others.iter().for_each(|_| told.recv().unwrap());
        for piece in big.chunks(1_000) {
            first.write(piece).unwrap();
        }
        assert!(others.iter().all(|other| !other.is_finished()), "they wait");
        content.store_blob(first).unwrap();
        for other in others {
            assert_eq!(other.join().unwrap(), None, "by now it is stored");
        }
    });
    assert!(parts(data.path()).is_empty());
}

#[test]
fn a_part_lives_as_long_as_a_list_needs_it() {
    let data = tempfile::tempdir().unwrap();
    let (one, two) = (text(1_000), text(2_000));
    let store = ReleaseStore::open(data.path()).unwrap();
    let content = &store.content;
    let lists = [list(&[&one, b"done"]), list(&[&two])];
    for list in &lists {
        put_first(content, list).unwrap();
    }
    let mut done = part(content, b"done");
    done.write(b"done").unwrap();
    content.store_blob(done).unwrap();
    part(content, &one).write(&one[..500]).unwrap();
    part(content, &two).write(&two[..500]).unwrap();
    let keep = |lists: &[&Manifest]| {
        let names: BTreeSet<Digest> = lists.iter().map(|list| list.name()).collect();
        content.keep_manifests(&web(), &names).unwrap();
        content.delete_unneeded_blobs().unwrap();
    };
    keep(&[&lists[0], &lists[1]]);
    assert_eq!(parts(data.path()).len(), 2);
    keep(&[&lists[1]]);
    assert_eq!(parts(data.path()).len(), 1, "the rollout of the first was given up");
    assert_eq!(fs::read_dir(data.path().join("blobs")).unwrap().count(), 0);
    keep(&[]);
    assert!(parts(data.path()).is_empty());
}

#[test]
fn a_list_that_is_not_the_one_asked_for_is_not_stored() {
    let data = tempfile::tempdir().unwrap();
    let store = ReleaseStore::open(data.path()).unwrap();
    let content = &store.content;
    let (wanted, other) = (list(&[b"wanted"]), list(&[b"other"]));
    let put = |bytes: &[u8]| content.put_manifest_first(&web(), wanted.name(), bytes).unwrap_err();
    let lies = put(&other.canonical_bytes());
    assert!(matches!(lies, ContentError::Mismatch { .. }), "{lies:?}");
    let later = put(br#"{"entries":[],"owner":"me"}"#);
    assert!(matches!(later, ContentError::Unreadable { .. }), "{later:?}");
    let mut leaves = list(&[b"x"]);
    leaves.entries[0].path = "../x".to_owned();
    let refused = put_first(content, &leaves).unwrap_err();
    assert!(matches!(refused, ContentError::Refused(_)), "{refused:?}");
    assert!(!data.path().join("apps/web").exists());
}

/// A server is asked for thousands of contents of one list, and looks each up in the list.
#[test]
fn a_list_is_read_once_for_all_its_contents() {
    let data = tempfile::tempdir().unwrap();
    let store = ReleaseStore::open(data.path()).unwrap();
    let content = &store.content;
    let list = list(&[b"one", b"two"]);
    put_first(content, &list).unwrap();
    let is_listed = |bytes: &[u8]| content.is_listed(&web(), list.name(), digest(bytes));
    assert!(is_listed(b"one") && !is_listed(b"three"));
    fs::remove_file(data.path().join(format!("apps/web/manifests/{}.json", list.name()))).unwrap();
    assert!(is_listed(b"two") && !is_listed(b"three"), "nothing is read any more");
    assert!(!content.is_listed(&"other".parse().unwrap(), list.name(), digest(b"one")));
    assert!(!content.is_listed(&web(), digest(b"?"), digest(b"one")));
}
