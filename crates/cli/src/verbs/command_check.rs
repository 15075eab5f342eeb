//! Checks a command before it runs: whether its program is shipped, may be executed, and has its interpreter.
//! This machine is not the server, so a program that is missing only here is a warning.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use wire::{FileEntry, Kind, Manifest, PROGRAM_START, Program};

/// The programs that expand `$PORT` in their arguments.
const SHELLS: &[&str] = &["sh", "bash", "dash", "ash", "zsh", "ksh", "busybox"];
/// The variables that segue sets.
const VARIABLES: &[&str] = &["PORT", "HOST", "SOCKET"];
/// The number of bytes that the kernel reads of a script's first line.
const FIRST_LINE: u64 = 256;

/// An error or a possible error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) grave: Grave,
    pub(super) text: String,
    pub(super) hint: String,
}

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grave {
    /// The deploy cannot work.
    Error,
    /// The deploy may work on the server.
    Warning,
}

fn error(text: impl Into<String>, hint: impl Into<String>) -> Finding {
    Finding { grave: Grave::Error, text: text.into(), hint: hint.into() }
}

fn warning(text: impl Into<String>, hint: impl Into<String>) -> Finding {
    Finding { grave: Grave::Warning, text: text.into(), hint: hint.into() }
}

/// Returns the findings about a command whose files are in `dir`.
pub(super) fn findings(command: &[String], dir: &Path, manifest: &Manifest) -> Vec<Finding> {
    let Some((program, arguments)) = command.split_first() else { return Vec::new() };
    let mut all = Vec::new();
    let name = program.rsplit('/').next().unwrap_or(program);
    let is_shell = SHELLS.contains(&name);
    if !program.contains('/') {
        all.extend(in_path(program));
    } else if program.starts_with('/') {
        all.extend(absolute(program, dir));
    } else {
        all.extend(shipped(program, dir, manifest));
    }
    if !is_shell {
        all.extend(arguments.iter().find_map(|argument| variable(argument)));
    }
    for argument in arguments {
        let script = clean(argument);
        if entry(manifest, &script).is_some() && is_shell && ends_in_cr(&dir.join(&script)) {
            all.push(carriage_return(argument));
        }
    }
    all
}

/// Checks a bare name, which the server looks up in its own PATH.
fn in_path(program: &str) -> Option<Finding> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let here = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    (!here).then(|| {
        let hint = format!("install it on the server; a file of the app is written ./{program}");
        warning(format!("`{program}` is in no folder of this machine's PATH"), hint)
    })
}

fn absolute(program: &str, dir: &Path) -> Option<Finding> {
    let path = Path::new(program);
    if path.starts_with(dir) {
        let text = format!("`{program}` is a path of this machine");
        return Some(error(text, "write it relative to `dir`: ./NAME"));
    }
    (!path.is_file()).then(|| {
        let text = format!("`{program}` is not on this machine");
        warning(text, "it has to be on the server")
    })
}

/// Checks a program that is a file of the app.
fn shipped(program: &str, dir: &Path, manifest: &Manifest) -> Option<Finding> {
    let name = clean(program);
    let path = dir.join(&name);
    let Some(entry) = entry(manifest, &name) else {
        let text = format!("`{program}` is not among the files that are shipped");
        let hint = if path.exists() {
            "a `.segueignore` leaves it out".to_owned()
        } else {
            format!("it is looked for in {}", dir.display())
        };
        return Some(error(text, hint));
    };
    match &entry.kind {
        Kind::Dir => Some(error(format!("`{program}` is a folder"), "name a file in it")),
        // The target of the link is another entry, or is not shipped. In the second case the start will fail.
        Kind::Symlink { .. } => None,
        Kind::File { executable: false, .. } => {
            let hint = format!("chmod +x {}, and commit that", path.display());
            Some(error(format!("`{program}` may not be executed"), hint))
        }
        Kind::File { executable: true, .. } => {
            compiled(program, &path).or_else(|| script(program, &path))
        }
    }
}

/// Checks for a program of a system that segue does not run on. Only the server knows whether the processor
/// is right.
fn compiled(program: &str, path: &Path) -> Option<Finding> {
    let mut start = [0; PROGRAM_START];
    File::open(path).ok()?.read_exact(&mut start).ok()?;
    let system = match Program::of(&start)? {
        Program::MachO => "macOS",
        Program::Windows => "Windows",
        Program::Elf { .. } => return None,
    };
    let text = format!("`{program}` is a program for {system}");
    Some(error(text, "build it for the server: Linux, and its processor"))
}

