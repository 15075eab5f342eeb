//! Files of releases: taken whole, laid out whole, deleted when nothing needs them.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use agent::Access;
use agent::content::{Content, ContentError};
use model::{AppName, Digest, ReleaseNo};
use wire::{Entry, Kind, Manifest, scan};

fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(*blake3::hash(bytes).as_bytes())
}

fn web() -> AppName {
    "web".parse().unwrap()
}

fn file(path: &str, bytes: &[u8]) -> Entry {
    let kind = Kind::File {
        digest: digest(bytes),
        size: bytes.len() as u64,
        executable: path.ends_with("sh"),
    };
    Entry { path: path.to_owned(), kind, modified: None }
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
    let content = Content::open(data.path()).unwrap();
    let missing = content.missing(&scanned.manifest.blobs());
    assert_eq!(missing.len(), 2, "the same content is sent once");
    for blob in missing {
        let size = content.put_blob(fs::File::open(&scanned.files[&blob]).unwrap(), blob, 1 << 20);
        assert_eq!(size.unwrap(), fs::metadata(&scanned.files[&blob]).unwrap().len());
    }
    let manifest = content.put_manifest(&web(), &scanned.manifest, None).unwrap();
    assert!(content.has_manifest(&web(), manifest));
    let folder = content.materialise(&web(), ReleaseNo(4), Some(manifest), Access::OWN).unwrap();
    assert_eq!(folder, data.path().join("apps/web/releases/4"));
    assert_eq!(scan(&folder).unwrap().manifest, scanned.manifest);
    let mode = |name: &str| fs::metadata(folder.join(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode("run.sh"), mode("lib/data")), (0o700, 0o600));
    assert_eq!(fs::metadata(folder.join("lib/data")).unwrap().nlink(), 1, "no hard links");
    // A second time nothing is done: the app may have written there.
    fs::write(folder.join("own"), "").unwrap();
    content.materialise(&web(), ReleaseNo(4), Some(manifest), Access::OWN).unwrap();
    assert!(folder.join("own").exists());
}

#[test]
fn what_is_not_what_was_promised_is_refused_and_leaves_nothing() {
    let data = tempfile::tempdir().unwrap();
    let content = Content::open(data.path()).unwrap();
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
    let unknown =
        content.materialise(&web(), ReleaseNo(1), Some(digest(b"?")), Access::OWN).unwrap_err();
    assert!(unknown.to_string().contains("hint:"), "{unknown}");
    assert!(blobs(data.path()).is_empty());
    assert!(!data.path().join("apps/web/releases/1").exists());
}

