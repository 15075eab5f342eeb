//! Tests of lists of files that are refused, and of folders that are read.

use proptest::prelude::*;

use super::*;

fn file(path: &str) -> FileEntry {
    let kind = Kind::File { digest: Digest::from_bytes([7; 32]), size: 1, executable: false };
    FileEntry { path: path.to_owned(), kind, modified: None }
}

fn link(path: &str, target: &str) -> FileEntry {
    FileEntry {
        path: path.to_owned(),
        kind: Kind::Symlink { target: target.to_owned() },
        modified: None,
    }
}

fn check(entries: &[FileEntry], wanted: Result<(), &str>) {
    let outcome = Manifest { entries: entries.to_vec() }.validate();
    match (outcome, wanted) {
        (Ok(()), Ok(())) => {}
        (Err(e), Err(why)) if e.to_string().contains(why) => {}
        (outcome, _) => panic!("{entries:?}: {outcome:?}, wanted {wanted:?}"),
    }
}

#[test]
fn paths_that_leave_the_folder_or_come_twice_are_refused() {
    check(&[file("a"), file("b/c"), file("b/d")], Ok(()));
    for bad in ["", "/etc/passwd", "a//b", "a/", "../a", "a/../b", "./a", "a/."] {
        check(&[file(bad)], Err("its path"));
    }
    check(&[file("a\0b")], Err("zero byte"));
    check(&[file(&"x".repeat(256))], Err("255 bytes"));
    check(&[file(&"xy/".repeat(400))], Err("bytes"));
    check(&[file(&format!("{}z", "x/".repeat(64)))], Err("folders deep"));
    check(&[file("a"), file("a")], Err("twice"));
    check(&[file("b"), file("a")], Err("out of order"));
    check(&[file("a"), file("a/b")], Err("not a folder"));
    check(&[link("a", "b"), file("a/b")], Err("not a folder"));
}

#[test]
fn links_may_point_inside_only_also_through_other_links() {
    check(&[link("a", "b")], Ok(()));
    check(&[file("d/x"), link("e/f", "../d/x")], Ok(()));
    check(&[link("a", "/etc/passwd")], Err("leads outside"));
    check(&[link("a", "..")], Err("leads outside"));
    check(&[link("d/a", "../..")], Err("leads outside"));
    check(&[link("a", "b/../../c")], Err("leads outside"));
    // By its text `x/..` stays inside. But `x` leads to the top folder, and `..` of that leads outside.
    check(&[link("d/x", ".."), link("d/y", "x/../z")], Err("leads outside"));
    check(&[link("a", "b"), link("b", "a")], Err("loop"));
    check(&[link("a", "")], Err("empty"));
}

