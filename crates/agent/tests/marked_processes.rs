//! Processes that carry the marks of an instance and are none of it.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::{Host, kill, shim_of};
use model::{Expect, Launch};

/// Starts a marked process again whenever it has been ended.
struct Respawner {
    goes_on: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Respawner {
    fn start(host: &Host, launch: &Launch, user: u32) -> Self {
        let state = host.data().join("apps").join(launch.id.app.as_str()).join("state");
        let goes_on = Arc::new(AtomicBool::new(true));
        let (id, go_on) = (launch.id.to_string(), Arc::clone(&goes_on));
        let thread = std::thread::spawn(move || {
            while go_on.load(Ordering::Relaxed) {
                let mut child = Command::new("sleep")
                    .arg("1000")
                    .env("SEGUE_INSTANCE", &id)
                    .env("SEGUE_STATE_DIR", &state)
                    .uid(user)
                    .spawn()
                    .unwrap();
                while go_on.load(Ordering::Relaxed) && child.try_wait().unwrap().is_none() {
                    // it waits: for a process to be ended by somebody else
                    std::thread::sleep(Duration::from_millis(1));
                }
                let _ = child.kill();
                child.wait().unwrap();
            }
        });
        Self { goes_on, thread: Some(thread) }
    }
}

impl Drop for Respawner {
    fn drop(&mut self) {
        self.goes_on.store(false, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Kills an instance with its shim, and tells how long its end takes to be reported.
fn end_takes(host: &Host, user: u32) -> Duration {
    let launch = host.shell("web-1", "exec sleep 1000");
    host.run(&launch, Expect::Fresh);
    let pid = host.running(&launch.id);
    // So many that at no moment all of them are just being started again.
    let _respawners = [(); 4].map(|()| Respawner::start(host, &launch, user));
    kill(shim_of(pid));
    kill(pid);
    let begun = Instant::now();
    host.exited(&launch.id);
    begun.elapsed()
}

#[test]
fn processes_of_its_own_user_that_come_again_and_again_are_not_waited_for_without_end() {
    let host = Host::new();
    let took = end_takes(&host, rustix::process::getuid().as_raw());
    assert!(took < Duration::from_secs(25), "{took:?}");
}

#[test]
fn marked_processes_of_another_user_are_not_waited_for() {
    if !rustix::process::geteuid().is_root() {
        // Only root can start processes of another user.
        return;
    }
    let host = Host::new();
    let took = end_takes(&host, 65_534);
    assert!(took < Duration::from_secs(10), "{took:?}");
}
