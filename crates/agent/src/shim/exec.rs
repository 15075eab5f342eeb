//! The second stage of a start: becomes the user, sets the limits, and turns into the command.
//! Runs nothing before its order has come, and hands nothing of the server down.

use std::ffi::CString;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use nix::unistd::{Gid, Group, Uid, User};
use rustix::process::{Resource, Rlimit};

use crate::protocol::{OpenFiles, Order};
use crate::sys;

/// What a shell answers when a command cannot be run.
const CANNOT_RUN: u8 = 127;

/// The hidden verb `__exec`: turns into the command of the order on standard input. Returns only if
/// that fails; what went wrong then stands in the instance's output. To be called before anything
/// else in `main`. The run folder is there for whoever reads a list of processes.
pub fn exec(_run_dir: &Path) -> ExitCode {
    // An order that is cut off means that the shim died before it was ready: nothing may run.
    let Ok(order) = serde_json::from_reader::<_, Order>(io::stdin().lock()) else {
        return ExitCode::from(CANNOT_RUN);
    };
    let why = become_command(&order);
    let program = order.command.first().map_or("", String::as_str);
    let text = format!("segue: cannot run {program:?}: {why}\n");
    let _ = io::Write::write_all(&mut io::stderr(), text.as_bytes());
    ExitCode::from(CANNOT_RUN)
}

/// Does not return if it succeeds.
fn become_command(order: &Order) -> String {
    let prepare = || -> Result<(), String> {
        let null = OpenOptions::new().read(true).open("/dev/null").map_err(|e| e.to_string())?;
        rustix::stdio::dup2_stdin(&null).map_err(|e| e.to_string())?;
        // A session of its own: signals to its group reach it alone, and it has no terminal.
        let _ = rustix::process::setsid();
        if let Some(limit) = order.open_files {
            set_open_files(limit)?;
        }
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
    sys::close_on_exec();
    Command::new(program).args(arguments).env_clear().envs(&order.env).exec().to_string()
}

/// What the server started with. Where the hard limit has been lowered since, as near as allowed.
fn set_open_files(wanted: OpenFiles) -> Result<(), String> {
    let hard_now = rustix::process::getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit { current: wanted.soft, maximum: wanted.hard };
    let lowered = Rlimit { current: at_most(wanted.soft, hard_now), maximum: hard_now };
    rustix::process::setrlimit(Resource::Nofile, limit)
        .or_else(|_| rustix::process::setrlimit(Resource::Nofile, lowered))
        .map_err(|e| format!("cannot set the limit of open files: {e}"))
}

/// The lower of two limits; `None` is no limit.
fn at_most(wanted: Option<u64>, limit: Option<u64>) -> Option<u64> {
    match (wanted, limit) {
        (Some(wanted), Some(limit)) => Some(wanted.min(limit)),
        (one, other) => one.or(other),
    }
}

/// Group first: afterwards there is no right left to change it.
fn become_user(user: Option<&str>, group: Option<&str>) -> Result<(), String> {
    let wanted = user.map(find_user).transpose()?;
    let group = group.map(find_group).transpose()?;
    let gid = group.or(wanted.as_ref().map(|user| user.gid));
    if !Uid::effective().is_root() {
        let other_user = wanted.is_some_and(|user| user.uid != Uid::effective());
        let other_group = group.is_some_and(|gid| gid != Gid::effective());
        return if other_user || other_group {
            Err("segue has to run as root to run an app as another user or group".to_owned())
        } else {
            Ok(())
        };
    }
    let step = |what: &'static str| move |e: nix::Error| format!("cannot {what}: {e}");
    match (&wanted, gid) {
        (Some(user), Some(gid)) => {
            let name = CString::new(user.name.as_str()).map_err(|e| e.to_string())?;
            nix::unistd::initgroups(&name, gid).map_err(step("take the user's groups"))?;
        }
        (None, Some(gid)) => {
            nix::unistd::setgroups(&[gid]).map_err(step("leave root's groups"))?;
        }
        (_, None) => {}
    }
    if let Some(gid) = gid {
        nix::unistd::setgid(gid).map_err(step("become the group"))?;
    }
    if let Some(user) = wanted {
        nix::unistd::setuid(user.uid).map_err(step("become the user"))?;
    }
    Ok(())
}

fn find_user(name: &str) -> Result<User, String> {
    let found = match name.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(name),
    };
    found.map_err(|e| e.to_string())?.ok_or_else(|| format!("there is no user {name:?}"))
}

fn find_group(name: &str) -> Result<Gid, String> {
    let found = match name.parse() {
        Ok(number) => return Ok(Gid::from_raw(number)),
        Err(_) => Group::from_name(name),
    };
    let group = found.map_err(|e| e.to_string())?;
    group.map(|group| group.gid).ok_or_else(|| format!("there is no group {name:?}"))
}
