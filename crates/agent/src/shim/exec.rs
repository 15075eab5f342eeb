//! The second stage of a start: becomes the user, sets the limits, and turns into the command.
//! Runs nothing before its order has come, and hands nothing of the server down.

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

/// The exit code of a shell for a command that cannot be run.
const CANNOT_RUN: u8 = 127;

/// The hidden verb `__exec`: turns into the command of the order on standard input. Returns only if
/// that fails, or after the command of a probe; what went wrong then stands in the instance's output. To be called before anything
/// else in `main`. The run folder is there for whoever reads a list of processes.
pub fn exec(run_dir: &Path) -> ExitCode {
    // An order that is cut off means that the shim died before it was ready: nothing may run.
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

/// Does not return if it succeeds.
fn become_command(order: &StartOrder) -> String {
    let prepare = || -> Result<(), String> {
        let null = OpenOptions::new().read(true).open("/dev/null").map_err(|e| e.to_string())?;
        rustix::stdio::dup2_stdin(&null).map_err(|e| e.to_string())?;
        // A session of its own: signals to its group reach it alone, and it has no terminal.
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
    // A name is looked up in PATH, anything else in the release's folder.
    let program =
        if program.contains('/') { order.folder.join(program) } else { PathBuf::from(program) };
    if let Some(why) = exec_error::foreseen(&program) {
        return why;
    }
    sys::close_on_exec();
    let error = Command::new(&program).args(arguments).env_clear().envs(&order.env).exec();
    exec_error::explain(&program, order.env.get("PATH").map(String::as_str), &error)
}

/// Group first: afterwards there is no right left to change it. The output's pipe goes along: an app
/// may open `/dev/stdout` and `/dev/stderr` by name, and the name leads to the pipe's own mode.
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
