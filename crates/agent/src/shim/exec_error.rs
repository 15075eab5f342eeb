//! Explains why a command could not be run. The kernel reports "No such file" for a script that exists if the
//! script's interpreter does not. Reads files and changes nothing.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use wire::{PROGRAM_START, Program};

/// The number of bytes that the kernel reads of a script's first line.
const FIRST_LINE: u64 = 256;

/// Returns the reason why the program must not be passed to `exec`, which would start something else. The C
/// library passes a file of an unknown format to a shell, which then reports a syntax error. `#!/usr/bin/env
/// bash` with CR LF looks for `bash\r`.
pub(super) fn foreseen(program: &Path) -> Option<String> {
    if is_bare(program) {
        return None;
    }
    if let Some(why) = foreign(program) {
        return Some(why);
    }
    let line = first_line(program)?;
    let words = line.strip_prefix("#!")?;
    // `env -S` splits its argument into words and treats the CR as a space.
    (words.ends_with('\r') && !words.contains(" -S")).then(carriage_return)
}

/// Returns an error for a program for another system or processor, unless the kernel is configured to run
/// such programs.
fn foreign(program: &Path) -> Option<String> {
    let mut start = [0; PROGRAM_START];
    File::open(program).ok()?.read_exact(&mut start).ok()?;
    let why = Program::of(&start)?.unfit_here()?;
    let handlers = fs::read_dir("/proc/sys/fs/binfmt_misc").into_iter().flatten().flatten();
    let known = ["register", "status"];
    let has_handler = handlers
        .map(|entry| entry.file_name())
        .any(|name| known.iter().all(|known| name != *known));
    (!has_handler).then_some(why)
}

/// Explains an error of `exec`. `path` is the variable `PATH` in which a name without `/` was looked up.
pub(super) fn explain(program: &Path, path: Option<&str>, error: &io::Error) -> String {
    let kind = error.kind();
    if kind == io::ErrorKind::NotFound && is_bare(program) {
        return format!("no folder of PATH has it: {} ({error})", path.unwrap_or_default());
    }
    if matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
        return missing(program, error);
    }
    if kind == io::ErrorKind::PermissionDenied {
        return forbidden(program, error);
    }
    if error.raw_os_error() == Some(ENOEXEC) {
        return format!(
            "it is no program for this machine, and has no first line that names an interpreter, \
             such as #!/bin/sh ({error})"
        );
    }
    error.to_string()
}

/// Returns whether the program is a name that is looked up in PATH.
fn is_bare(program: &Path) -> bool {
    !program.as_os_str().as_encoded_bytes().contains(&b'/')
}

/// `Exec format error`.
const ENOEXEC: i32 = rustix::io::Errno::NOEXEC.raw_os_error();

fn missing(program: &Path, error: &io::Error) -> String {
    if !program.exists() {
        return format!("{} is not there ({error})", program.display());
    }
    let Some(line) = first_line(program) else {
        return format!(
            "it is there, but what loads it is not: it was built for another system, such as one with \
             another C library ({error})"
        );
    };
    let Some(words) = line.strip_prefix("#!") else { return error.to_string() };
    if words.ends_with('\r') {
        return carriage_return();
    }
    let interpreter = words.split_whitespace().next().unwrap_or_default();
    format!("its interpreter `{interpreter}`, which its first line names, is not there ({error})")
}

fn forbidden(program: &Path, error: &io::Error) -> String {
    match program.metadata() {
        Ok(file) if file.is_dir() => format!("it is a folder ({error})"),
        Ok(file) if file.permissions().mode() & 0o111 == 0 => {
            format!("it may not be executed: chmod +x, commit that, and deploy again ({error})")
        }
        Ok(_) | Err(_) => error.to_string(),
    }
}

fn carriage_return() -> String {
    "its first line, which names the interpreter, ends in CR LF, as Windows writes lines: save it with \
     line ends of Unix (LF)"
        .to_owned()
}

/// Returns the first line of a script.
fn first_line(program: &Path) -> Option<String> {
    let mut start = Vec::new();
    File::open(program).ok()?.take(FIRST_LINE).read_to_end(&mut start).ok()?;
    let end = start.iter().position(|byte| *byte == b'\n')?;
    start.truncate(end);
    String::from_utf8(start).ok()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    use super::*;

    fn why(text: &str, mode: u32) -> String {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("start");
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, Permissions::from_mode(mode)).unwrap();
        // A successful `exec` would end this test without a result.
        foreseen(&program).unwrap_or_else(|| {
            let error = Command::new(&program).spawn().unwrap_err();
            explain(&program, None, &error)
        })
    }

    #[test]
    fn the_part_that_is_missing_is_named() {
        for (text, mode, wanted) in [
            ("#!/bin/sh\r\nexit 0\r\n", 0o755, "ends in CR LF"),
            ("#!/usr/bin/env sh\r\nexit 0\r\n", 0o755, "ends in CR LF"),
            ("#!/no/such/shell -e\n", 0o755, "its interpreter `/no/such/shell`"),
            ("#!/bin/sh\n", 0o644, "chmod +x"),
            ("just text\n", 0o755, "no program for this machine"),
        ] {
            let told = why(text, mode);
            assert!(told.contains(wanted), "{text:?}: {told}");
        }
        let error = Command::new("no-such-program").exec();
        let told = explain(Path::new("no-such-program"), Some("/bin:/usr/bin"), &error);
        assert!(told.starts_with("no folder of PATH has it: /bin:/usr/bin"), "{told}");
        let gone = Path::new("/no/such/program");
        let told = explain(gone, None, &Command::new(gone).spawn().unwrap_err());
        assert!(told.starts_with("/no/such/program is not there"), "{told}");
    }
}
