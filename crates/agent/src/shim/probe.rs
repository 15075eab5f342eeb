//! Runs the command of a probe to its end, in the control group of its instance: under the instance's
//! limits, and ended with it. Ends it with its whole tree when its time is up, or when nobody waits for it
//! any more. Keeps nothing.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use model::Exit;

use super::note::{Note, bury};
use super::tree::Tree;
use super::watch::{KILL_AGAIN, exit_of};
use super::{door::thread, let_run};
use crate::cgroup::Cgroup;
use crate::protocol::{Order, Probed, line};
use crate::runfolder::RunFolder;

/// The second stage with a time limit: standard input stays open for as long as somebody waits.
pub(super) fn run(run_dir: &Path, order: Order, timeout: Duration) -> ExitCode {
    let probed = attempt(run_dir, order, timeout)
        .unwrap_or_else(|e| Probed::Refused(format!("cannot start a process: {e}")));
    // Whoever asked may be gone.
    let _ = io::stdout().lock().write_all(&line(&probed));
    ExitCode::SUCCESS
}

fn attempt(run_dir: &Path, order: Order, timeout: Duration) -> io::Result<Probed> {
    let deadline = Instant::now() + timeout;
    let me = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(me))?;
    let child = spawn(run_dir)?;
    let tree = Tree::new(child.id(), None);
    let record = RunFolder::at(run_dir).process().ok().flatten();
    if let Some(group) = record.and_then(|record| record.cgroup) {
        // A server that is not root and was started elsewhere than the one before may not do that: then
        // the command runs in the server's group. An instance that is well must not count as down for it.
        let _ = Cgroup::at(&group).add(child.id());
    }
    let_run(child, &Order { timeout_ms: None, ..order }).inspect_err(|_| tree.kill())?;
    let (notes, inbox) = sync_channel(16);
    let reaper = notes.clone();
    thread("reaper").spawn(move || bury(&reaper)).inspect_err(|_| tree.kill())?;
    thread("asker").spawn(move || wait_for_nobody(&notes)).inspect_err(|_| tree.kill())?;
    let (mut exit, mut late, mut next) = (None, false, deadline);
    loop {
        match inbox.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(Note::Buried { pid, status }) if pid == tree.main() => exit = Some(exit_of(status)),
            Ok(Note::Childless) | Err(RecvTimeoutError::Disconnected) => break,
            Ok(Note::HungUp(_)) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Note::Buried { .. } | Note::OutputDone | Note::Connected(..) | Note::Asked(..)) => {
                continue;
            }
        }
        // What the command leaves behind has no reason to go on.
        late |= exit.is_none();
        tree.kill();
        next = Instant::now() + KILL_AGAIN;
    }
    Ok(if late { Probed::TookTooLong } else { Probed::Ended(exit.unwrap_or(Exit::Unknown)) })
}

fn spawn(run_dir: &Path) -> io::Result<Child> {
    let output = || io::stderr().as_fd().try_clone_to_owned();
    Command::new("/proc/self/exe")
        .arg("__exec")
        .arg(run_dir)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(output()?)
        .stderr(output()?)
        .spawn()
}

/// Until whoever asked closes its end.
fn wait_for_nobody(notes: &SyncSender<Note>) {
    let mut rest = [0; 64];
    while let Ok(1..) = io::stdin().lock().read(&mut rest) {}
    // At the end nobody listens any more.
    let _ = notes.send(Note::HungUp(0));
}
