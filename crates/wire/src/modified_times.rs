//! The modification times of a release's files. An app derives `ETag`, `Last-Modified` and the names of
//! compiled files from them. Therefore unchanged content keeps its time from release to release, and changed
//! content never gets an earlier time. Reads no clock.

use std::collections::BTreeMap;

use crate::manifest::{FileEntry, Kind, Manifest};

impl Manifest {
    /// Returns this manifest with the modification times that its files get after `before`, the release that
    /// was live when the files were uploaded. A path with the same content as in `before` keeps that time. A
    /// path with other content gets the client's time, or one second more than in `before`, whichever is
    /// later. A new path gets the client's time.
    #[must_use]
    pub fn timed_after(mut self, before: Option<&Self>) -> Self {
        let before: BTreeMap<&str, &FileEntry> = before
            .iter()
            .flat_map(|before| &before.entries)
            .map(|entry| (entry.path.as_str(), entry))
            .collect();
        for entry in &mut self.entries {
            if let Some(old) = before.get(entry.path.as_str()) {
                entry.modified = match (old.modified, entry.modified) {
                    (Some(old_time), _) if same_content(old, entry) => Some(old_time),
                    (Some(old_time), Some(time)) => Some(time.max(old_time + 1)),
                    (Some(old_time), None) if is_file(entry) => Some(old_time + 1),
                    (_, time) => time,
                };
            }
        }
        self
    }
}

fn is_file(entry: &FileEntry) -> bool {
    matches!(entry.kind, Kind::File { .. })
}

fn same_content(one: &FileEntry, other: &FileEntry) -> bool {
    match (&one.kind, &other.kind) {
        (Kind::File { digest: one, .. }, Kind::File { digest: other, .. }) => one == other,
        (Kind::File { .. } | Kind::Symlink { .. } | Kind::Dir, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str, modified: Option<u64>) -> FileEntry {
        let digest = model::Digest::from_bytes(*blake3::hash(text.as_bytes()).as_bytes());
        let kind = Kind::File { digest, size: text.len() as u64, executable: false };
        FileEntry { path: path.to_owned(), kind, modified }
    }

    fn times(manifest: &Manifest) -> Vec<Option<u64>> {
        manifest.entries.iter().map(|entry| entry.modified).collect()
    }

    #[test]
    fn two_fresh_clones_of_the_same_files_have_the_same_times() {
        let clone = |at| Manifest { entries: vec![file("a", "1", at), file("b", "2", at)] };
        let (first, second) = (clone(Some(100)), clone(Some(200)));
        assert_eq!(first.digest(), second.digest(), "they are the same release");
        assert_ne!(first.name(), second.name());
        assert_eq!(second.timed_after(Some(&first)), first);
    }

    #[test]
    fn another_content_of_equal_size_and_time_is_later() {
        let build = |text: &str| Manifest { entries: vec![file("app.js", text, Some(1))] };
        let first = build("1").timed_after(None);
        let second = build("2").timed_after(Some(&first));
        let third = build("1").timed_after(Some(&second));
        assert_eq!(
            [times(&first), times(&second), times(&third)],
            [[Some(1)], [Some(2)], [Some(3)]]
        );
        // The client's time counts if it is later.
        let late = Manifest { entries: vec![file("app.js", "4", Some(90))] };
        assert_eq!(times(&late.timed_after(Some(&third))), [Some(90)]);
    }

    #[test]
    fn a_release_without_times_is_taken_as_it_is() {
        let old = Manifest { entries: vec![file("a", "1", None), file("b", "1", None)] };
        let new = Manifest { entries: vec![file("a", "1", Some(5)), file("c", "1", Some(6))] };
        assert_eq!(times(&new.clone().timed_after(Some(&old))), [Some(5), Some(6)]);
        // A client that sends times, followed by one that sends none.
        let bare = Manifest { entries: vec![file("a", "2", None), file("d", "1", None)] };
        assert_eq!(times(&bare.timed_after(Some(&new))), [Some(6), None]);
        assert_eq!(old.name(), old.digest(), "lists that earlier versions stored keep their name");
    }
}
