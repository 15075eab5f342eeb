//! The second stage of a start: becomes the user, sets the limits, and executes the command. Runs nothing
//! before its order has come, and passes nothing of the server on to the command.

use std::ffi::CString;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use nix::unistd::Uid;

use super::{exec_error, inherited_state};
use crate::identity::Identity;
use crate::protocol::StartOrder;
use crate::sys;

/// The exit code that a shell uses for a command that cannot be run.
const CANNOT_RUN: u8 = 127;

/// The hidden verb `__exec`: executes the command of the order on standard input. Returns only if that fails,
/// or after the command of a probe. The error is then written to the instance's output. Must be called before
/// anything else in `main`. The run folder is an argument only so that a list of processes shows it.
pub fn exec(run_dir: &Path) -> ExitCode {
    // An incomplete order means that the shim died before it was ready. Nothing may run then.
    let orders = serde_json::Deserializer::from_reader(io::stdin().lock());
    let Some(Ok(order)) = orders.into_iter::<StartOrder>().next() else {
        return ExitCode::from(CANNOT_RUN);
    };
    if let Some(timeout) = order.timeout_ms {
        return super::probe_command::run(run_dir, order, Duration::from_millis(timeout));
    }
    let why = become_command(&order);
    let program = order.command.first().map_or("", String::as_str);
    let text = format!("segue: cannot run {program:?}: {why}\n");
    let _ = io::Write::write_all(&mut io::stderr(), text.as_bytes());
    ExitCode::from(CANNOT_RUN)
}

/// Executes the command. Returns only if that fails, with the error.
fn become_command(order: &StartOrder) -> String {
    let prepare = || -> Result<(), String> {
        let null = OpenOptions::new().read(true).open("/dev/null").map_err(|e| e.to_string())?;
        rustix::stdio::dup2_stdin(&null).map_err(|e| e.to_string())?;
        // The command gets its own session: a signal to its process group reaches no other process, and it
        // has no terminal.
        let _ = rustix::process::setsid();
        inherited_state::reset(order.open_files)?;
        become_user(order.user.as_deref(), order.group.as_deref())?;
        let folder = |e| format!("cannot enter {}: {e}", order.folder.display());
        std::env::set_current_dir(&order.folder).map_err(folder)
    };
    if let Err(why) = prepare() {
        return why;
    }
    let Some((program, arguments)) = order.command.split_first() else {
        return "the command is empty".to_owned();
    };
    // A name without `/` is looked up in PATH; any other path is relative to the release's folder.
    let program =
        if program.contains('/') { order.folder.join(program) } else { PathBuf::from(program) };
    if let Some(why) = exec_error::foreseen(&program) {
        return why;
    }
    sys::close_on_exec();
    let error = Command::new(&program).args(arguments).env_clear().envs(&order.env).exec();
    exec_error::explain(&program, order.env.get("PATH").map(String::as_str), &error)
}

/// Changes the group before the user: afterwards the process has no permission to change it. The pipe of the
/// output gets the new owner, too. An app may open `/dev/stdout` and `/dev/stderr` by name, and then the
/// pipe's own mode applies.
fn become_user(user: Option<&str>, group: Option<&str>) -> Result<(), String> {
    let identity = Identity::of(user, group)?;
    if !Uid::effective().is_root() {
        return Ok(());
    }
    let gid = identity.gid;
    let step = |what: &'static str| move |e: nix::Error| format!("cannot {what}: {e}");
    match (&identity.user, gid) {
        (Some(user), Some(gid)) => {
            let name = CString::new(user.name.as_str()).map_err(|e| e.to_string())?;
            nix::unistd::initgroups(&name, gid).map_err(step("take the user's groups"))?;
        }
        (None, Some(gid)) => {
            nix::unistd::setgroups(&[gid]).map_err(step("leave root's groups"))?;
        }
        (_, None) => {}
    }
    if let Some(user) = identity.other_user() {
        let (uid, gid) = (Some(user.uid.as_raw()), gid.map(nix::unistd::Gid::as_raw));
        std::os::unix::fs::fchown(io::stdout(), uid, gid)
            .map_err(|e| format!("cannot give it its output: {e}"))?;
    }
    if let Some(gid) = gid {
        nix::unistd::setgid(gid).map_err(step("become the group"))?;
    }
    if let Some(user) = identity.user {
        nix::unistd::setuid(user.uid).map_err(step("become the user"))?;
    }
    Ok(())
}
