//! Real processes: started once, adopted, stopped whole, and never lost.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail by panicking, and waits for one of many reports"
)]

mod common;

use std::fs;

use common::{Host, kill, launch, line_in, listens_at, lives, nothing, shim_of, until};
use model::{Digest, Exit, Expect, HostCommand, HostReport, Keep, NotStarted};
use wire::{FileEntry, Kind, Manifest};

#[test]
fn an_instance_starts_and_stops_and_says_how_it_ended() {
    let host = Host::new();
    let launch =
        host.shell("web-1", "echo hello; echo oops >&2; trap 'exit 7' TERM; sleep 1000 & wait");
    host.run(&launch, Expect::Fresh);
    let pid = host.running(&launch.id);
    assert!(lives(pid));
    let log = host.run_folder(&launch.id).join("output.log");
    until("both lines", || fs::read_to_string(&log).unwrap().ends_with("oops\n"));
    host.stop(&launch.id, 20_000);
    let (exit, address_in_use, tail) = host.exited(&launch.id);
    assert_eq!((exit, address_in_use), (Exit::Code(7), false));
    assert_eq!(tail, ["hello", "oops"]);
    assert!(!lives(pid));
    // Whatever it is asked later, the answer is the same.
    host.stop(&launch.id, 0);
    assert_eq!(host.exited(&launch.id).0, Exit::Code(7));
    host.run(&launch, Expect::Fresh);
    assert_eq!(host.exited(&launch.id).0, Exit::Code(7));
}

#[test]
fn a_control_that_has_been_replaced_is_not_obeyed() {
    let host = Host::new();
    let run = |term, launch: &model::Launch| {
        let launch = Box::new(launch.clone());
        host.agent().handle(term, HostCommand::Run { launch, expect: Expect::Fresh });
    };
    let [first, second, third] = ["web-1", "web-2", "web-3"].map(|id| host.shell(id, "sleep 1000"));
    run(2, &first);
    let pid = host.running(&first.id);
    host.agent().handle(1, HostCommand::Stop { id: first.id.clone(), grace: model::Millis(0) });
    run(1, &second);
    // Commands are taken in order: what came before this one was refused, or has begun.
    run(3, &third);
    host.running(&third.id);
    assert!(!host.run_folder(&second.id).exists(), "started on the word of term 1");
    assert!(lives(pid));
    host.agent().handle(3, HostCommand::Stop { id: first.id.clone(), grace: model::Millis(0) });
    assert_eq!(host.exited(&first.id).0, Exit::Signal(15));
}

#[test]
fn an_instance_that_dies_is_reported_at_once_with_its_last_words() {
    let host = Host::new();
    let dies = host.shell("web-1", "for n in $(seq 30); do echo line $n; done; exit 3");
    host.run(&dies, Expect::Fresh);
    let (exit, _, tail) = host.exited(&dies.id);
    assert_eq!(exit, Exit::Code(3));
    assert_eq!((tail.len(), tail[0].as_str(), tail[19].as_str()), (20, "line 11", "line 30"));
    let killed = host.shell("web-2", "kill -9 $$");
    host.run(&killed, Expect::Fresh);
    assert_eq!(host.exited(&killed.id).0, Exit::Signal(9));
    let missing = launch("web-3", host.free_port(), &["./no-such-program"]);
    host.run(&missing, Expect::Fresh);
    let (exit, _, tail) = host.exited(&missing.id);
    assert_eq!(exit, Exit::Code(127));
    assert!(tail[0].contains("cannot run \"./no-such-program\": "), "{tail:?}");
    assert!(tail[0].contains("/releases/1/./no-such-program is not there"), "{tail:?}");
}

#[test]
fn an_instance_that_ignores_sigterm_is_killed_after_the_grace() {
    let host = Host::new();
    let launch = host.shell(
        "web-1",
        "trap '' TERM; echo $$ > $SEGUE_STATE_DIR/pid; while :; do sleep 0.01; done",
    );
    host.run(&launch, Expect::Fresh);
    line_in(&host.data().join("apps/web/state/pid"));
    host.stop(&launch.id, 100);
    assert_eq!(host.exited(&launch.id).0, Exit::Signal(9));
    // A stop with a shorter grace overtakes one with a longer.
    let launch = host.shell(
        "web-2",
        "trap '' TERM; echo $$ > $SEGUE_STATE_DIR/pid2; while :; do sleep 0.01; done",
    );
    host.run(&launch, Expect::Fresh);
    line_in(&host.data().join("apps/web/state/pid2"));
    host.stop(&launch.id, 3_600_000);
    host.stop(&launch.id, 100);
    assert_eq!(host.exited(&launch.id).0, Exit::Signal(9));
}

