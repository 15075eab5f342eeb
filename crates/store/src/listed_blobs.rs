//! Remembers which contents some lists of files name. Hosts ask for one content after another of the same lists,
//! and to read a list takes time in proportion to its length.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use model::{AppName, Digest};

/// The largest number of contents that are remembered, of all lists together. One list is always remembered,
/// whatever its length.
const MOST: usize = 400_000;

/// The lists that were asked about last.
#[derive(Debug, Default)]
pub(crate) struct ListedBlobs(Mutex<VecDeque<Listed>>);

/// The contents that one list names. A list never changes, since its digest names it.
#[derive(Debug)]
struct Listed {
    app: AppName,
    list: Digest,
    blobs: Arc<BTreeSet<Digest>>,
}

impl ListedBlobs {
    /// Returns the contents that a list names, from memory or else from `read`. Returns `None` if `read` does.
    pub fn of(
        &self,
        app: &AppName,
        list: Digest,
        read: impl FnOnce() -> Option<BTreeSet<Digest>>,
    ) -> Option<Arc<BTreeSet<Digest>>> {
        if let Some(known) = self.take(app, list) {
            return Some(self.keep(known));
        }
        // Others may read the same list meanwhile; nobody waits for anybody.
        let blobs = Arc::new(read()?);
        Some(self.keep(Listed { app: app.clone(), list, blobs }))
    }

    fn take(&self, app: &AppName, list: Digest) -> Option<Listed> {
        let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = lists.iter().position(|known| known.list == list && known.app == *app)?;
        lists.remove(at)
    }

    /// Remembers this list as the last, and forgets those that do not fit.
    fn keep(&self, listed: Listed) -> Arc<BTreeSet<Digest>> {
        let blobs = Arc::clone(&listed.blobs);
        let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lists.retain(|known| (&known.app, known.list) != (&listed.app, listed.list));
        lists.push_back(listed);
        while lists.len() > 1 && lists.iter().map(|known| known.blobs.len()).sum::<usize>() > MOST {
            lists.pop_front();
        }
        blobs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: usize) -> Digest {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Digest::from_bytes(bytes)
    }

    #[test]
    fn the_lists_that_were_asked_about_last_are_remembered_within_a_bound() {
        let lists = ListedBlobs::default();
        let app: AppName = "web".parse().unwrap();
        let other: AppName = "other".parse().unwrap();
        let read = |app: &AppName, list: usize, length: usize| {
            let mut was_read = false;
            let blobs = lists.of(app, digest(list), || {
                was_read = true;
                Some((0..length).map(digest).collect())
            });
            assert_eq!(blobs.unwrap().len(), length);
            was_read
        };
        assert!(read(&app, 1, 150_000) && read(&app, 2, 150_000));
        assert!(!read(&app, 1, 150_000) && !read(&app, 2, 150_000));
        assert!(read(&other, 1, 3), "an app has no list of another");
        assert!(!read(&app, 1, 150_000));
        // The one that nobody has asked about for the longest time is forgotten.
        assert!(read(&app, 3, 150_000) && !read(&app, 1, 150_000) && read(&app, 2, 150_000));
        assert!(read(&app, 4, MOST + 1) && !read(&app, 4, MOST + 1));
        assert!(read(&app, 1, 150_000));
        assert!(lists.of(&app, digest(9), || None).is_none());
    }
}
