//! Instances that listen on a unix socket: its folder, who gets in, and what is left of it.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail by panicking, and waits for one of many reports"
)]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Host, kill, launch, listens_at, serving, shim_of};
use model::{Address, Exit, Expect, Health, HostReport, Launch, Millis, NotStarted};
use rustix::process::geteuid;

const APP: &str = env!("CARGO_BIN_EXE_agent-shim-for-tests");

/// An instance on a unix socket, and that socket. `None` where this host has no folder for it: its data
/// folder's path is too long, so that takes root, or a folder of the user's own.
fn app(host: &Host, id: &str) -> Option<(Launch, PathBuf)> {
    let folders = &host.agent().abilities().sockets;
    let mut launch = launch(id, 1, &[APP, "__serve", "never"]);
    if folders.obstacle(&launch.id.app).is_some() {
        return None;
    }
    launch.run.listen = model::Listen::Unix;
    serving(&mut launch).address = folders.address(&launch.id);
    let Address::Unix(path) = listens_at(&launch) else { panic!("a port") };
    let path = PathBuf::from(path);
    Some((launch, path))
}

/// What another user of the machine gets when it connects, and when it binds a name in the folder.
fn reached_by_nobody(socket: &Path) -> String {
    let reach = Command::new(APP).arg("__reach").arg(socket).uid(65_534).gid(65_534).output();
    String::from_utf8(reach.unwrap().stdout).unwrap()
}

fn mode(path: &Path) -> String {
    let found = fs::symlink_metadata(path).unwrap();
    format!("{:04o} of {}", found.mode() & 0o7777, found.uid())
}

#[test]
fn only_segue_and_the_apps_user_get_to_its_socket() {
    let host = Host::new();
    let Some((mut launch, socket)) = app(&host, "web-1") else { return };
    let root = geteuid().is_root();
    launch.run.user = root.then(|| "daemon".to_owned());
    host.run(&launch, Expect::Fresh);
    assert_eq!(host.health(&launch.id, Health::Up), None);
    assert!(socket.as_os_str().len() < 100 && !socket.starts_with(host.data()), "{socket:?}");
    let folder = socket.parent().unwrap();
    let owner = if root { 1 } else { geteuid().as_raw() };
    assert_eq!(mode(folder), format!("0700 of {owner}"));
    assert_eq!(mode(folder.parent().unwrap()), format!("0711 of {}", geteuid().as_raw()));
    if root {
        let refused = "Err(PermissionDenied)";
        assert_eq!(reached_by_nobody(&socket), format!("connect: {refused}\nbind: {refused}\n"));
    }
    host.stop(&launch.id, 0);
    host.exited(&launch.id);
    assert!(!folder.exists() && !folder.parent().unwrap().exists(), "{folder:?}");
}

#[test]
fn a_server_that_starts_again_finds_it_where_it_is() {
    let mut host = Host::new();
    let Some((launch, socket)) = app(&host, "web-1") else { return };
    host.run(&launch, Expect::Fresh);
    let pid = host.running(&launch.id);
    host.health(&launch.id, Health::Up);
    let before = fs::symlink_metadata(&socket).unwrap().ino();
    host.restart();
    host.run(&launch, Expect::Running);
    assert_eq!(host.running(&launch.id), pid);
    assert_eq!(host.health(&launch.id, Health::Up), None);
    assert_eq!(fs::symlink_metadata(&socket).unwrap().ino(), before);
    // Nobody is there to say how it ends: the next one that looks clears up.
    host.agent = None;
    kill(shim_of(pid));
    kill(pid);
    host.restart();
    host.run(&launch, Expect::Running);
    assert_eq!(host.exited(&launch.id).0, Exit::Unknown);
    assert!(!socket.parent().unwrap().exists());
}

#[test]
fn what_a_crash_left_in_its_place_is_gone_before_a_start() {
    let host = Host::new();
    let victim = host.data().join("precious");
    fs::create_dir_all(&victim).unwrap();
    fs::write(victim.join("file"), "kept").unwrap();
    // A stale socket and a link in the folder; a link in the folder's place.
    for id in ["web-1", "web-2"] {
        let Some((launch, socket)) = app(&host, id) else { return };
        let folder = socket.parent().unwrap();
        fs::create_dir_all(folder.parent().unwrap()).unwrap();
        if id == "web-1" {
            fs::create_dir(folder).unwrap();
            drop(UnixListener::bind(&socket).unwrap());
            symlink(&victim, folder.join("link")).unwrap();
        } else {
            symlink(&victim, folder).unwrap();
        }
        host.run(&launch, Expect::Fresh);
        assert_eq!(host.health(&launch.id, Health::Up), None);
        assert!(folder.symlink_metadata().unwrap().is_dir() && !folder.join("link").exists());
        host.stop(&launch.id, 0);
        host.exited(&launch.id);
        assert!(!folder.exists());
        assert_eq!(fs::read_to_string(victim.join("file")).unwrap(), "kept");
    }
}

#[test]
fn an_app_cannot_lead_segue_to_a_socket_of_somebody_else() {
    let host = Host::new();
    let Some((mut launch, socket)) = app(&host, "web-1") else { return };
    if !geteuid().is_root() {
        return; // whose links are followed makes a difference only where segue may do more than the app
    }
    let (other, elsewhere) = app(&host, "other-1").unwrap();
    host.run(&other, Expect::Fresh);
    assert_eq!(host.health(&other.id, Health::Up), None);
    let script = format!("ln -s {} $SOCKET; sleep 1000", elsewhere.display());
    launch.run.user = Some("daemon".to_owned());
    launch.run.command = ["sh", "-c", &script].map(str::to_owned).into();
    serving(&mut launch).health.interval = Millis(20);
    host.run(&launch, Expect::Fresh);
    let note = host.wait("the link is seen", |report| match report {
        HostReport::Health { id, health, note, .. } if *id == launch.id => {
            assert_ne!(*health, Health::Up);
            note.clone().filter(|note| note.contains("link"))
        }
        _ => None,
    });
    assert!(note.ends_with("it is a symbolic link of user 1"), "{note}");
    assert!(socket.is_symlink());
}

#[test]
fn only_a_folder_of_this_data_folder_is_made() {
    let host = Host::new();
    let elsewhere = host.data().join("elsewhere/web-1");
    for path in [elsewhere.join("app.sock"), elsewhere.join("../web-1/other.sock")] {
        let mut launch = launch("web-1", 1, &[APP, "__serve", "never"]);
        serving(&mut launch).address = Address::Unix(path.to_str().unwrap().to_owned());
        host.run(&launch, Expect::Fresh);
        host.wait("a refusal", |report| match report {
            HostReport::NotStarted { why: NotStarted::Refused(why), .. } => {
                why.contains("this server has no folder for ").then_some(())
            }
            _ => None,
        });
    }
    assert!(!elsewhere.exists());
}