#[test]
fn many_starts_at_once_make_one_process() {
    let host = Host::new();
    let agents: Vec<_> = (0..4).map(|_| host.another()).collect();
    // Often enough that one agent looks while the shim of another begins.
    for number in 1..=25 {
        let script = "echo start >> $SEGUE_STATE_DIR/$SEGUE_INSTANCE; exec sleep 1000";
        let launch = host.shell(&format!("web-{number}"), script);
        for _ in 0..5 {
            for agent in &agents {
                let launch = Box::new(launch.clone());
                agent.handle(1, HostCommand::Run { launch, expect: Expect::Fresh });
            }
        }
        let pids: Vec<u32> = (0..20).map(|_| host.running(&launch.id)).collect();
        assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
        let starts = host.data().join(format!("apps/web/state/{}", launch.id));
        assert_eq!(line_in(&starts), "start");
        host.stop(&launch.id, 0);
        host.exited(&launch.id);
    }
}

#[test]
fn instances_outlive_the_agent_and_are_adopted_by_the_next() {
    let mut host = Host::new();
    let launch = host.shell("web-1", "exec sleep 1000");
    host.run(&launch, Expect::Fresh);
    let pid = host.running(&launch.id);
    for expect in [Expect::Running, Expect::Fresh] {
        host.restart();
        assert!(lives(pid));
        host.run(&launch, expect);
        assert_eq!(host.running(&launch.id), pid);
    }
    // One that ends while no agent is there is reported by the next.
    host.agent = None;
    kill(pid);
    until("its end", || host.run_folder(&launch.id).join("exit.json").exists());
    host.restart();
    host.run(&launch, Expect::Running);
    assert_eq!(host.exited(&launch.id).0, Exit::Signal(9));
}

#[test]
fn a_stop_before_the_start_wins_for_good() {
    let mut host = Host::new();
    let launch = host.shell("web-1", "exec sleep 1000");
    host.stop(&launch.id, 0);
    assert_eq!(host.exited(&launch.id).0, Exit::Unknown);
    host.run(&launch, Expect::Fresh);
    assert_eq!(host.exited(&launch.id).0, Exit::Unknown);
    host.restart();
    host.run(&launch, Expect::Fresh);
    assert_eq!(host.exited(&launch.id).0, Exit::Unknown);
    assert!(!host.run_folder(&launch.id).join("process.json").exists());
}

#[test]
fn the_whole_tree_ends_also_what_has_left_the_session() {
    let host = Host::new();
    let script = "(setsid sh -c 'trap \"\" TERM; echo $$ > $SEGUE_STATE_DIR/daemon; exec sleep 1000' &) ; \
                  sleep 1000 & echo $! > $SEGUE_STATE_DIR/child; wait";
    let launch = host.shell("web-1", script);
    host.run(&launch, Expect::Fresh);
    let pid = |name: &str| line_in(&host.data().join("apps/web/state").join(name)).parse().unwrap();
    let (daemon, child): (u32, u32) = (pid("daemon"), pid("child"));
    assert!(lives(daemon) && lives(child));
    host.stop(&launch.id, 200);
    host.exited(&launch.id);
    assert!(!lives(daemon) && !lives(child));
    // The same if the command ends by itself.
    let script = "(setsid sh -c 'echo $$ > $SEGUE_STATE_DIR/other; exec sleep 1000' &) ; \
                  while [ ! -s $SEGUE_STATE_DIR/other ]; do sleep 0.01; done";
    let launch = host.shell("web-2", script);
    host.run(&launch, Expect::Fresh);
    assert_eq!(host.exited(&launch.id).0, Exit::Code(0));
    assert!(!lives(pid("other")));
}