/// Checks the interpreter of a script.
fn script(program: &str, path: &Path) -> Option<Finding> {
    let line = first_line(path)?;
    let words = line.strip_prefix("#!")?;
    if words.ends_with('\r') {
        return Some(carriage_return(program));
    }
    let mut words = words.split_whitespace();
    let interpreter = words.next()?;
    if !Path::new(interpreter).is_file() {
        let text = format!("the first line of `{program}` names {interpreter}, which is not here");
        return Some(warning(text, "it has to be on the server, at that path"));
    }
    let looked_up = words.next().filter(|word| !word.starts_with('-'))?;
    interpreter.ends_with("/env").then(|| in_path(looked_up)).flatten()
}

fn carriage_return(program: &str) -> Finding {
    let text = format!("the first line of `{program}` ends in CR LF, as Windows writes lines");
    error(text, "save it with line ends of Unix (LF); in git: `*.sh text eol=lf` in .gitattributes")
}

fn ends_in_cr(path: &Path) -> bool {
    first_line(path).is_some_and(|line| line.ends_with('\r'))
}

fn first_line(path: &Path) -> Option<String> {
    let mut start = Vec::new();
    File::open(path).ok()?.take(FIRST_LINE).read_to_end(&mut start).ok()?;
    let end = start.iter().position(|byte| *byte == b'\n')?;
    String::from_utf8(start[..end].to_vec()).ok()
}

/// Checks for a variable in an argument that no program will expand.
fn variable(argument: &str) -> Option<Finding> {
    let name = VARIABLES.iter().find(|name| {
        [format!("${name}"), format!("${{{name}}}")].iter().any(|form| argument.contains(form))
    })?;
    let text = format!("`{argument}` reaches the program as it stands: no shell puts in ${name}");
    let hint = format!(
        "read the variable in the program, or let a shell do it: \
         [\"sh\", \"-c\", \"exec PROGRAM --option ${name}\"]"
    );
    Some(error(text, hint))
}

/// Returns a path in the form of a list of files: `a/b` for `./a//b`.
fn clean(path: &str) -> String {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>().join("/")
}

fn entry<'a>(manifest: &'a Manifest, name: &str) -> Option<&'a FileEntry> {
    manifest.entries.iter().find(|entry| entry.path == name)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Returns the findings about a command in a folder with these files. Files whose names end in `.x` are
    /// executable.
    fn found(files: &[(&str, &str)], command: &[&str]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            let mode = if name.ends_with(".x") { 0o755 } else { 0o644 };
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        }
        let manifest = wire::scan(dir.path()).unwrap().manifest;
        let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        let told = |finding: Finding| format!("{:?}: {}", finding.grave, finding.text);
        findings(&command, dir.path(), &manifest).into_iter().map(told).collect()
    }

    #[test]
    fn what_is_fine_is_not_told() {
        assert_eq!(found(&[], &["sh", "-c", "exec x --port $PORT"]), [""; 0]);
        assert_eq!(found(&[("bin/a.x", "#!/bin/sh\n")], &["./bin//a.x", "$HOME"]), [""; 0]);
        assert_eq!(found(&[("a.x", "#!/usr/bin/env sh\n")], &["./a.x"]), [""; 0]);
    }

    #[test]
    fn a_program_that_cannot_run_is_told() {
        let all = [
            ("a", "#!/bin/sh\n"),
            ("b.x", "#!/bin/sh\r\n"),
            ("c.x", "#!/no/such\n"),
            ("w.x", "MZ and more than twenty bytes"),
            ("d/e", ""),
        ];
        for (command, wanted) in [
            (&["./gone"][..], "Error: `./gone` is not among the files that are shipped"),
            (&["./a"], "Error: `./a` may not be executed"),
            (&["./d"], "Error: `./d` is a folder"),
            (&["./b.x"], "Error: the first line of `./b.x` ends in CR LF, as Windows writes lines"),
            (
                &["sh", "b.x"],
                "Error: the first line of `b.x` ends in CR LF, as Windows writes lines",
            ),
            (&["./w.x"], "Error: `./w.x` is a program for Windows"),
            (&["./c.x"], "Warning: the first line of `./c.x` names /no/such, which is not here"),
            (
                &["no-such-program"],
                "Warning: `no-such-program` is in no folder of this machine's PATH",
            ),
            (&["/no/such"], "Warning: `/no/such` is not on this machine"),
            (
                &["env", "-p", "${PORT}"],
                "Error: `${PORT}` reaches the program as it stands: no shell puts in $PORT",
            ),
            (
                &["env", "--bind", "unix:$SOCKET"],
                "Error: `unix:$SOCKET` reaches the program as it stands: no shell puts in $SOCKET",
            ),
        ] {
            assert_eq!(found(&all, command), [wanted], "{command:?}");
        }
    }

    #[test]
    fn a_program_that_is_left_out_is_told() {
        let files = [("a.x", "#!/bin/sh\n"), (".segueignore", "*.x\n")];
        let told = found(&files, &["./a.x"]);
        assert_eq!(told, ["Error: `./a.x` is not among the files that are shipped"]);
    }
}
