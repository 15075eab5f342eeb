//! The demo's apps: one small folder per release, whose program is segue itself.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::args::Broken;

/// A release of the demo's app.
#[derive(Clone, Debug)]
pub(super) struct Release {
    /// Its label, and what the app calls itself.
    pub(super) label: &'static str,
    /// How it is broken, if it is.
    pub(super) broken: Option<Broken>,
}

/// Writes the release's folder and returns its app file.
pub(super) fn write(root: &Path, program: &Path, release: &Release) -> io::Result<PathBuf> {
    let folder = root.join(release.label);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("RELEASE"), format!("{}\n", release.label))?;
    let mut command = vec![program.to_string_lossy().into_owned(), "__sample".into()];
    command.extend(["--version".into(), release.label.into()]);
    match release.broken {
        Some(Broken::Exit) => command.extend(["--broken".into(), "exit".into()]),
        Some(Broken::Unhealthy) => command.extend(["--broken".into(), "unhealthy".into()]),
        None => {}
    }
    let command: Vec<String> = command.iter().map(|word| quoted(word)).collect();
    let file = folder.join("segue.toml");
    let text = format!(
        "app = \"demo\"\n\n[run]\ncommand = [{}]\nreplicas = 2\n\n[health]\ninterval = \"200ms\"\n\
         timeout = \"1s\"\nstart_deadline = \"10s\"\n\n[drain]\ndeadline = \"5s\"\n\n[strategy]\n\
         kind = \"blue-green\"\nstandby = \"keep\"\nwatch = \"2s\"\n",
        command.join(", ")
    );
    fs::write(&file, text)?;
    Ok(file)
}

/// A TOML string that reads as `text`.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted += &format!("\\u{:04X}", u32::from(c)),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demos_app_files_are_good_ones() {
        let dir = tempfile::tempdir().unwrap();
        let release = Release { label: "v3-broken", broken: Some(Broken::Exit) };
        let file = write(dir.path(), Path::new("/a \"b\"\\c/segue"), &release).unwrap();
        let file = wire::AppFile::from_toml(&fs::read_to_string(file).unwrap()).unwrap();
        let wanted =
            ["/a \"b\"\\c/segue", "__sample", "--version", "v3-broken", "--broken", "exit"];
        assert_eq!(file.spec.run.command, wanted);
    }
}