#[test]
fn a_killed_shim_leaves_no_orphan_and_a_zombie_is_dead() {
    common::keep_orphans_as_zombies();
    let mut host = Host::new();
    let script =
        "(setsid sh -c 'echo $$ > $SEGUE_STATE_DIR/daemon; exec sleep 1000' &) ; exec sleep 1000";
    let launch = host.shell("web-1", script);
    host.run(&launch, Expect::Fresh);
    let pid = host.running(&launch.id);
    let daemon: u32 = line_in(&host.data().join("apps/web/state/daemon")).parse().unwrap();
    kill(shim_of(pid));
    assert_eq!(host.exited(&launch.id).0, Exit::Unknown);
    assert!(!lives(pid) && !lives(daemon));
    // The same if no agent saw it.
    let launch = host.shell("web-2", "exec sleep 1000");
    host.run(&launch, Expect::Fresh);
    let pid = host.running(&launch.id);
    host.agent = None;
    kill(shim_of(pid));
    host.restart();
    host.run(&launch, Expect::Running);
    assert_eq!(host.exited(&launch.id).0, Exit::Unknown);
    assert!(!lives(pid));
}

#[test]
fn without_a_control_group_the_environment_tells_who_belongs_to_a_dead_shim() {
    let mut host = Host::new();
    let script =
        "(setsid sh -c 'echo $$ > $SEGUE_STATE_DIR/daemon; exec sleep 1000' &) ; exec sleep 1000";
    let launch = host.shell("web-1", script);
    host.run(&launch, Expect::Fresh);
    let pid = host.running(&launch.id);
    let daemon: u32 = line_in(&host.data().join("apps/web/state/daemon")).parse().unwrap();
    host.agent = None;
    let record = host.run_folder(&launch.id).join("process.json");
    let mut known: serde_json::Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    let group = known["cgroup"].take();
    fs::write(&record, known.to_string()).unwrap();
    kill(shim_of(pid));
    host.restart();
    host.run(&launch, Expect::Running);
    assert_eq!(host.exited(&launch.id).0, Exit::Unknown);
    assert!(!lives(pid) && !lives(daemon));
    if let Some(group) = group.as_str() {
        until("the group to be empty", || fs::remove_dir(group).is_ok());
    }
}

#[test]
fn after_a_reboot_nobody_is_killed_by_an_old_number() {
    let mut host = Host::new();
    let launch = host.shell("web-1", "exec sleep 1000");
    host.run(&launch, Expect::Fresh);
    let pid = host.running(&launch.id);
    host.agent = None;
    kill(shim_of(pid));
    // For the next agent the machine has been started anew: the number means nothing any more.
    host.boot_id = "another boot".to_owned();
    host.restart();
    host.run(&launch, Expect::Running);
    assert_eq!(host.exited(&launch.id).0, Exit::Unknown);
    assert!(lives(pid), "it may be anybody");
    kill(pid);
}

#[test]
fn one_that_was_expected_to_run_is_never_started_again() {
    let host = Host::new();
    let launch = host.shell("web-1", "exec sleep 1000");
    host.run(&launch, Expect::Running);
    assert_eq!(host.exited(&launch.id).0, Exit::Unknown);
    assert!(!host.run_folder(&launch.id).exists());
}

#[test]
fn a_port_that_somebody_holds_is_named_before_and_after() {
    let host = Host::new();
    let port = host.free_port();
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let late = launch("web-1", port, &["sleep", "1000"]);
    host.run(&late, Expect::Fresh);
    let why = host.wait("a refusal", |report| match report {
        HostReport::NotStarted { why, .. } => Some(why.clone()),
        _ => None,
    });
    assert_eq!(why, NotStarted::AddressInUse);
    drop(taken);
    let launch = host.shell("web-2", "exec sleep 1000");
    host.run(&launch, Expect::Fresh);
    let pid = host.running(&launch.id);
    let model::Address::Tcp(address) = listens_at(&launch) else { unreachable!() };
    let _taken = std::net::TcpListener::bind(address).unwrap();
    kill(pid);
    let (exit, address_in_use, _) = host.exited(&launch.id);
    assert_eq!((exit, address_in_use), (Exit::Signal(9), true));
}

