//! What the server happens to be: none of it shows in what it makes. Each test changes this process,
//! which is the server here, and looks at an instance.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail by panicking, and waits for one of many reports"
)]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use common::Host;
use model::{Digest, Exit, Expect, Files, Launch, ReleaseNo};
use rustix::fs::Mode;
use wire::{FileEntry, Kind, Manifest};

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Owner, and mode with the kind of file left out.
fn of(path: &Path) -> (u32, String) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.uid(), format!("{:04o}", found.mode() & 0o7777))
}

/// A release with a file, a program and a folder, deployed to `launch`.
fn ship(host: &Host, launch: &mut Launch) {
    let content = &host.store.content;
    let file = |path: &str, text: &str, executable| {
        let digest = Digest::from_bytes(*blake3::hash(text.as_bytes()).as_bytes());
        content.put_blob(text.as_bytes(), digest, 1 << 20).unwrap();
        let kind = Kind::File { digest, size: text.len() as u64, executable };
        FileEntry { path: path.to_owned(), kind, modified: None }
    };
    let entries = vec![
        file(".env", "DB=secret\n", false),
        file("lib/deep/part", "x\n", false),
        file("run.sh", "#!/bin/sh\ncat .env lib/deep/part\n", true),
    ];
    launch.content =
        Some(content.put_manifest(&launch.id.app, &Manifest { entries }, None).unwrap());
}

#[test]
fn whatever_the_umask_is_files_are_their_apps_alone() {
    for umask in [0o000, 0o027, 0o077] {
        rustix::process::umask(Mode::from_raw_mode(umask));
        let host = Host::new();
        let mut launch = host.shell("web-1", "./run.sh; umask; touch $SEGUE_STATE_DIR/made");
        ship(&host, &mut launch);
        launch.run.user = is_root().then(|| "daemon".to_owned());
        host.run(&launch, Expect::Fresh);
        let (exit, _, tail) = host.exited(&launch.id);
        assert_eq!(exit, Exit::Code(0), "{umask:03o}: {tail:?}");
        assert_eq!(tail, ["DB=secret", "x", "0022"], "{umask:03o}");
        let app = host.data().join("apps/web");
        let uid = of(&app.join("state/made")).0;
        let release = app.join("releases/1");
        let (file, program) = if is_root() { ("0400", "0500") } else { ("0600", "0700") };
        for (path, mode) in [
            (release.clone(), program),
            (release.join("lib/deep"), program),
            (release.join(".env"), file),
            (release.join("run.sh"), program),
            (app.join("state"), "0700"),
        ] {
            assert_eq!(of(&path), (uid, mode.to_owned()), "{umask:03o} {}", path.display());
        }
        for (name, mode) in [("apps", "0711"), ("apps/web", "0711"), ("apps/web/releases", "0711")]
        {
            assert_eq!(of(&host.data().join(name)).1, mode, "{umask:03o} {name}");
        }
        for name in ["blobs", "run", "env", "apps/web/manifests", "run/web-1"] {
            assert_eq!(of(&host.data().join(name)).1, "0700", "{umask:03o} {name}");
        }
        assert_eq!(of(&host.run_folder(&launch.id).join("output.log")).1, "0600");
    }
}

#[test]
fn a_group_reads_if_it_is_named_and_the_world_if_it_is_asked_for() {
    if !is_root() {
        return; // only root runs apps as somebody else
    }
    let host = Host::new();
    let release = |number: u32| host.data().join(format!("apps/web/releases/{number}"));
    let run = |number: u32, group: Option<&str>, files| {
        let mut launch = host.shell(&format!("web-{number}"), "./run.sh");
        ship(&host, &mut launch);
        launch.release = ReleaseNo(number);
        launch.run.user = Some("daemon".to_owned());
        launch.run.group = group.map(str::to_owned);
        launch.run.files = files;
        host.run(&launch, Expect::Fresh);
        assert_eq!(host.exited(&launch.id).0, Exit::Code(0));
    };
    run(1, Some("7"), Files::Private);
    let found = fs::metadata(release(1).join(".env")).unwrap();
    assert_eq!((found.gid(), found.mode() & 0o777), (7, 0o440));
    assert_eq!(of(&release(1).join("lib")).1, "0550");
    run(2, None, Files::World);
    assert_eq!(of(&release(2).join(".env")), (0, "0644".to_owned()));
    assert_eq!(of(&release(2).join("run.sh")), (0, "0755".to_owned()));
    assert_eq!(of(&release(2)), (0, "0755".to_owned()));
}

#[test]
fn output_is_an_apps_own_to_open_by_name() {
    let host = Host::new();
    let script = "echo one > /dev/stdout; echo two > /dev/stderr; echo three > /proc/self/fd/1";
    let mut launch = host.shell("web-1", script);
    launch.run.user = is_root().then(|| "daemon".to_owned());
    host.run(&launch, Expect::Fresh);
    let (exit, _, tail) = host.exited(&launch.id);
    assert_eq!((exit, tail), (Exit::Code(0), ["one", "two", "three"].map(str::to_owned).to_vec()));
}

#[test]
fn limits_priorities_and_signals_are_those_of_a_fresh_machine() {
    let slack = std::num::NonZeroU64::new(7_000_000);
    rustix::thread::set_current_timer_slack(slack).unwrap();
    let mut host = Host::new();
    // As a shell leaves them, under `nohup` and `nice`.
    let shell = host.data().join("shim.sh");
    let program = host.program.display();
    let text = format!(
        "#!/bin/sh\ntrap '' HUP QUIT USR1 USR2\nulimit -S -f 200000\nulimit -S -s 4096\n\
         echo 300 > /proc/self/oom_score_adj\nexec nice -n 7 {program} \"$@\"\n"
    );
    fs::write(&shell, text).unwrap();
    fs::set_permissions(&shell, fs::Permissions::from_mode(0o700)).unwrap();
    host.program = shell;
    host.restart();
    let script = "grep -E '^Sig(Ign|Blk)' /proc/self/status | tr -d '\\t'; ulimit -f; ulimit -s; \
                  cat /proc/$$/timerslack_ns; cut -d' ' -f19 /proc/self/stat; \
                  cat /proc/self/oom_score_adj";
    let launch = host.shell("web-1", script);
    host.run(&launch, Expect::Fresh);
    let (_, _, tail) = host.exited(&launch.id);
    let none = "0000000000000000";
    let expected = [&format!("SigBlk:{none}"), &format!("SigIgn:{none}"), "unlimited", "8192"];
    assert_eq!(tail[..4], expected);
    assert_eq!(tail[4], "50000", "the slack of timers");
    if is_root() {
        assert_eq!(tail[5..], ["0", "0"], "nice and oom score; only root can lower them");
    }
}
