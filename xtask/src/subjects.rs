//! Requires doc comments to name their subject: no paragraph begins with a word that stands for another one.

use std::path::Path;

/// Beginnings that leave the subject to be guessed.
const GUESSED: [&str; 6] = ["It", "See", "So", "The same", "They", "Those"];

/// Returns every comment of a file that does not name its subject.
pub(crate) fn complaints(name: &Path, text: &str) -> Vec<String> {
    let name = name.display();
    let why = |at| format!("{name}:{at}: a doc comment does not begin with its subject");
    unnamed(text).into_iter().map(why).collect()
}

/// Returns the lines on which a paragraph of a doc comment begins without its subject.
fn unnamed(text: &str) -> Vec<usize> {
    let mut begins = true;
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim_start();
        let comment = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        let said = comment.map(str::trim).filter(|said| !said.is_empty());
        if begins && said.is_some_and(is_guessed) {
            found.push(at + 1);
        }
        begins = said.is_none();
    }
    found
}

fn is_guessed(said: &str) -> bool {
    GUESSED.iter().any(|word| {
        let rest = said.strip_prefix(word);
        rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_that_does_not_name_its_subject_is_seen() {
        assert_eq!(unnamed("/// So many of them.\nconst A: u8 = 1;\n"), [1]);
        assert_eq!(unnamed("//! A.\n//!\n//! It does.\n"), [3]);
        assert_eq!(unnamed("struct A {\n    /// The same; of others.\n    a: u8,\n}\n"), [2]);
        let good = "/// Some of the sockets.\n/// It goes on with a second line.\n/// Itself.\n";
        assert_eq!(unnamed(good), Vec::<usize>::new());
        assert_eq!(unnamed("/// Itself.\n// It says why.\n"), Vec::<usize>::new());
    }

    #[test]
    fn a_comment_is_told_by_its_file_and_line() {
        let wrong = complaints(Path::new("crates/agent/src/lib.rs"), "//! It.\n");
        assert_eq!(wrong.len(), 1);
        assert!(wrong[0].starts_with("crates/agent/src/lib.rs:1: "), "{wrong:?}");
    }
}
