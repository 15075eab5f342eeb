//! Runs other programs and prints their command lines.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The success of a task, or the reason of its failure.
pub(crate) type Done = Result<(), String>;

/// Returns the workspace's folder.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Runs a program in the workspace. Its output goes to the terminal.
pub(crate) fn run<I: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = I>) -> Done {
    let mut command = Command::new(program);
    status(command.args(args).current_dir(root()))
}

/// Runs a prepared command. Its output goes to the terminal.
pub(crate) fn status(command: &mut Command) -> Done {
    println!("→ {}", line(command));
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|error| format!("cannot run {program}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{}` {status}", line(command))) }
}

/// Runs a program and returns what it writes.
pub(crate) fn output(program: &str, args: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(args).current_dir(root());
    let output = command.output().map_err(|error| format!("cannot run {program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("`{}` {}: {said}", line(&command), output.status))
}

/// Returns whether a program exists and runs.
pub(crate) fn there(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