#[test]
fn a_changed_manifest_or_a_cut_content_is_not_laid_out() {
    let data = tempfile::tempdir().unwrap();
    let content = Content::open(data.path()).unwrap();
    let manifest = upload(&content, &[("a", "one"), ("b", "two")]);
    fs::write(&blobs(data.path())[0], "").unwrap();
    let cut = content.materialise(&web(), ReleaseNo(1), Some(manifest), Access::OWN).unwrap_err();
    assert!(matches!(cut, ContentError::Io { .. }), "{cut:?}");
    assert!(!content.has_manifest(&web(), manifest), "it has to be sent again");
    let left: Vec<_> = fs::read_dir(data.path().join("apps/web/releases")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    let path = data.path().join(format!("apps/web/manifests/{manifest}.json"));
    let text = fs::read_to_string(&path).unwrap().replace("\"a\"", "\"c\"");
    fs::write(&path, text).unwrap();
    let changed =
        content.materialise(&web(), ReleaseNo(1), Some(manifest), Access::OWN).unwrap_err();
    assert!(matches!(changed, ContentError::NoManifest { .. }), "{changed:?}");
}

#[test]
fn an_upload_that_was_given_up_is_cleared_at_the_next_start() {
    let data = tempfile::tempdir().unwrap();
    let content = Content::open(data.path()).unwrap();
    upload(&content, &[("a", "kept")]);
    content.put_blob(&b"given up"[..], digest(b"given up"), 100).unwrap();
    let mut writer = content.begin_blob(digest(b"half"), 100).unwrap();
    writer.write(b"ha").unwrap();
    std::mem::forget(writer);
    assert_eq!(blobs(data.path()).len(), 3);
    drop(content);
    let _content = Content::open(data.path()).unwrap();
    let left = blobs(data.path());
    assert_eq!(left.len(), 1);
    assert_eq!(fs::read(&left[0]).unwrap(), b"kept");
}

const CHILD: &str = "AGENT_TEST_DATA";

/// Not a test of its own: the process that gets killed. Without the variable there is nothing to do.
#[test]
fn lays_out_until_it_is_killed() {
    let Ok(data) = std::env::var(CHILD) else { return };
    let content = Content::open(data.as_ref()).unwrap();
    let manifest = fs::read_to_string(Path::new(&data).join("manifest")).unwrap().parse().unwrap();
    for number in 1.. {
        content.materialise(&web(), ReleaseNo(number), Some(manifest), Access::OWN).unwrap();
    }
}

#[test]
fn a_kill_leaves_no_half_release() {
    let data = tempfile::tempdir().unwrap();
    let content = Content::open(data.path()).unwrap();
    let names: Vec<String> = (100..160).map(|n| format!("folder/{n}")).collect();
    let files: Vec<(&str, &str)> =
        names.iter().map(|name| (name.as_str(), name.as_str())).collect();
    let manifest = upload(&content, &files);
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
        let content = Content::open(data.path()).unwrap();
        for entry in fs::read_dir(&releases).unwrap() {
            let path = entry.unwrap().path();
            assert!(!path.file_name().unwrap().to_str().unwrap().starts_with('.'), "{path:?}");
            if path.is_dir() {
                assert_eq!(fs::read_dir(path.join("folder")).unwrap().count(), names.len());
            }
        }
        content.materialise(&web(), ReleaseNo(1_000 + round), Some(manifest), Access::OWN).unwrap();
    }
}

#[test]
fn what_a_refused_deploy_left_behind_is_collected() {
    let data = tempfile::tempdir().unwrap();
    let content = Content::open(data.path()).unwrap();
    let named = upload(&content, &[("a", "one"), ("b", "two")]);
    let collect = |content: &Content, releases: &[Digest], age| {
        let kept = BTreeMap::from([(web(), releases.iter().copied().collect())]);
        let kept = if releases.is_empty() { BTreeMap::new() } else { kept };
        content.collect(&kept, age).unwrap();
        blobs(data.path()).len()
    };
    let hour = std::time::Duration::from_secs(3_600);
    assert_eq!(collect(&content, &[], std::time::Duration::ZERO), 2, "it has just been uploaded");
    // After a restart nobody knows what is new but by its age.
    let content = Content::open(data.path()).unwrap();
    assert_eq!(collect(&content, &[], hour), 2);
    assert_eq!(collect(&content, &[named], std::time::Duration::ZERO), 2);
    assert_eq!(collect(&content, &[], std::time::Duration::ZERO), 0);
    assert!(!data.path().join("apps/web").exists());
}

#[test]
fn files_keep_their_times_until_their_content_changes() {
    let data = tempfile::tempdir().unwrap();
    let content = Content::open(data.path()).unwrap();
    // A build that gives every file the same time, and a clone that gives them the time of the day.
    let ship = |no, texts: [(&str, &str); 2], at: u64, before| {
        upload(&content, &texts);
        let timed = |(path, text): (&str, &str)| Entry {
            modified: Some(at),
            ..file(path, text.as_bytes())
        };
        let manifest = Manifest { entries: texts.map(timed).to_vec() };
        let list = content.put_manifest(&web(), &manifest, before).unwrap();
        let folder = content.materialise(&web(), ReleaseNo(no), Some(list), Access::OWN).unwrap();
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
