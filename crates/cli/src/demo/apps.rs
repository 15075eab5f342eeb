//! The demo's apps: one small folder per release. Their program is segue itself.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::args::SampleFault;

/// A release of the demo's app.
#[derive(Clone, Debug)]
pub(super) struct DemoRelease {
    /// The label, which the app also calls its version.
    pub(super) label: &'static str,
    /// The fault of the release, if it has one.
    pub(super) broken: Option<SampleFault>,
    /// The way the release is rolled out.
    pub(super) comes: Comes,
}

/// The way a release of the demo is rolled out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comes {
    BlueGreen,
    Rolling,
    Canary,
    Recreate,
}

impl Comes {
    /// Returns the table `[strategy]`, with times short enough for a demo.
    fn table(self) -> &'static str {
        match self {
            Self::BlueGreen => "kind = \"blue-green\"\nstandby = \"keep\"\nwatch = \"2s\"\n",
            Self::Rolling => "kind = \"rolling\"\nbatch = 1\nsurge = false\nwatch = \"1s\"\n",
            Self::Canary => {
                "kind = \"canary\"\nsteps = [\n  { share = \"10%\", hold = \"2s\" },\n  { share = \
                 \"50%\", hold = \"2s\" },\n]\nwatch = \"1s\"\n"
            }
            Self::Recreate => {
                "kind = \"recreate\"\nmessage = \"Back in a moment.\"\nretry_after = \"1s\"\n\
                 watch = \"1s\"\n"
            }
        }
    }
}

/// Writes the release's folder and returns its app file.
pub(super) fn write(root: &Path, program: &Path, release: &DemoRelease) -> io::Result<PathBuf> {
    let folder = root.join(release.label);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("RELEASE"), format!("{}\n", release.label))?;
    let mut command = vec![program.to_string_lossy().into_owned(), "__sample".into()];
    command.extend(["--version".into(), release.label.into()]);
    match release.broken {
        Some(SampleFault::Exit) => command.extend(["--broken".into(), "exit".into()]),
        Some(SampleFault::Unhealthy) => command.extend(["--broken".into(), "unhealthy".into()]),
        None => {}
    }
    let command: Vec<String> = command.iter().map(|word| quoted(word)).collect();
    let file = folder.join("segue.toml");
    let text = format!(
        "app = \"demo\"\n\n[run]\ncommand = [{}]\nreplicas = 2\n\n[health]\ninterval = \"200ms\"\n\
         timeout = \"1s\"\nstart_deadline = \"10s\"\n\n[drain]\ndeadline = \"5s\"\n\n[strategy]\n{}",
        command.join(", "),
        release.comes.table()
    );
    fs::write(&file, text)?;
    Ok(file)
}

/// Returns a TOML string that reads as `text`.
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
        for comes in [Comes::BlueGreen, Comes::Rolling, Comes::Canary, Comes::Recreate] {
            let release =
                DemoRelease { label: "v3-broken", broken: Some(SampleFault::Exit), comes };
            let file = write(dir.path(), Path::new("/a \"b\"\\c/segue"), &release).unwrap();
            let file = wire::AppFile::from_toml(&fs::read_to_string(file).unwrap()).unwrap();
            let wanted =
                ["/a \"b\"\\c/segue", "__sample", "--version", "v3-broken", "--broken", "exit"];
            assert_eq!(file.spec.run.command, wanted);
        }
    }
}
