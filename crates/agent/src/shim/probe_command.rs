//! Runs the command of a probe in the control group of its instance. The instance's limits apply to the
//! command, and the command ends with the instance. Kills the command with its whole process tree when its
//! time is up, or when the agent no longer waits for it. Stores nothing.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use model::Exit;

use super::message::{SupervisorMessage, reap_children};
use super::process_tree::ProcessTree;
use super::supervisor::{KILL_AGAIN, exit_of};
use super::{send_order, socket::thread};
use crate::cgroup::Cgroup;
use crate::protocol::{CommandOutcome, StartOrder, line};
use crate::runfolder::RunFolder;

/// Runs the second stage with a time limit. Standard input stays open as long as the agent waits.
pub(super) fn run(run_dir: &Path, order: StartOrder, timeout: Duration) -> ExitCode {
    let probed = attempt(run_dir, order, timeout)
        .unwrap_or_else(|e| CommandOutcome::Refused(format!("cannot start a process: {e}")));
    // The agent may be gone.
    let _ = io::stdout().lock().write_all(&line(&probed));
    ExitCode::SUCCESS
}

fn attempt(run_dir: &Path, order: StartOrder, timeout: Duration) -> io::Result<CommandOutcome> {
    let deadline = Instant::now() + timeout;
    let me = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(me))?;
    let child = spawn(run_dir)?;
    let tree = ProcessTree::new(child.id(), None);
    let record = RunFolder::at(run_dir).process().ok().flatten();
    if let Some(group) = record.and_then(|record| record.cgroup) {
        // This can fail if the server is not root and the previous server ran in another control group. Then
        // the command runs in the server's group, because the failure must not make a healthy instance count
        // as Down.
        let _ = Cgroup::at(&group).add(child.id());
    }
    send_order(child, &StartOrder { timeout_ms: None, ..order }).inspect_err(|_| tree.kill())?;
    let (messages, inbox) = sync_channel(16);
    let reaper = messages.clone();
    thread("reaper").spawn(move || reap_children(&reaper)).inspect_err(|_| tree.kill())?;
    thread("asker").spawn(move || wait_for_nobody(&messages)).inspect_err(|_| tree.kill())?;
    let (mut exit, mut late, mut next) = (None, false, deadline);
    loop {
        match inbox.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(SupervisorMessage::Reaped { pid, status }) if pid == tree.main() => {
                exit = Some(exit_of(status))
            }
            Ok(SupervisorMessage::NoChildren) | Err(RecvTimeoutError::Disconnected) => break,
            Ok(SupervisorMessage::Disconnected(_)) | Err(RecvTimeoutError::Timeout) => {}
            Ok(
                SupervisorMessage::Reaped { .. }
                | SupervisorMessage::OutputDone
                | SupervisorMessage::Connected(..)
                | SupervisorMessage::Requested(..),
            ) => {
                continue;
            }
        }
        // Processes that the command leaves behind are no longer needed.
        late |= exit.is_none();
        tree.kill();
        next = Instant::now() + KILL_AGAIN;
    }
    Ok(if late {
        CommandOutcome::TookTooLong
    } else {
        CommandOutcome::Ended(exit.unwrap_or(Exit::Unknown))
    })
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

/// Waits until the agent closes its end of the pipe.
fn wait_for_nobody(messages: &SyncSender<SupervisorMessage>) {
    let mut rest = [0; 64];
    while let Ok(1..) = io::stdin().lock().read(&mut rest) {}
    // At the end there is no receiver any more.
    let _ = messages.send(SupervisorMessage::Disconnected(0));
}