#[test]
fn an_instance_inherits_nothing_but_what_it_is_meant_to() {
    let host = Host::new();
    let values = [("GREETING".to_owned(), "hello world".to_owned())].into();
    let env = host.store.secrets.put(&"web".parse().unwrap(), &values).unwrap();
    let script =
        "env > $SEGUE_STATE_DIR/env; ls /proc/self/fd > $SEGUE_STATE_DIR/fds; ulimit -n; pwd";
    let mut launch = host.shell("web-1", script);
    launch.run.env = env;
    // Left open across `exec` by whoever started the server.
    let leaked = fs::File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
    host.run(&launch, Expect::Fresh);
    let (_, _, tail) = host.exited(&launch.id);
    let state = host.data().join("apps/web/state");
    assert_eq!(tail, ["777", host.data().join("apps/web/releases/1").to_str().unwrap()]);
    // `ls` itself has one open: the folder it lists.
    assert_eq!(fs::read_to_string(state.join("fds")).unwrap(), "0\n1\n2\n3\n");
    let env = fs::read_to_string(state.join("env")).unwrap();
    let names: Vec<&str> = env.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    let known = |name: &str| {
        name.starts_with("LC_")
            || ["PATH", "HOME", "LANG", "TZ", "TMPDIR", "USER", "PWD", "OLDPWD", "SHLVL", "_"]
                .contains(&name)
            || ["HOST", "PORT", "GREETING"].contains(&name)
            || ["SEGUE_APP", "SEGUE_RELEASE", "SEGUE_INSTANCE", "SEGUE_STATE_DIR"].contains(&name)
    };
    assert!(names.iter().all(|name| known(name)), "{names:?}");
    for line in
        ["GREETING=hello world", "HOST=127.0.0.1", "SEGUE_RELEASE=v1", "SEGUE_INSTANCE=web-1"]
    {
        assert!(env.lines().any(|found| found == line), "{line} in {env}");
    }
}

#[test]
fn output_is_bounded_and_does_not_wait_for_the_disk() {
    let host = Host::new();
    let launch = host.shell("web-1", "head -c 30000000 /dev/zero | tr '\\0' x; echo; echo done");
    host.run(&launch, Expect::Fresh);
    let (exit, _, tail) = host.exited(&launch.id);
    assert_eq!((exit, tail.last().unwrap().as_str()), (Exit::Code(0), "done"));
    let size = |name: &str| fs::metadata(host.run_folder(&launch.id).join(name)).unwrap().len();
    let kept = size("output.log") + size("output.log.1");
    assert!((8_000_000..17_500_000).contains(&kept), "{kept}");
}

#[test]
fn without_a_server_down_ends_everything() {
    let mut host = Host::new();
    let one = host.shell("web-1", "trap 'exit 5' TERM; while :; do sleep 0.01; done");
    let two = host.shell("job-1", "exec sleep 1000");
    host.run(&one, Expect::Fresh);
    let first = host.running(&one.id);
    host.run(&two, Expect::Fresh);
    let second = host.running(&two.id);
    host.agent = None;
    kill(shim_of(second));
    let ended = agent::stop_all(&host.data(), model::Millis(20_000)).unwrap();
    let seen: Vec<_> = ended.into_iter().map(|ended| (ended.id, ended.exit)).collect();
    assert_eq!(seen, [(two.id.clone(), Exit::Unknown), (one.id.clone(), Exit::Code(5))]);
    assert!(!lives(first) && !lives(second));
    assert!(agent::stop_all(&host.data(), model::Millis(0)).unwrap().is_empty());
    host.restart();
    host.run(&one, Expect::Running);
    assert_eq!(host.exited(&one.id).0, Exit::Code(5));
}

#[test]
fn what_is_not_kept_is_ended_and_deleted() {
    let host = Host::new();
    let keeps = host.shell("web-1", "exec sleep 1000");
    let goes = host.shell("web-2", "exec sleep 1000");
    let other = host.shell("web-x-3", "exec sleep 1000");
    let mut pids = Vec::new();
    for launch in [&keeps, &goes, &other] {
        host.run(launch, Expect::Fresh);
        pids.push(host.running(&launch.id));
    }
    let releases = vec![(model::ReleaseNo(1), None)];
    host.keep(&Keep { releases, instances: vec![keeps.id.clone()], ..nothing() });
    host.exited(&goes.id);
    until("its folder to go", || !host.run_folder(&goes.id).exists());
    assert!(lives(pids[0]) && !lives(pids[1]) && lives(pids[2]));
    host.keep(&nothing());
    host.exited(&keeps.id);
    until("the app to go", || !host.data().join("apps/web").exists());
    assert!(!host.run_folder(&keeps.id).exists() && !lives(pids[0]) && lives(pids[2]));
}

