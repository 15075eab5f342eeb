//! Tests of collection, with files and values together.

use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use wire::{FileEntry, Kind, Manifest};

fn web() -> AppName {
    "web".parse().unwrap()
}

fn value(store: &ReleaseStore, app: &AppName, value: &str) -> Digest {
    let values = BTreeMap::from([("KEY".to_owned(), value.to_owned())]);
    store.secrets.put(app, &values).unwrap()["KEY"]
}

fn upload(store: &ReleaseStore, app: &AppName, text: &str) -> Digest {
    let digest = Digest::from_bytes(*blake3::hash(text.as_bytes()).as_bytes());
    let kind = Kind::File { digest, size: text.len() as u64, executable: false };
    store.content.put_blob(text.as_bytes(), digest, 1 << 20).unwrap();
    let entries = vec![FileEntry { path: "file".into(), kind, modified: None }];
    store.content.put_manifest(app, &Manifest { entries }, None).unwrap()
}

/// Uploads the files of two deploys: one became a release, the other was refused or never requested. Then
/// uploads files of an app that never existed.
#[test]
fn what_no_release_names_is_collected_once_it_is_old() {
    let data = tempfile::tempdir().unwrap();
    let never: AppName = "never".parse().unwrap();
    let store = ReleaseStore::open(data.path()).unwrap();
    let lists = [("one", web()), ("two", web()), ("three", never.clone())];
    let lists = lists.map(|(text, app)| (upload(&store, &app, text), app));
    let values = [("one", web()), ("two", web()), ("three", never.clone())];
    let values = values.map(|(text, app)| (value(&store, &app, text), app));
    let named = InUse { manifests: [lists[0].0].into(), values: [values[0].0].into() };
    let in_use = BTreeMap::from([(web(), named)]);
    let there = || {
        let file = |folder: &str, digest: &Digest, app: &AppName| {
            let folder = data.path().join(folder.replace("APP", app.as_str()));
            folder.join(format!("{digest}.json")).exists()
        };
        let lists = lists.each_ref().map(|(list, app)| file("apps/APP/manifests", list, app));
        let values = values.each_ref().map(|(value, app)| file("env/APP", value, app));
        let count = |folder: fs::DirEntry| folder.path().read_dir().unwrap().count();
        let blobs = data.path().join("blobs").read_dir().unwrap();
        (lists, values, blobs.map(|folder| count(folder.unwrap())).sum::<usize>())
    };
    store.collect(&in_use, Duration::ZERO).unwrap();
    assert_eq!(there(), ([true; 3], [true; 3], 3), "their deploys are being asked");
    // The server ended before it knew the outcome of the deploys. Only the age of the uploads shows that they
    // are new.
    let store = ReleaseStore::open(data.path()).unwrap();
    store.collect(&in_use, Duration::from_secs(3_600)).unwrap();
    assert_eq!(there(), ([true; 3], [true; 3], 3));
    store.collect(&in_use, Duration::ZERO).unwrap();
    assert_eq!(there(), ([true, false, false], [true, false, false], 1));
    assert!(!data.path().join("apps/never").exists() && !data.path().join("env/never").exists());
    store.collect(&BTreeMap::new(), Duration::ZERO).unwrap();
    assert_eq!(there(), ([false; 3], [false; 3], 0));
    assert!(!data.path().join("apps/web").exists() && !data.path().join("env/web").exists());
}

/// Deletes the remains of a removed app while files of a new app with the same name are uploaded.
#[test]
fn an_upload_finds_its_folder_whenever_the_empty_one_is_deleted() {
    let data = tempfile::tempdir().unwrap();
    let store = ReleaseStore::open(data.path()).unwrap();
    let app = |number: usize| -> AppName { format!("web-{number}").parse().unwrap() };
    let current = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let uploads = scope.spawn(|| {
            for number in 0..100 {
                current.store(number, Ordering::SeqCst);
                upload(&store, &app(number), "text");
            }
        });
        while !uploads.is_finished() {
            let app = app(current.load(Ordering::SeqCst));
            store.content.keep_manifests(&app, &BTreeSet::new()).unwrap();
            store.content.forget_folder(&app);
        }
        uploads.join().unwrap();
    });
    for number in 0..100 {
        let folder = fs::metadata(data.path().join("apps").join(app(number).as_str())).unwrap();
        assert_eq!(folder.permissions().mode() & 0o777, 0o711);
    }
}
