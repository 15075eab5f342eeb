//! A doc comment names its subject: its paragraphs do not begin with a word that stands for another one.

use std::path::Path;

/// Crates that still have such comments. This list only gets shorter.
const LEFT: [&str; 5] = ["control", "journal", "model", "rollout", "testkit"];

/// Beginnings that leave the subject to be guessed.
const GUESSED: [&str; 6] = ["It", "See", "So", "The same", "They", "Those"];

/// What the comments of each file have shown so far.
#[derive(Default)]
pub(crate) struct Subjects {
    wrong: Vec<String>,
    still_left: Vec<&'static str>,
}

impl Subjects {
    /// Looks at the doc comments of one file.
    pub(crate) fn look(&mut self, name: &Path, text: &str) {
        let left = LEFT.into_iter().find(|left| name.starts_with(Path::new("crates").join(left)));
        let lines = unnamed(text);
        match left {
            Some(left) if !lines.is_empty() => self.still_left.push(left),
            Some(_) => {}
            None => {
                let name = name.display();
                let why =
                    |at| format!("{name}:{at}: a doc comment does not begin with its subject");
                self.wrong.extend(lines.into_iter().map(why));
            }
        }
    }

    /// Returns every comment without its subject, and every crate that is said to be left and is not.
    pub(crate) fn complaints(self) -> Vec<String> {
        let done = LEFT.iter().filter(|left| !self.still_left.contains(left));
        let done = done.map(|left| {
            format!(
                "crates/{left}: all doc comments begin with their subject: take it off the list"
            )
        });
        self.wrong.into_iter().chain(done).collect()
    }
}

/// The lines on which a paragraph of a doc comment begins without its subject.
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
    fn the_list_of_crates_only_gets_shorter() {
        let mut subjects = Subjects::default();
        subjects.look(Path::new("crates/agent/src/lib.rs"), "//! It.\n");
        for left in &LEFT[1..] {
            let name = Path::new("crates").join(left).join("src/lib.rs");
            subjects.look(&name, "//! A.\n//!\n//! They.\n");
        }
        let wrong = subjects.complaints();
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(wrong[0].starts_with("crates/agent/src/lib.rs:1: "), "{wrong:?}");
        assert!(wrong[1].starts_with(&format!("crates/{}: ", LEFT[0])), "{wrong:?}");
    }
}