#[test]
fn files_live_as_long_as_a_release_needs_them() {
    let host = Host::new();
    let app: model::AppName = "web".parse().unwrap();
    let content = &host.store.content;
    let upload = |text: &str| {
        let digest = Digest::from_bytes(*blake3::hash(text.as_bytes()).as_bytes());
        let size = text.len() as u64;
        let kind = Kind::File { digest, size, executable: false };
        let manifest =
            Manifest { entries: vec![FileEntry { path: "file".to_owned(), kind, modified: None }] };
        content.put_blob(text.as_bytes(), digest, size).unwrap();
        content.put_manifest(&app, &manifest, None).unwrap()
    };
    let (one, two) = (upload("one"), upload("two"));
    for (number, manifest) in [(1, one), (2, two)] {
        let mut launch = host.shell(&format!("web-{number}"), "cat file; echo");
        (launch.release, launch.content) = (model::ReleaseNo(number), Some(manifest));
        host.run(&launch, Expect::Fresh);
        assert_eq!(host.exited(&launch.id).2, [["one", "two"][number as usize - 1]]);
    }
    // Sent, but not deployed yet: nobody may take it away.
    let new = upload("new");
    let releases = vec![(model::ReleaseNo(2), Some(two))];
    host.keep(&Keep { releases, ..nothing() });
    let releases = host.data().join("apps/web/releases");
    until("the first release to go", || !releases.join("1").exists());
    // Asking the store would be a use, and keep it.
    let list = |manifest| host.data().join(format!("apps/web/manifests/{manifest}.json"));
    until("its list of files to go", || !list(one).exists());
    assert!(releases.join("2/file").exists());
    assert!(content.has_manifest(&app, two) && content.has_manifest(&app, new));
}

/// Why an instance could not be started.
fn refusal(host: &Host) -> String {
    host.wait("a refusal", |report| match report {
        HostReport::NotStarted { why: NotStarted::Refused(why), .. } => Some(why.clone()),
        _ => None,
    })
}

#[test]
fn an_app_runs_as_its_own_user_or_not_at_all() {
    let host = Host::new();
    let script = "id -un; echo $HOME; touch $SEGUE_STATE_DIR/mine && touch mine";
    let mut launch = host.shell("web-1", script);
    launch.run.user = Some("daemon".to_owned());
    host.run(&launch, Expect::Fresh);
    if rustix::process::geteuid().is_root() {
        let (_, _, tail) = host.exited(&launch.id);
        assert_eq!(tail[0], "daemon");
        assert_ne!(tail[1], "/root");
        assert!(host.data().join("apps/web/state/mine").exists());
        assert!(tail[2].contains("Permission denied"), "its files are not its own: {tail:?}");
    } else {
        assert!(refusal(&host).contains("has to run as root"));
    }
    let mut launch = host.shell("web-2", "id");
    launch.run.user = Some("no-such-user".to_owned());
    host.run(&launch, Expect::Fresh);
    assert!(refusal(&host).contains("there is no user \"no-such-user\""));
}

#[test]
fn a_full_disk_does_not_make_an_app_wait() {
    let host = Host::new();
    let launch = host.shell("web-1", "head -c 5000000 /dev/zero; exit 4");
    let run = host.run_folder(&launch.id);
    fs::create_dir_all(&run).unwrap();
    // A file that is always full; only root can make one.
    let (path, full) = (run.join("output.log"), rustix::fs::makedev(1, 7));
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let kind = rustix::fs::FileType::CharacterDevice;
    if rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, full).is_err() {
        return;
    }
    host.run(&launch, Expect::Fresh);
    assert_eq!(host.exited(&launch.id).0, Exit::Code(4));
}
