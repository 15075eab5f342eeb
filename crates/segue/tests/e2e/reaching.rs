//! How the command line finds its server: by the socket in the data folder, whoever has the port; and
//! to whom it says nothing.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::app;
use crate::world::{World, signal};

const SEGUE: &str = env!("CARGO_BIN_EXE_segue");

/// A command with nothing in its environment that says where the server is.
fn segue(args: &[&str]) -> Command {
    let mut command = Command::new(SEGUE);
    command.args(args).env_remove("SEGUE_SERVER").env_remove("SEGUE_TOKEN").env("NO_COLOR", "1");
    command
}

fn said(output: &Output) -> String {
    format!("{:?} {}", output.status.code(), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_data_folder_is_all_that_a_command_needs() {
    let world = World::start("0s");
    let data = world.data();
    let data = data.to_str().unwrap();
    let mode = std::fs::metadata(world.data().join("api.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let deployed = segue(&["deploy", "--release", "v1", "--env", "VERSION=v1", "--data", data])
        .args(["--env", "MODE=good"])
        .current_dir(world.app_dir())
        .output()
        .unwrap();
    assert!(deployed.status.success(), "{}", said(&deployed));
    for args in [["status", "--data", data], ["--data", data, "status"]] {
        let status = segue(&args).output().unwrap();
        assert!(String::from_utf8_lossy(&status.stdout).contains("v1"), "{}", said(&status));
    }
    let down = segue(&["down", "--data", data]).output().unwrap();
    assert!(said(&down).contains("2 instances and the server are stopped"), "{}", said(&down));
    let again = segue(&["down", "--data", data]).output().unwrap();
    assert!(said(&again).contains("no server was running"), "{}", said(&again));
    let gone = segue(&["status", "--data", data]).output().unwrap();
    assert_eq!(gone.status.code(), Some(4), "{}", said(&gone));
}

#[test]
fn a_server_that_would_take_its_own_port_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let address = testport::reserve();
    let (api, port) = (address.to_string(), address.port());
    for http in [api.clone(), format!("0.0.0.0:{port}")] {
        let args = ["server", "--http", &http, "--api", &api, "--data"];
        let refused = segue(&args).arg(dir.path().join("data")).output().unwrap();
        let said = said(&refused);
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains("--http and --api are both on port"), "{said}");
    }
    assert!(!dir.path().join("data").exists(), "nothing is made before that");
}

#[test]
fn a_taken_port_delays_the_port_alone() {
    let dir = tempfile::tempdir().unwrap();
    app::write(&dir.path().join("app"), "");
    let data = dir.path().join("data");
    let systemd = UnixDatagram::bind(dir.path().join("notify")).unwrap();
    systemd.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let hear = || {
        let mut text = [0; 4_096];
        let length = systemd.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length]).into_owned()
    };
    let taken = TcpListener::bind(testport::reserve()).unwrap();
    let api = taken.local_addr().unwrap().to_string();
    let mut server = segue(&["server", "--http", "127.0.0.1:0", "--workers", "1", "--api", &api])
        .arg("--data")
        .arg(&data)
        .env("NOTIFY_SOCKET", dir.path().join("notify"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert!(hear().contains("READY=1"));
    let told = hear();
    let holder = format!("process {} of", std::process::id());
    assert!(told.starts_with("STATUS=") && told.contains(&api) && told.contains(&holder), "{told}");
    let data = data.to_str().unwrap();
    let status = segue(&["status", "--data", data]).output().unwrap();
    assert!(status.status.success(), "{}", said(&status));
    drop(taken);
    assert_eq!(hear(), "STATUS=serving\n");
    let url = format!("http://{api}");
    let status = segue(&["status", "--data", data, "--server", &url]).output().unwrap();
    assert!(status.status.success(), "{}", said(&status));
    signal(server.id(), rustix::process::Signal::TERM);
    assert!(server.wait().unwrap().success());
}

/// Needs root: somebody else has to be somebody.
#[test]
fn nothing_is_said_to_somebody_elses_process() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let address = testport::reserve();
    let (port, address) = (address.port(), address.to_string());
    // The folder it was built in may be closed to others.
    let dir = tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o755)).tempdir();
    let dir = dir.unwrap();
    let program = dir.path().join("segue");
    std::fs::copy(SEGUE, &program).unwrap();
    let mut other = Command::new(&program)
        .args(["proxy", "--listen", &address, "--upstream", "127.0.0.1:1", "--workers", "1"])
        .uid(65_534)
        .gid(65_534)
        .current_dir("/")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    while std::net::TcpStream::connect(&address).is_err() {
        assert!(Instant::now() < until, "the other process does not listen");
        // it waits: for another process to listen
        std::thread::sleep(Duration::from_millis(10));
    }
    for server in [format!("http://{address}"), format!("http://localhost:{port}")] {
        let ask = ["status", "--server", &server, "--token", "secret"];
        let refused = segue(&ask).output().unwrap();
        let text = said(&refused);
        assert_eq!(refused.status.code(), Some(1), "{text}");
        let holder = format!("segue (process {} of", other.id());
        assert!(text.contains(&holder) && text.contains("SEGUE_SERVER_USER="), "{text}");
        let trusted = segue(&ask).env("SEGUE_SERVER_USER", "65534").output().unwrap();
        assert!(!said(&trusted).contains("held by"), "{}", said(&trusted));
    }
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn a_hangup_reads_the_token_and_opens_the_log_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (data, log) = (dir.path().join("data"), dir.path().join("access.log"));
    let systemd = UnixDatagram::bind(dir.path().join("notify")).unwrap();
    systemd.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut server = segue(&["server", "--http", "127.0.0.1:0", "--api", "127.0.0.1:0"])
        .arg("--data")
        .arg(&data)
        .arg("--access-log")
        .arg(&log)
        .env("NOTIFY_SOCKET", dir.path().join("notify"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    systemd.recv(&mut [0; 4_096]).unwrap();
    let ask = |token: &str| {
        let asked = segue(&["status", "--data", data.to_str().unwrap(), "--token", token]).output();
        asked.unwrap().status.code()
    };
    let until = |what: &str, done: &dyn Fn() -> bool| {
        let until = Instant::now() + Duration::from_secs(30);
        while !done() {
            assert!(Instant::now() < until, "never {what}");
            // it waits: for another process to come that far
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let path = data.join("token");
    // As soon as systemd was told, whoever asks is answered.
    let old = std::fs::read_to_string(&path).unwrap();
    assert_eq!(ask(old.trim()), Some(0));
    let new = "fedcba9876543210fedcba9876543210";
    std::fs::write(&path, new).unwrap();
    std::fs::rename(&log, dir.path().join("access.log.1")).unwrap();
    signal(server.id(), rustix::process::Signal::HUP);
    until("took the new token", &|| ask(new) == Some(0));
    assert_eq!(ask(old.trim()), Some(1));
    assert!(log.exists());
    // Programs for rotating logs send USR1 to other servers; a file that is too long sends XFSZ.
    for stray in [rustix::process::Signal::USR1, rustix::process::Signal::XFSZ] {
        signal(server.id(), stray);
        assert_eq!(ask(new), Some(0));
    }
    signal(server.id(), rustix::process::Signal::TERM);
    assert!(server.wait().unwrap().success());
}
