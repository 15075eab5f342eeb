//! The shim: a small process beside each instance, from the same binary, that outlives the server.
//!
//! The shim holds the instance's lock and output, reaps its orphans, ends its whole process tree and records
//! how the instance ended. It knows nothing of apps, releases, probes or traffic. It never starts anything a
//! second time. No file that it writes holds a secret.

mod exec;
mod exec_error;
mod inherited_state;
mod message;
mod output;
mod probe_command;
mod process_tree;
mod socket;
mod supervisor;

use std::io::{self, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use crate::cgroup::Cgroup;
use crate::delegation::Delegation;
use crate::procfs;
use crate::protocol::{StartAnswer, StartOrder, line};
use crate::runfolder::{Lock, ProcessRecord, RunFolder, SOCKET};
use crate::sys;

pub use exec::exec;

use output::Output;
use process_tree::ProcessTree;
use supervisor::Running;

/// The time that a shim waits for a lock that another process holds.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// The hidden verb `__shim`: runs one instance from the order on standard input, to its end.
///
/// Call this before anything else in `main`: it closes every descriptor above standard error, and requires
/// that there is no other thread.
pub fn main(run_dir: &Path) -> ExitCode {
    sys::close_inherited();
    match begin(run_dir) {
        Ok(Begun::Running(running)) => {
            // Not before the second stage has started, which would inherit the ignored signals.
            sys::ignore_signals();
            answer(&StartAnswer::Started { pid: running.tree.main() });
            detach_stdio();
            running.supervise();
            ExitCode::SUCCESS
        }
        Ok(Begun::Taken) => {
            answer(&StartAnswer::Taken);
            ExitCode::SUCCESS
        }
        Err(Refused { act, source }) => {
            answer(&StartAnswer::Refused(format!("cannot {act}: {source}")));
            ExitCode::FAILURE
        }
    }
}

/// The outcome of a start.
enum Begun {
    Running(Box<Running>),
    Taken,
}

struct Refused {
    act: &'static str,
    source: io::Error,
}

/// Returns a closure for `map_err` that adds the act.
fn doing(act: &'static str) -> impl FnOnce(io::Error) -> Refused {
    move |source| Refused { act, source }
}

fn begin(run_dir: &Path) -> Result<Begun, Refused> {
    let order: StartOrder = serde_json::from_reader(io::stdin().lock())
        .map_err(|e| doing("read the order")(e.into()))?;
    // From here on all paths are relative, because the run folder's path may be too long for a socket.
    std::env::set_current_dir(run_dir).map_err(doing("enter the run folder"))?;
    let folder = RunFolder::at(Path::new("."));
    // This fails only for the leader of a process group, where it is not needed.
    let _ = rustix::process::setsid();
    let me = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(me))
        .map_err(|e| doing("become the reaper of orphans")(e.into()))?;

    let Some(lock) = take_lock(&folder).map_err(doing("lock the run folder"))? else {
        return Ok(Begun::Taken);
    };
    if folder.is_used() {
        return Ok(Begun::Taken);
    }
    let listener = listen().map_err(doing("listen in the run folder"))?;
    folder.reserve_exit().map_err(doing("reserve room for the exit record"))?;
    let (output, ours) = Output::open().map_err(doing("open the output file"))?;
    let (tree, child) = spawn(&folder, run_dir, &order, ours)?;
    send_order(child, &order).map_err(|source| {
        tree.kill();
        Refused { act: "hand over the order", source }
    })?;
    Ok(Begun::Running(Box::new(Running { folder, tree, listener, output, lock })))
}

/// Takes the lock of the run folder; returns `None` if another shim holds it. A process that only cleans up
/// releases the lock soon; a running shim does not.
fn take_lock(folder: &RunFolder) -> io::Result<Option<Lock>> {
    let give_up = Instant::now() + LOCK_TIMEOUT;
    loop {
        let lock = folder.try_lock()?;
        if lock.is_some() || folder.is_used() || Instant::now() >= give_up {
            return Ok(lock);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn listen() -> io::Result<UnixListener> {
    match std::fs::remove_file(SOCKET) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(SOCKET)?;
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(SOCKET, private)?;
    Ok(listener)
}

/// Starts the second stage, which waits for its order, and records its process. The record is therefore
/// durable before the command runs. If this process dies in between, the second stage finds the pipe closed,
/// reads no order, and ends.
fn spawn(
    folder: &RunFolder,
    run_dir: &Path,
    order: &StartOrder,
    output: std::io::PipeWriter,
) -> Result<(ProcessTree, Child), Refused> {
    let errors = output.try_clone().map_err(doing("share the output pipe"))?;
    let group = make_group(run_dir, order)?;
    // The binary of this process, even if its file has been replaced since.
    let child = Command::new("/proc/self/exe")
        .arg("__exec")
        .arg(run_dir)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .map_err(doing("start a process"))?;
    let pid = child.id();
    let group = match group.map(|group| (group.add(pid), group)) {
        Some((Ok(()), group)) => Some(group),
        // The second stage ends when its pipe closes.
        Some((Err(e), group)) if !order.limits.is_none() => {
            group.remove();
            return Err(doing("move it into its control group")(e));
        }
        Some((Err(_), _)) | None => None,
    };
    let tree = ProcessTree::new(pid, group);
    let start = procfs::process(pid).map_or(0, |process| process.start);
    let record = ProcessRecord {
        pid,
        start,
        boot_id: procfs::boot_id(),
        cgroup: tree.cgroup().map(|group| group.path().to_path_buf()),
    };
    match folder.record_process(&record) {
        Ok(()) => Ok((tree, child)),
        Err(source) => {
            tree.kill();
            Err(Refused { act: "write down the process", source })
        }
    }
}

/// Creates the instance's own control group with its limits. If no group can be created, an instance without
/// limits runs without a group.
fn make_group(run_dir: &Path, order: &StartOrder) -> Result<Option<Cgroup>, Refused> {
    let hash = blake3::hash(run_dir.as_os_str().as_encoded_bytes()).to_hex();
    let name = format!("segue-{}-{}", order.id, &hash[..8]);
    let made = match Delegation::own() {
        Some(own) => Cgroup::create(&own.group(&name)),
        None => Err(io::Error::other("cgroup2 is not mounted")),
    };
    if order.limits.is_none() {
        return Ok(made.ok());
    }
    let group = made.map_err(doing("make its control group"))?;
    match group.limit(&order.limits) {
        Ok(()) => Ok(Some(group)),
        Err(e) => {
            group.remove();
            Err(doing("set its limits")(e))
        }
    }
}

/// Sends the order to the second stage.
fn send_order(mut child: Child, order: &StartOrder) -> io::Result<()> {
    let mut pipe = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    serde_json::to_writer(&mut pipe, order)?;
    pipe.flush()
}

/// Answers the agent. If the agent is gone, the next one connects to the socket.
fn answer(answer: &StartAnswer) {
    let _ = io::stdout().lock().write_all(&line(answer)).and_then(|()| io::stdout().flush());
}

/// Replaces standard input, output and error with `/dev/null`. This closes the agent's pipes.
fn detach_stdio() {
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null");
    if let Ok(null) = null {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}