#[test]
fn too_much_is_refused() {
    let mut big = file("b");
    big.kind =
        Kind::File { digest: Digest::from_bytes([0; 32]), size: MOST_BYTES, executable: true };
    check(&[big.clone()], Ok(()));
    check(&[file("a"), big], Err("4 GiB"));
    let many: Vec<FileEntry> = (0..=MOST_ENTRIES).map(|n| file(&format!("{n:07}"))).collect();
    check(&many, Err("entries"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Every accepted link stays inside when it is laid out on a real file system.
    #[test]
    fn an_accepted_link_never_leads_outside(
        links in prop::collection::btree_map("[ab](/[ab]){0,2}", "(\\.\\.|[ab])(/(\\.\\.|[ab])){0,4}", 1..7),
    ) {
        let entries = links.iter().map(|(path, target)| link(path, target)).collect();
        let manifest = Manifest { entries };
        if manifest.validate().is_err() {
            return Ok(());
        }
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("x/y/z/release");
        fs::create_dir_all(&inner).unwrap();
        for (path, target) in &links {
            let path = inner.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(target, path).unwrap();
        }
        let inner = inner.canonicalize().unwrap();
        for path in links.keys() {
            if let Ok(real) = inner.join(path).canonicalize() {
                prop_assert!(real.starts_with(&inner), "{path} → {}", real.display());
            }
        }
    }
}

#[test]
fn a_folder_is_read_without_git_and_what_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at(".git/objects")).unwrap();
    fs::create_dir_all(at("dist/empty")).unwrap();
    for (name, text) in [
        (".gitignore", "dist\n"),
        (".segueignore", "*.tmp\nsecret/\n"),
        (".hidden", "h"),
        ("app.py", "print()"),
        ("dist/out.js", "js"),
        ("dist/a.tmp", "t"),
        (".git/HEAD", "ref"),
    ] {
        fs::write(at(name), text).unwrap();
    }
    fs::create_dir(at("secret")).unwrap();
    fs::write(at("secret/key"), "k").unwrap();
    fs::set_permissions(at("app.py"), fs::Permissions::from_mode(0o4755)).unwrap();
    std::os::unix::fs::symlink("dist/out.js", at("latest")).unwrap();
    let scan = scan(folder.path()).unwrap();
    let paths: Vec<&str> = scan.manifest.entries.iter().map(|e| e.path.as_str()).collect();
    let wanted = [
        ".gitignore",
        ".hidden",
        ".segueignore",
        "app.py",
        "dist",
        "dist/empty",
        "dist/out.js",
        "latest",
    ];
    assert_eq!(paths, wanted);
    let digest = Digest::from_bytes(*blake3::hash(b"print()").as_bytes());
    let kind = Kind::File { digest, size: 7, executable: true };
    assert_eq!(scan.manifest.entries[3].kind, kind);
    assert_eq!(scan.files[&digest], at("app.py"));
    let bytes = scan.manifest.canonical_bytes();
    assert_eq!(serde_json::from_slice::<Manifest>(&bytes).unwrap(), scan.manifest);
}

#[test]
fn what_cannot_be_shipped_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::os::unix::fs::symlink("/etc/passwd", at("link")).unwrap();
    let error = scan(folder.path()).unwrap_err().to_string();
    assert!(error.contains("link") && error.contains("outside"), "{error}");
    fs::remove_file(at("link")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    let error = scan(folder.path()).unwrap_err().to_string();
    assert!(error.contains("socket") && error.contains("neither"), "{error}");
}

/// A sparse file is refused by its length, before any byte of it is read: it takes no room on the disk, but
/// computing its digest would take a minute.
#[test]
fn a_folder_that_is_too_large_is_refused_before_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let hole = fs::File::create(folder.path().join("hole")).unwrap();
    hole.set_len(12 << 30).unwrap();
    let started = std::time::Instant::now();
    let error = scan(folder.path()).unwrap_err().to_string();
    assert!(error.contains("hole") && error.contains("more than 4 GiB"), "{error}");
    assert!(started.elapsed() < std::time::Duration::from_secs(2), "{:?}", started.elapsed());
}

/// Checks the largest allowed number of links, each of the largest allowed length and through as many others
/// as allowed.
#[test]
fn a_list_of_links_does_not_take_long_to_check() {
    let steps = "x/../".repeat(150);
    let links = (0..20_000).map(|n| link(&format!("l{n:05}"), &format!("{steps}l{:05}", n + 1)));
    let entries: Vec<FileEntry> = links.collect();
    let started = std::time::Instant::now();
    check(&entries, Err("loop"));
    let short = (0..MOST_ENTRIES).map(|n| link(&format!("l{n:06}"), &steps)).collect::<Vec<_>>();
    check(&short, Err("take too long to follow"));
    assert!(started.elapsed() < std::time::Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn a_file_between_a_file_and_what_claims_to_lie_in_it_hides_nothing() {
    check(&[file("a"), file("a-b"), file("a/b")], Err("not a folder"));
    check(&[file("a"), file("a-b"), file("b/a")], Ok(()));
    check(&[file("a"), file("aa"), file("aa/b")], Err("not a folder"));
}
