//! Files of releases: taken whole, kept while something needs them.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use model::{AppName, Digest};
use store::{Content, ContentError, ReleaseStore};
use wire::{FileEntry, Kind, Manifest, scan};

fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(*blake3::hash(bytes).as_bytes())
}

fn web() -> AppName {
    "web".parse().unwrap()
}

fn file(path: &str, bytes: &[u8]) -> FileEntry {
    let kind = Kind::File {
        digest: digest(bytes),
        size: bytes.len() as u64,
        executable: path.ends_with("sh"),
    };
    FileEntry { path: path.to_owned(), kind, modified: None }
}

fn upload(content: &Content, files: &[(&str, &str)]) -> Digest {
    let entries = files.iter().map(|(path, text)| file(path, text.as_bytes())).collect();
    let manifest = Manifest { entries };
    let texts: BTreeMap<Digest, &str> =
        files.iter().map(|(_, text)| (digest(text.as_bytes()), *text)).collect();
    for blob in content.missing(&manifest.blobs()) {
        content.put_blob(texts[&blob].as_bytes(), blob, 1 << 20).unwrap();
    }
    content.put_manifest(&web(), &manifest, None).unwrap()
}

fn blobs(data: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in fs::read_dir(data.join("blobs")).unwrap() {
        let folder = folder.unwrap().path();
        if folder.is_dir() {
            found.extend(fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            found.push(folder);
        }
    }
    found
}

#[test]
fn a_folder_is_sent_once_and_named_by_its_list() {
    let (source, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir(source.path().join("lib")).unwrap();
    for name in ["lib/data", "lib/copy"] {
        fs::write(source.path().join(name), vec![5; 300_000]).unwrap();
    }
    let scanned = scan(source.path()).unwrap();
    let store = ReleaseStore::open(data.path()).unwrap();
    let missing = store.content.missing(&scanned.manifest.blobs());
    assert_eq!(missing.len(), 1, "the same content is sent once");
    let sent = fs::File::open(&scanned.files[&missing[0]]).unwrap();
    assert_eq!(store.content.put_blob(sent, missing[0], 1 << 20).unwrap(), 300_000);
    let manifest = store.content.put_manifest(&web(), &scanned.manifest, None).unwrap();
    assert!(store.content.has_manifest(&web(), manifest));
    assert_eq!(store.content.manifest(&web(), manifest).unwrap(), scanned.manifest);
    assert!(!store.content.has_manifest(&"other".parse().unwrap(), manifest));
}

#[test]
fn what_is_not_what_was_promised_is_refused_and_leaves_nothing() {
    let data = tempfile::tempdir().unwrap();
    let store = ReleaseStore::open(data.path()).unwrap();
    let content = &store.content;
    let wrong = content.put_blob(&b"evil"[..], digest(b"good"), 100).unwrap_err();
    assert!(matches!(wrong, ContentError::Mismatch { .. }), "{wrong:?}");
    let long = content.put_blob(&[0; 101][..], digest(&[0; 101]), 100).unwrap_err();
    assert!(matches!(long, ContentError::TooLong { bytes: 100, .. }), "{long:?}");
    let entries = vec![file("a", b"never sent")];
    let incomplete = content.put_manifest(&web(), &Manifest { entries }, None).unwrap_err();
    assert!(matches!(incomplete, ContentError::Incomplete { count: 1, .. }), "{incomplete:?}");
    let entries = vec![file("../a", b"x")];
    let refused = content.put_manifest(&web(), &Manifest { entries }, None).unwrap_err();
    assert!(matches!(refused, ContentError::Refused(_)), "{refused:?}");
    assert!(blobs(data.path()).is_empty());
    assert!(!data.path().join("apps/web").exists());
}

#[test]
fn a_changed_list_or_a_cut_content_is_not_used() {
    let data = tempfile::tempdir().unwrap();
    let store = ReleaseStore::open(data.path()).unwrap();
    let manifest = upload(&store.content, &[("a", "one"), ("b", "two")]);
    fs::write(&blobs(data.path())[0], "").unwrap();
    assert!(!store.content.has_manifest(&web(), manifest), "it has to be sent again");
    let path = data.path().join(format!("apps/web/manifests/{manifest}.json"));
    let text = fs::read_to_string(&path).unwrap().replace("\"a\"", "\"c\"");
    fs::write(&path, text).unwrap();
    assert_eq!(store.content.manifest(&web(), manifest), None);
}

#[test]
fn an_upload_that_was_given_up_is_cleared_at_the_next_start() {
    let data = tempfile::tempdir().unwrap();
    let store = ReleaseStore::open(data.path()).unwrap();
    let content = &store.content;
    upload(content, &[("a", "kept")]);
    content.put_blob(&b"given up"[..], digest(b"given up"), 100).unwrap();
    let mut writer = content.begin_blob(digest(b"half"), 100).unwrap();
    writer.write(b"ha").unwrap();
    std::mem::forget(writer);
    assert_eq!(blobs(data.path()).len(), 3);
    drop(store);
    let _store = ReleaseStore::open(data.path()).unwrap();
    let left = blobs(data.path());
    assert_eq!(left.len(), 1);
    assert_eq!(fs::read(&left[0]).unwrap(), b"kept");
}
