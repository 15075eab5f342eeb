//! The examples are good app files, and their folders can be shipped.

use std::fs;
use std::path::Path;

use wire::{AppFile, scan};

#[test]
fn every_example_can_be_deployed() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut count = 0;
    for entry in fs::read_dir(&examples).unwrap() {
        let folder = entry.unwrap().path();
        let Ok(text) = fs::read_to_string(folder.join("segue.toml")) else { continue };
        let file =
            AppFile::from_toml(&text).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let manifest = scan(&folder.join(&file.dir)).unwrap().manifest;
        assert!(manifest.entries.iter().any(|entry| entry.path == "segue.toml"));
        count += 1;
    }
    assert_eq!(count, 3);
}
