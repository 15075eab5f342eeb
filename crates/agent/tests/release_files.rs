//! Files of releases: laid out whole, from what the store has.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use agent::{Access, ReleaseFiles, ReleaseFilesError};
use model::{AppName, Digest, ReleaseNo};
use store::{Content, ReleaseStore};
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

fn open(data: &Path) -> (Arc<ReleaseStore>, ReleaseFiles) {
    let store = Arc::new(ReleaseStore::open(data).unwrap());
    (Arc::clone(&store), ReleaseFiles::open(data, store).unwrap())
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
fn a_folder_arrives_as_it_was() {
    let (source, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let at = |name: &str| source.path().join(name);
    fs::create_dir_all(at("lib/empty")).unwrap();
    fs::write(at("run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(at("run.sh"), fs::Permissions::from_mode(0o4777)).unwrap();
    fs::write(at("lib/data"), vec![5; 300_000]).unwrap();
    fs::write(at("lib/copy"), vec![5; 300_000]).unwrap();
    std::os::unix::fs::symlink("lib/data", at("link")).unwrap();
    let scanned = scan(source.path()).unwrap();
    let (store, files) = open(data.path());
    let missing = store.content.missing(&scanned.manifest.blobs());
    assert_eq!(missing.len(), 2, "the same content is sent once");
    for blob in missing {
        let size =
            store.content.put_blob(fs::File::open(&scanned.files[&blob]).unwrap(), blob, 1 << 20);
        assert_eq!(size.unwrap(), fs::metadata(&scanned.files[&blob]).unwrap().len());
    }
    let manifest = store.content.put_manifest(&web(), &scanned.manifest, None).unwrap();
    assert!(store.content.has_manifest(&web(), manifest));
    let folder = files.lay_out(&web(), ReleaseNo(4), Some(manifest), Access::OWN).unwrap();
    assert_eq!(folder, data.path().join("apps/web/releases/4"));
    assert_eq!(scan(&folder).unwrap().manifest, scanned.manifest);
    let mode = |name: &str| fs::metadata(folder.join(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode("run.sh"), mode("lib/data")), (0o700, 0o600));
    assert_eq!(fs::metadata(folder.join("lib/data")).unwrap().nlink(), 1, "no hard links");
    // A second time nothing is done: the app may have written there.
    fs::write(folder.join("own"), "").unwrap();
    files.lay_out(&web(), ReleaseNo(4), Some(manifest), Access::OWN).unwrap();
    assert!(folder.join("own").exists());
}

#[test]
fn a_changed_manifest_or_a_cut_content_is_not_laid_out() {
    let data = tempfile::tempdir().unwrap();
    let (store, files) = open(data.path());
    let manifest = upload(&store.content, &[("a", "one"), ("b", "two")]);
    fs::write(&blobs(data.path())[0], "").unwrap();
    let cut = files.lay_out(&web(), ReleaseNo(1), Some(manifest), Access::OWN).unwrap_err();
    assert!(matches!(cut, ReleaseFilesError::Io { .. }), "{cut:?}");
    assert!(!store.content.has_manifest(&web(), manifest), "it has to be sent again");
    let left: Vec<_> = fs::read_dir(data.path().join("apps/web/releases")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    let path = data.path().join(format!("apps/web/manifests/{manifest}.json"));
    let text = fs::read_to_string(&path).unwrap().replace("\"a\"", "\"c\"");
    fs::write(&path, text).unwrap();
    let changed = files.lay_out(&web(), ReleaseNo(1), Some(manifest), Access::OWN).unwrap_err();
    assert!(matches!(changed, ReleaseFilesError::NoManifest { .. }), "{changed:?}");
    let unknown = files.lay_out(&web(), ReleaseNo(2), Some(digest(b"?")), Access::OWN).unwrap_err();
    assert!(unknown.to_string().contains("hint:"), "{unknown}");
    assert!(!data.path().join("apps/web/releases/2").exists());
}

const CHILD: &str = "AGENT_TEST_DATA";

/// Not a test of its own: the process that gets killed. Without the variable there is nothing to do.
#[test]
fn lays_out_until_it_is_killed() {
    let Ok(data) = std::env::var(CHILD) else { return };
    let (_store, files) = open(data.as_ref());
    let manifest = fs::read_to_string(Path::new(&data).join("manifest")).unwrap().parse().unwrap();
    for number in 1.. {
        files.lay_out(&web(), ReleaseNo(number), Some(manifest), Access::OWN).unwrap();
    }
}

#[test]
fn a_kill_leaves_no_half_release() {
    let data = tempfile::tempdir().unwrap();
    let (store, _) = open(data.path());
    let names: Vec<String> = (100..160).map(|n| format!("folder/{n}")).collect();
    let texts: Vec<(&str, &str)> =
        names.iter().map(|name| (name.as_str(), name.as_str())).collect();
    let manifest = upload(&store.content, &texts);
    fs::write(data.path().join("manifest"), manifest.to_string()).unwrap();
    let releases = data.path().join("apps/web/releases");
    for round in 1..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "lays_out_until_it_is_killed", "--nocapture"])
            .env(CHILD, data.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let last = releases.join((round * 3).to_string());
        while !last.exists() {
            assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let (_store, files) = open(data.path());
        for entry in fs::read_dir(&releases).unwrap() {
            let path = entry.unwrap().path();
            assert!(!path.file_name().unwrap().to_str().unwrap().starts_with('.'), "{path:?}");
            if path.is_dir() {
                assert_eq!(fs::read_dir(path.join("folder")).unwrap().count(), names.len());
            }
        }
        files.lay_out(&web(), ReleaseNo(1_000 + round), Some(manifest), Access::OWN).unwrap();
    }
}

#[test]
fn files_keep_their_times_until_their_content_changes() {
    let data = tempfile::tempdir().unwrap();
    let (store, files) = open(data.path());
    // A build that gives every file the same time, and a clone that gives them the time of the day.
    let ship = |no, texts: [(&str, &str); 2], at: u64, before| {
        upload(&store.content, &texts);
        let timed = |(path, text): (&str, &str)| FileEntry {
            modified: Some(at),
            ..file(path, text.as_bytes())
        };
        let manifest = Manifest { entries: texts.map(timed).to_vec() };
        let list = store.content.put_manifest(&web(), &manifest, before).unwrap();
        let folder = files.lay_out(&web(), ReleaseNo(no), Some(list), Access::OWN).unwrap();
        let time = |path: &str| fs::metadata(folder.join(path)).unwrap().mtime();
        (list, [time("a.js"), time("b.js")])
    };
    let (one, times) = ship(1, [("a.js", "1"), ("b.js", "1")], 1_000, None);
    assert_eq!(times, [1_000, 1_000]);
    let (two, times) = ship(2, [("a.js", "2"), ("b.js", "1")], 1_000, Some(one));
    assert_eq!(times, [1_001, 1_000], "equal in size and time, another content");
    let (three, times) = ship(3, [("a.js", "2"), ("b.js", "1")], 9_000, Some(two));
    assert_eq!((three, times), (two, [1_001, 1_000]), "a fresh clone of the same files");
    let (_, times) = ship(4, [("a.js", "1"), ("b.js", "3")], 9_000, Some(three));
    assert_eq!(times, [9_000, 9_000]);
}
