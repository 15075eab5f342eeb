//! The proxy alone, as a process: probes, admin address, access log, SIGTERM.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command};

use crate::common::*;

struct Alone {
    process: Child,
    at: SocketAddr,
    admin: SocketAddr,
}

impl Alone {
    fn start(upstream: &str, more: &[&str]) -> Self {
        let (at, admin) = (testport::reserve(), testport::reserve());
        let example = std::env::current_exe().expect("this test");
        let example = example.ancestors().nth(2).expect("target/debug").join("examples/standalone");
        let process = Command::new(example)
            .args([&at.to_string(), upstream])
            .args(["--admin", &admin.to_string(), "--workers", "2"])
            .args(more)
            .spawn()
            .expect("the example is built with the tests");
        let alone = Self { process, at, admin };
        eventually("it is ready", || {
            TcpStream::connect(admin).ok()?;
            alone.ask("/readyz").starts_with("HTTP/1.1 200").then_some(())
        });
        alone
    }

    fn ask(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.admin).expect("the admin address");
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
            .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, signal).expect("signalled");
    }

    fn terminate(&mut self) -> Option<i32> {
        self.signal(rustix::process::Signal::TERM);
        self.process.wait().expect("it ends").code()
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn an_upstream_may_have_a_name() {
    let upstream = saying("named");
    let name = format!("localhost:{}", upstream.port());
    let alone = Alone::start(&name, &[]);
    assert_eq!(Client::connect(alone.at).get("/").text(), "named");
}

#[test]
fn it_probes_serves_tells_and_drains() {
    let log = std::env::temp_dir().join(format!("segue-access-{}.log", std::process::id()));
    let _ = std::fs::remove_file(&log);
    let upstream = answering(|seen| {
        let text = if seen.head.starts_with("GET /up ") { "well" } else { "page" };
        format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{text}")
    });
    let file = log.to_str().expect("text");
    let mut alone =
        Alone::start(&upstream.to_string(), &["--health-path", "/up", "--access-log", file]);
    let mut client = Client::connect(alone.at);
    for _ in 0..3 {
        assert_eq!(client.get("/a?secret=1").text(), "page");
    }
    assert!(alone.ask("/healthz").ends_with("alive\n"));
    for line in [
        "segue_requests_total{app=\"default\",release=\"1\",code_class=\"2xx\"} 3",
        "segue_request_duration_seconds_bucket{app=\"default\",le=\"+Inf\"} 3",
        "segue_request_duration_seconds_count{app=\"default\"} 3",
    ] {
        // The last one is counted just after its last byte.
        eventually(line, || alone.ask("/metrics").lines().any(|l| l == line).then_some(()));
    }
    let metrics = alone.ask("/metrics");
    assert!(metrics.contains("segue_instance_up{instance=\"default-1\"} 1"), "{metrics}");
    drop(client);
    assert_eq!(alone.terminate(), Some(0));
    let lines = std::fs::read_to_string(&log).expect("a log");
    assert_eq!(lines.lines().count(), 3);
    assert!(lines.contains("\"path\":\"/a\"") && !lines.contains("secret"), "{lines}");
    std::fs::remove_file(&log).expect("removed");
}

#[test]
fn a_log_that_is_renamed_is_opened_anew_at_a_hangup_and_for_nobody_else_to_read() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let (log, old) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let upstream = saying("ok").to_string();
    let mut alone = Alone::start(&upstream, &["--access-log", log.to_str().expect("text")]);
    let mode = || std::fs::metadata(&log).expect("a log").permissions().mode() & 0o777;
    assert_eq!(mode(), 0o640);
    let mut client = Client::connect(alone.at);
    client.get("/before");
    let holds = |path: &std::path::Path, what: &str| {
        std::fs::read_to_string(path).is_ok_and(|text| text.contains(what)).then_some(())
    };
    eventually("the first line", || holds(&log, "/before"));
    std::fs::rename(&log, &old).expect("renamed");
    client.get("/between");
    eventually("the second line", || holds(&old, "/between"));
    alone.signal(rustix::process::Signal::HUP);
    eventually("a new file", || log.exists().then_some(()));
    assert_eq!(mode(), 0o640);
    client.get("/after");
    eventually("the third line", || holds(&log, "/after"));
    assert!(holds(&old, "/after").is_none());
    assert_eq!(alone.terminate(), Some(0));
}

#[test]
fn a_signal_without_a_meaning_ends_nothing_and_sigquit_ends_in_order() {
    use rustix::process::Signal;
    let mut alone = Alone::start(&saying("ok").to_string(), &[]);
    let mut client = Client::connect(alone.at);
    for stray in [Signal::USR1, Signal::USR2, Signal::ALARM, Signal::POWER, Signal::XFSZ] {
        alone.signal(stray);
        assert_eq!(client.get("/").text(), "ok");
    }
    drop(client);
    alone.signal(Signal::QUIT);
    assert_eq!(alone.process.wait().expect("it ends").code(), Some(0));
}

#[test]
fn clients_of_the_admin_address_that_say_nothing_hold_up_nobody() {
    let alone = Alone::start(&saying("ok").to_string(), &[]);
    let silent: Vec<_> =
        (0..100).map(|_| TcpStream::connect(alone.admin).expect("connected")).collect();
    let start = std::time::Instant::now();
    assert!(alone.ask("/healthz").ends_with("alive\n"));
    assert!(
        start.elapsed() < std::time::Duration::from_millis(1_500),
        "it waited for a silent one"
    );
    drop(silent);
}

#[test]
fn it_refuses_to_be_its_own_upstream() {
    let own = testport::reserve();
    let example = std::env::current_exe().expect("this test");
    let example = example.ancestors().nth(2).expect("target/debug").join("examples/standalone");
    let tried = Command::new(example)
        .args([&own.to_string(), &own.to_string(), "--workers", "1"])
        .output()
        .expect("the example is built with the tests");
    let said = String::from_utf8_lossy(&tried.stderr);
    assert!(!tried.status.success() && said.contains("Circle"), "{said}");
}
