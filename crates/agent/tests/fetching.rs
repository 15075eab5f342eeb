//! An agent without the server's disk: it fetches what it needs over a connection that breaks, lies or is down.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail by panicking, and waits for one of many reports"
)]

mod common;

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::server::{PIECE, Server, digest, text};
use common::{Host, lives, nothing, until};
use model::{AppName, Digest, Exit, Expect, HostReport, InstanceId, Keep, Launch, ReleaseNo};

fn web() -> AppName {
    "web".parse().unwrap()
}

fn host(server: &Arc<Server>) -> Host {
    Host::with_source(Arc::<Server>::clone(server))
}

/// An instance of release 1, which has these files.
fn sleeper(host: &Host, id: &str, content: Digest) -> Launch {
    Launch { content: Some(content), ..host.shell(id, "exec sleep 1000") }
}

fn laid_out(host: &Host, release: u32) -> PathBuf {
    host.data().join("apps/web/releases").join(release.to_string())
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// How far the fetch for an instance has come, and its trouble.
fn fetching(host: &Host, wanted: &InstanceId) -> (u64, u64, Option<String>) {
    host.wait("fetching", |report| match report {
        HostReport::Fetching { id, bytes, of, trouble } if id == wanted => {
            Some((*bytes, *of, trouble.clone()))
        }
        _ => None,
    })
}

#[test]
fn what_several_instances_need_is_fetched_once_and_only_that() {
    let server = Server::new();
    let host = host(&server);
    let (big, small) = (text(300_000, 1), text(10, 2));
    let one = server.upload(&web(), &[("big", &big), ("copy", &big), ("empty", b"")]);
    let env = server.env(&web(), "hunter2");
    server.close();
    let script = "echo $KEY > $SEGUE_STATE_DIR/$SEGUE_INSTANCE; exec sleep 1000";
    let launches = ["web-1", "web-2", "web-3"].map(|id| {
        let mut launch = Launch { content: Some(one), ..host.shell(id, script) };
        launch.run.env.clone_from(&env);
        launch
    });
    for launch in &launches {
        host.run(launch, Expect::Fresh);
    }
    until("it is asked for", || !server.asked().contents.is_empty());
    server.allow(1_000);
    for _ in &launches {
        host.wait("three run", |report| matches!(report, HostReport::Running { .. }).then_some(()));
    }
    for launch in &launches {
        let state = host.data().join("apps/web/state").join(launch.id.to_string());
        assert_eq!(common::line_in(&state), "hunter2");
    }
    let asked = server.asked();
    assert_eq!((asked.lists, asked.values), (1, 1));
    // Of an empty content, nothing has to be asked.
    assert_eq!(asked.contents, [(digest(&big), vec![0])].into());
    for (name, bytes) in [("big", &big[..]), ("copy", &big), ("empty", b"")] {
        assert_eq!(fs::read(laid_out(&host, 1).join(name)).unwrap(), bytes);
    }
    let [value] = &files(&host.data().join("env/web"))[..] else { panic!("one value") };
    assert_eq!(fs::metadata(value).unwrap().permissions().mode() & 0o777, 0o600);
    // Of the next release only what is new.
    let two = server.upload(&web(), &[("big", &big), ("small", &small)]);
    let mut next = Launch { release: ReleaseNo(2), ..sleeper(&host, "web-4", two) };
    next.run.env.clone_from(&env);
    host.run(&next, Expect::Fresh);
    host.running(&next.id);
    let contents = [(digest(&big), vec![0]), (digest(&small), vec![0])].into();
    let now = server.asked();
    assert_eq!((now.lists, now.values, now.contents), (2, 1, contents));
    assert!(files(&host.data().join("parts")).is_empty());
}

#[test]
fn a_fetch_goes_on_at_the_byte_where_it_broke() {
    let server = Server::new();
    let mut host = host(&server);
    let big = text(500_000, 3);
    let content = server.upload(&web(), &[("big", &big)]);
    server.breaks_after(150_000);
    let launch = sleeper(&host, "web-1", content);
    host.run(&launch, Expect::Fresh);
    host.running(&launch.id);
    assert_eq!(server.asked().contents[&digest(&big)], [0, 150_000, 300_000, 450_000]);
    assert_eq!(fs::read(laid_out(&host, 1).join("big")).unwrap(), big);
    // Another agent on the same data goes on, too.
    let big = text(500_000, 4);
    let content = server.upload(&web(), &[("big", &big)]);
    server.close();
    server.allow(20);
    let launch = Launch { release: ReleaseNo(2), ..sleeper(&host, "web-2", content) };
    host.run(&launch, Expect::Fresh);
    let part = host.data().join("parts").join(digest(&big).to_string());
    until("two thirds are here", || fs::metadata(&part).is_ok_and(|found| found.len() >= 300_000));
    host.restart();
    let there = fs::metadata(&part).unwrap().len();
    server.breaks_after(u64::MAX);
    server.allow(1_000);
    host.run(&launch, Expect::Fresh);
    host.running(&launch.id);
    assert_eq!(server.asked().contents[&digest(&big)].last(), Some(&there));
    assert_eq!(fs::read(laid_out(&host, 2).join("big")).unwrap(), big);
}

#[test]
fn what_is_not_what_was_asked_for_is_thrown_away_and_asked_for_three_times() {
    let server = Server::new();
    let host = host(&server);
    let big = text(300_000, 5);
    let content = server.upload(&web(), &[("big", &big)]);
    server.lies(2);
    let launch = sleeper(&host, "web-1", content);
    host.run(&launch, Expect::Fresh);
    host.running(&launch.id);
    assert_eq!(server.asked().contents[&digest(&big)], [0, 0, 0]);
    assert_eq!(fs::read(laid_out(&host, 1).join("big")).unwrap(), big);
    let other = text(300_000, 6);
    let content = server.upload(&web(), &[("other", &other)]);
    server.lies(1_000);
    let launch = Launch { release: ReleaseNo(2), ..sleeper(&host, "web-2", content) };
    host.run(&launch, Expect::Fresh);
    let why = host.refused(&launch.id);
    let wanted = digest(&other);
    let begins = format!("cannot fetch what web-2 needs: content {wanted}: cannot store content");
    assert!(why.starts_with(&begins) && why.ends_with("it was fetched 3 times"), "{why}");
    assert!(files(&host.data().join("parts")).is_empty());
    assert!(!laid_out(&host, 2).exists());
    // Nor is more taken than the list says.
    let third = text(100, 12);
    let content = server.upload(&web(), &[("third", &third)]);
    server.lies(0);
    server.adds_a_byte();
    let launch = Launch { release: ReleaseNo(3), ..sleeper(&host, "web-3", content) };
    host.run(&launch, Expect::Fresh);
    let why = host.refused(&launch.id);
    assert!(why.ends_with("it has more than 100 bytes; it was fetched 3 times"), "{why}");
}

#[test]
fn what_is_damaged_on_the_disk_meanwhile_is_fetched_again() {
    let server = Server::new();
    let host = host(&server);
    let big = text(64 * PIECE, 13);
    let content = server.upload(&web(), &[("big", &big)]);
    server.close();
    server.allow(40);
    let launch = sleeper(&host, "web-1", content);
    host.run(&launch, Expect::Fresh);
    let part = host.data().join("parts").join(digest(&big).to_string());
    until("half is here", || fs::metadata(&part).is_ok_and(|found| found.len() >= 300_000));
    let file = fs::OpenOptions::new().write(true).open(&part).unwrap();
    file.write_at(&[0; 1_000], 0).unwrap();
    server.allow(1_000);
    host.running(&launch.id);
    assert_eq!(server.asked().contents[&digest(&big)], [0, 0]);
    assert_eq!(fs::read(laid_out(&host, 1).join("big")).unwrap(), big);
}

#[test]
fn what_the_server_does_not_have_is_not_asked_for_again() {
    let server = Server::new();
    let host = host(&server);
    let unknown = sleeper(&host, "web-1", digest(b"?"));
    host.run(&unknown, Expect::Fresh);
    let why = host.refused(&unknown.id);
    let list = digest(b"?");
    assert!(why.contains(&format!("the list of files {list} is missing or damaged")), "{why}");
    let mut variable = host.shell("web-2", "true");
    variable.run.env = [("KEY".to_owned(), digest(b"value"))].into();
    host.run(&variable, Expect::Fresh);
    let why = host.refused(&variable.id);
    assert!(why.contains("the value of KEY: cannot find the value of KEY for web"), "{why}");
    assert_eq!((server.asked().lists, server.asked().values), (1, 1));
}

/// A connection that is slow or down is no failed start: control is told so, and it decides how long to wait.
#[test]
fn control_is_told_how_far_it_has_come_and_why_it_does_not_go_on() {
    let server = Server::new();
    let host = host(&server);
    let big = text(64 * PIECE, 7);
    let content = server.upload(&web(), &[("big", &big)]);
    let size = big.len() as u64;
    server.close();
    let launch = sleeper(&host, "web-1", content);
    server.is_away(true);
    host.run(&launch, Expect::Fresh);
    let (bytes, of, trouble) = fetching(&host, &launch.id);
    let trouble = trouble.unwrap();
    assert!((bytes, of) == (0, 0) && trouble.ends_with("no connection to the server"), "{trouble}");
    // The same is not said again by itself, but to whoever asks.
    host.run(&launch, Expect::Fresh);
    assert_eq!(fetching(&host, &launch.id), (0, 0, Some(trouble)));
    server.is_away(false);
    server.allow(20);
    assert!(matches!(fetching(&host, &launch.id), (_, _, None)), "something has come");
    server.allow(20);
    let (bytes, of, trouble) = fetching(&host, &launch.id);
    assert!(bytes >= 16 * PIECE as u64 && of == size && trouble.is_none(), "{bytes} of {of}");
    server.allow(1_000);
    host.running(&launch.id);
}

#[test]
fn a_fetch_that_is_given_up_leaves_nothing() {
    let server = Server::new();
    let host = host(&server);
    let big = text(300_000, 8);
    let content = server.upload(&web(), &[("big", &big), ("done", b"done")]);
    server.close();
    server.allow(6);
    let mut launch = sleeper(&host, "web-1", content);
    launch.run.env = server.env(&web(), "hunter2");
    host.run(&launch, Expect::Fresh);
    until("a part is here", || !files(&host.data().join("parts")).is_empty());
    host.stop(&launch.id, 3_600_000);
    assert_eq!(host.exited(&launch.id).0, Exit::Unknown);
    // It is not started later, whatever comes.
    host.run(&launch, Expect::Fresh);
    assert_eq!(host.exited(&launch.id).0, Exit::Unknown);
    host.keep(&nothing());
    host.kept(&nothing());
    for folder in ["parts", "blobs", "apps", "env", "run"] {
        let left = files(&host.data().join(folder));
        assert!(left.is_empty(), "{left:?}");
    }
    // Without a stop before, too: control no longer keeps the instance.
    let again = Launch { id: "web-2".parse().unwrap(), ..launch };
    host.run(&again, Expect::Fresh);
    until("its list is here", || !files(&host.data().join("apps")).is_empty());
    host.keep(&nothing());
    host.kept(&nothing());
    for folder in ["parts", "blobs", "apps", "env", "run"] {
        let left = files(&host.data().join(folder));
        assert!(left.is_empty(), "{left:?}");
    }
}

/// Control's word on what is kept comes after the word to run, and may be late.
#[test]
fn nothing_that_is_being_fetched_is_deleted() {
    let server = Server::new();
    let host = host(&server);
    let big = text(300_000, 9);
    let content = server.upload(&web(), &[("big", &big), ("done", b"done")]);
    server.close();
    server.allow(6);
    let mut launch = sleeper(&host, "web-1", content);
    launch.run.env = server.env(&web(), "hunter2");
    host.run(&launch, Expect::Fresh);
    until("a part is here", || !files(&host.data().join("parts")).is_empty());
    let keep = Keep { instances: vec![launch.id.clone()], ..nothing() };
    host.keep(&keep);
    host.kept(&keep);
    server.allow(1_000);
    host.running(&launch.id);
    assert!(server.asked().contents.values().all(|asked| asked.len() == 1), "{:?}", server.asked());
    // Once it runs, the word counts.
    host.keep(&keep);
    host.kept(&keep);
    for folder in ["parts", "blobs", "apps/web/manifests", "env"] {
        let left = files(&host.data().join(folder));
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn an_instance_that_runs_is_adopted_without_the_server() {
    let server = Server::new();
    let mut host = host(&server);
    let content = server.upload(&web(), &[("file", b"file")]);
    let mut launch = sleeper(&host, "web-1", content);
    launch.run.env = server.env(&web(), "hunter2");
    host.run(&launch, Expect::Fresh);
    let pid = host.running(&launch.id);
    host.restart();
    server.is_away(true);
    for folder in ["apps/web/manifests", "blobs", "env/web"] {
        fs::remove_dir_all(host.data().join(folder)).unwrap();
    }
    host.run(&launch, Expect::Fresh);
    assert_eq!(host.running(&launch.id), pid);
    assert!(lives(pid));
    // Nor does one need it that starts, if its release is laid out.
    let another = sleeper(&host, "web-2", content);
    host.run(&another, Expect::Fresh);
    host.running(&another.id);
}

const CHILD: &str = "AGENT_TEST_SMALL_DISK";

/// Not a test of its own: it has a disk of 64 MiB for its data. Without the variable there is nothing to do.
#[test]
fn fetches_on_a_small_disk() {
    let Ok(disk) = std::env::var(CHILD) else { return };
    let disk = Path::new(&disk);
    // The server's store is on another disk.
    let server = Server::new();
    let host = Host::on_disk(disk, Arc::<Server>::clone(&server));
    let (small, big) = (text(1 << 20, 10), text(17 << 20, 11));
    let content = server.upload(&web(), &[("big", &big), ("small", &small)]);
    let launch = sleeper(&host, "web-1", content);
    host.run(&launch, Expect::Fresh);
    let why = host.refused(&launch.id);
    assert!(why.contains("its files need 36 MiB, and "), "{why}");
    assert!(
        why.contains(" MiB, of which 32 MiB are kept for") && why.contains("\nhint: "),
        "{why}"
    );
    assert!(server.asked().contents.is_empty(), "nothing was begun");
    let content = server.upload(&web(), &[("small", &small)]);
    let launch = Launch { release: ReleaseNo(2), ..sleeper(&host, "web-2", content) };
    host.run(&launch, Expect::Fresh);
    host.running(&launch.id);
}

#[test]
fn room_is_asked_for_first() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let disk = tempfile::tempdir().unwrap();
    let mounts = "mount -t tmpfs -o size=64m small-disk \"$0\" && exec \"$@\"";
    let run = std::process::Command::new("unshare")
        .args(["--mount", "sh", "-c", mounts])
        .arg(disk.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "fetches_on_a_small_disk", "--nocapture"])
        .env(CHILD, disk.path())
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && output.contains("1 passed"), "{run:?}");
}
