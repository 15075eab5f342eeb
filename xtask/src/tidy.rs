//! Checks the form of the source. Rejects files that are too long, files without a first line about their
//! purpose, words that must not stay, tests that wait for time to pass, one name for several types
//! (`names.rs`), types of too many fields (`fields.rs`), and doc comments without their subject
//! (`subjects.rs`).

use std::fs;
use std::path::{Path, PathBuf};

use crate::run::Done;
use crate::subjects;
use crate::{fields, names};

/// Maximum number of lines. A longer file is about more than one thing.
const LONGEST: usize = 500;

/// A test that has to wait for another process gives the reason on the line before, after these words. This
/// also applies to apps written in Python.
const WAITS: [&str; 2] = ["// it waits: ", "# it waits: "];

/// Fails on every violation.
pub(crate) fn check(root: &Path) -> Done {
    let mut files = Vec::new();
    for folder in ["crates", "xtask"] {
        collect(&root.join(folder), &mut files)?;
    }
    files.sort();
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        let name = file.strip_prefix(root).unwrap_or(&file);
        wrong.extend(subjects::complaints(name, &text));
        let mut found = complaints(name, &text);
        found.extend(fields::complaints(&text).unwrap_or_else(|unread| vec![unread]));
        wrong.extend(found.iter().map(|why| format!("{}{why}", name.display())));
    }
    wrong.extend(names::doubled(root)?);
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Done {
    let wrong = |error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn complaints(name: &Path, text: &str) -> Vec<String> {
    // The words are put together here, so that this file does not complain about itself.
    let never = [concat!("FIX", "ME"), concat!("TO", "DO"), concat!("to", "do!(")];
    let mut wrong = Vec::new();
    if !text.starts_with("//! ") {
        wrong.push(": does not say in its first line what it is for".to_owned());
    }
    let length = text.lines().count();
    if length > LONGEST {
        wrong.push(format!(": {length} lines, {LONGEST} at most"));
    }
    let whole_file = name.components().any(|part| part.as_os_str() == "tests")
        || name.to_string_lossy().ends_with("tests.rs");
    let mut in_tests = whole_file;
    let mut before = "";
    for (at, line) in text.lines().enumerate() {
        let at = at + 1;
        in_tests |= line.trim() == "#[cfg(test)]";
        for word in never.iter().filter(|word| line.contains(**word)) {
            wrong.push(format!(":{at}: {word}"));
        }
        let sleeps = line.contains(concat!("sleep", "("));
        let says_why = WAITS.iter().any(|words| before.trim_start().starts_with(words));
        if in_tests && sleeps && !says_why {
            wrong.push(format!(":{at}: a test sleeps"));
        }
        before = line;
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_house_is_tidy() {
        if let Err(why) = check(&crate::run::root()) {
            panic!("{why}");
        }
    }

    #[test]
    fn every_kind_of_mess_is_seen() {
        let name = Path::new("crates/a/src/lib.rs");
        let sleep = concat!("sleep", "(1)");
        let in_product = format!("//! A.\n{sleep}\n");
        assert_eq!(complaints(name, &in_product), Vec::<String>::new());
        let in_tests = format!("//! A.\n#[cfg(test)]\nmod tests {{\n{sleep}\n}}");
        assert_eq!(complaints(name, &in_tests), [":4: a test sleeps"]);
        let with_reason = format!("//! A.\n#[cfg(test)]\n// it waits: for a process\n{sleep}\n");
        assert_eq!(complaints(name, &with_reason), Vec::<String>::new());
        let in_python = format!("//! A.\n#[cfg(test)]\n# it waits: to be slow\n{sleep}\n");
        assert_eq!(complaints(name, &in_python), Vec::<String>::new());
        assert_eq!(complaints(name, &format!("x // {}", concat!("FIX", "ME"))).len(), 2);
        assert_eq!(complaints(name, &format!("//! A.{}", "\n".repeat(501))).len(), 1);
    }
}
