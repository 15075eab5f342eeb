//! What is left of an app that is removed, and what a new one of its name finds.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, SystemTime};

use common::{Host, nothing};
use model::{AppName, Digest, Exit, Expect, Keep, Launch, ReleaseNo, RolloutId, Timestamp};
use wire::{FileEntry, Kind, Manifest};

fn web() -> AppName {
    "web".parse().unwrap()
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp(u64::try_from(since.as_millis()).unwrap())
}

fn ship(host: &Host, text: &str) -> Digest {
    let content = &host.store.content;
    let digest = Digest::from_bytes(*blake3::hash(text.as_bytes()).as_bytes());
    let kind = Kind::File { digest, size: text.len() as u64, executable: false };
    content.put_blob(text.as_bytes(), digest, 1 << 20).unwrap();
    let manifest =
        Manifest { entries: vec![FileEntry { path: "file".to_owned(), kind, modified: None }] };
    content.put_manifest(&web(), &manifest, None).unwrap()
}

fn env(host: &Host, value: &str) -> BTreeMap<String, Digest> {
    let values = [("KEY".to_owned(), value.to_owned())].into();
    host.store.secrets.put(&web(), &values).unwrap()
}

fn keep(launches: &[&Launch]) -> Keep {
    Keep {
        releases: launches.iter().map(|launch| (launch.release, launch.content)).collect(),
        env: launches.iter().flat_map(|launch| launch.run.env.values().copied()).collect(),
        instances: launches.iter().map(|launch| launch.id.clone()).collect(),
        last_rollout: RolloutId(1),
        ..nothing()
    }
}

/// An app that has state, files and a value, and has ended.
fn ended(host: &Host) -> Launch {
    let mut launch = host.shell("web-1", "echo data > $SEGUE_STATE_DIR/db");
    launch.content = Some(ship(host, "old"));
    launch.run.env = env(host, "old");
    host.store.secrets.accepted(&web(), &launch.run.env, Some(RolloutId(1)));
    host.keep(&keep(&[&launch]));
    host.run(&launch, Expect::Fresh);
    assert_eq!(host.exited(&launch.id).0, Exit::Code(0));
    launch
}

#[test]
fn state_stays_unless_it_is_asked_for() {
    let host = Host::new();
    ended(&host);
    let app = host.data().join("apps/web");
    host.keep(&nothing());
    host.kept(&nothing());
    assert_eq!(fs::read_to_string(app.join("state/db")).unwrap(), "data\n");
    assert_eq!(fs::read_dir(&app).unwrap().count(), 1, "nothing else is left");
    assert!(!host.data().join("env/web").exists());
    // A folder that was made later, from a backup, is not what was meant.
    let gone = Keep { forget_state: Some(Timestamp(1)), ..nothing() };
    host.keep(&gone);
    host.kept(&gone);
    assert!(app.join("state/db").exists());
    let gone = Keep { forget_state: Some(now()), ..nothing() };
    host.keep(&gone);
    host.kept(&gone);
    assert!(!app.exists());
}

/// While an instance of the removed app takes its time to end, a new app of that name is deployed.
#[test]
fn a_deploy_right_after_a_removal_loses_nothing() {
    let host = Host::new();
    let old = ended(&host);
    let slow = host.shell("web-2", "trap '' TERM; sleep 1000 & wait; sleep 1000");
    host.run(&slow, Expect::Fresh);
    host.running(&slow.id);
    let removed = Keep { forget_state: Some(now()), ..nothing() };
    host.keep(&removed);
    let mut new = host.shell(
        "web-3",
        "cat file; echo; echo $KEY; cat $SEGUE_STATE_DIR/db; \
                                       echo new > $SEGUE_STATE_DIR/db",
    );
    new.release = ReleaseNo(2);
    new.content = Some(ship(&host, "new"));
    new.run.env = env(&host, "new");
    host.store.secrets.accepted(&web(), &new.run.env, Some(RolloutId(2)));
    host.keep(&keep(&[&new]));
    host.run(&new, Expect::Fresh);
    let tail = host.exited(&new.id).2;
    assert_eq!(tail[..2], ["new", "new"]);
    assert!(tail[2].contains("No such file"), "the old state is out of its way: {tail:?}");
    // Said again: the first answer may have come before the instance's end.
    host.keep(&keep(&[&new]));
    host.kept(&keep(&[&new]));
    let at = |name: &str| host.data().join("apps/web").join(name);
    assert!(at("releases/2/file").exists() && !at("releases/1").exists());
    assert_eq!(fs::read_dir(host.data().join("env/web")).unwrap().count(), 1);
    let list = |content: Option<Digest>| at(&format!("manifests/{}.json", content.unwrap()));
    assert!(list(new.content).exists() && !list(old.content).exists());
}

/// The sender of a channel, as a place where log lines are written.
struct Lines(Sender<String>);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = self.0.send(String::from_utf8_lossy(line).into_owned());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the lines that this process logs from now on.
fn warnings() -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    tracing_subscriber::fmt().with_writer(move || Lines(sender.clone())).init();
    lines
}

#[test]
fn what_could_not_be_deleted_is_not_said_to_be() {
    let warnings = warnings();
    let host = Host::new();
    ended(&host);
    // A folder in the place of a list of files: no file to delete.
    let odd = host.data().join("apps/web/manifests").join(format!("{}.json", "ab".repeat(32)));
    fs::create_dir(&odd).unwrap();
    host.keep(&nothing());
    let until = Duration::from_secs(30);
    while !warnings.recv_timeout(until).expect("it is tried").contains("cannot delete files") {}
    fs::remove_dir(&odd).unwrap();
    host.keep(&nothing());
    host.kept(&nothing());
    let said = host.told_by_now();
    assert!(said.iter().all(|report| !matches!(report, model::HostReport::Kept(_))), "{said:?}");
}
