//! Leaves the app file out of the folder that is shipped. The app file stays on the client: it describes how
//! the app is run, may hold values of variables, and a changed comment in it must not make a new release.

use std::fs;
use std::path::Path;

use crate::AppFile;
use crate::manifest::{FileEntry, Kind, Manifest, Scan};

/// The default name of an app file.
pub const APP_FILE: &str = "segue.toml";
/// The largest size of a file that is checked, in bytes.
const APP_FILE_BYTES: u64 = 256 * 1024;

impl Scan {
    /// Returns the release without its app files: the file at `app_file`, and `segue.toml` in the folder
    /// itself.
    #[must_use]
    pub fn without_app_file(mut self, dir: &Path, app_file: &Path) -> Self {
        let own = fs::canonicalize(app_file).ok();
        let is_own = |entry: &FileEntry| {
            let is_it = || fs::canonicalize(dir.join(&entry.path)).ok() == own;
            let same_name = Path::new(&entry.path).file_name() == app_file.file_name();
            entry.path == APP_FILE || (own.is_some() && same_name && is_it())
        };
        self.manifest.entries.retain(|entry| matches!(entry.kind, Kind::Dir) || !is_own(entry));
        self
    }

    /// Lists the shipped files that look like app files.
    pub fn other_app_files(&self, dir: &Path) -> Vec<String> {
        let looks_like_one = |entry: &&FileEntry| {
            let small = matches!(entry.kind, Kind::File { size, .. } if size <= APP_FILE_BYTES);
            small
                && Path::new(&entry.path).extension().is_some_and(|name| name == "toml")
                && fs::read_to_string(dir.join(&entry.path)).is_ok_and(|text| is_app_file(&text))
        };
        let found = self.manifest.entries.iter().filter(looks_like_one);
        found.map(|entry| entry.path.clone()).collect()
    }
}

impl Manifest {
    /// Returns whether these files are those of `stored` without its app file. `read` returns the text of a
    /// stored file.
    pub fn is_without_app_file(
        &self,
        stored: &Self,
        read: impl Fn(&FileEntry) -> Option<String>,
    ) -> bool {
        let mut ours = self.entries.iter().peekable();
        let mut more = Vec::new();
        for entry in &stored.entries {
            if ours.peek().is_some_and(|own| own.path == entry.path && own.kind == entry.kind) {
                ours.next();
            } else {
                more.push(entry);
            }
        }
        let small = |entry: &FileEntry| matches!(entry.kind, Kind::File { size, .. } if size <= APP_FILE_BYTES);
        let is_one =
            |entry: &&FileEntry| small(entry) && read(entry).is_some_and(|t| is_app_file(&t));
        ours.next().is_none() && !more.is_empty() && more.iter().all(is_one)
    }
}

fn is_app_file(text: &str) -> bool {
    AppFile::from_toml(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan;

    const FILE: &str = "app = \"web\"\n[run]\ncommand = [\"./web\"]\n";

    fn paths(scan: &Scan) -> Vec<&str> {
        scan.manifest.entries.iter().map(|entry| entry.path.as_str()).collect()
    }

    #[test]
    fn the_app_file_stays_and_others_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("deploy")).unwrap();
        for name in ["segue.toml", "staging.toml", "deploy/segue.toml"] {
            fs::write(at(name), FILE).unwrap();
        }
        fs::write(at("Cargo.toml"), "[package]\n").unwrap();
        let scanned = || scan(dir.path()).unwrap();
        let shipped = scanned().without_app_file(dir.path(), &at("segue.toml"));
        let rest = ["Cargo.toml", "deploy", "deploy/segue.toml", "staging.toml"];
        assert_eq!(paths(&shipped), rest);
        assert_eq!(shipped.other_app_files(dir.path()), ["deploy/segue.toml", "staging.toml"]);
        let shipped = scanned().without_app_file(dir.path(), &at("deploy/../staging.toml"));
        assert_eq!(paths(&shipped), ["Cargo.toml", "deploy", "deploy/segue.toml"]);
    }

    #[test]
    fn a_release_that_was_stored_with_its_app_file_is_known_again() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("segue.toml"), FILE).unwrap();
        fs::write(at("web"), "1").unwrap();
        let stored = scan(dir.path()).unwrap().manifest;
        let read = |entry: &FileEntry| fs::read_to_string(at(&entry.path)).ok();
        let now = scan(dir.path()).unwrap().without_app_file(dir.path(), &at("segue.toml"));
        assert!(now.manifest.is_without_app_file(&stored, read));
        assert!(!stored.is_without_app_file(&stored, read), "nothing is missing");
        // Another missing file is a change, and so is a file with other content.
        fs::write(at("config.toml"), "port = 1\n").unwrap();
        let with_config = scan(dir.path()).unwrap().manifest;
        assert!(!now.manifest.is_without_app_file(&with_config, read));
        fs::write(at("web"), "2").unwrap();
        let changed = scan(dir.path()).unwrap().without_app_file(dir.path(), &at("segue.toml"));
        assert!(!changed.manifest.is_without_app_file(&stored, read));
    }
}
