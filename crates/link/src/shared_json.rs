//! A value that many members get: written as JSON once, whoever sends it first.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

/// A value with its JSON. Cheap to clone; all clones share both.
pub struct SharedJson<T>(Arc<Written<T>>);

struct Written<T> {
    value: Arc<T>,
    json: OnceLock<Box<RawValue>>,
}

impl<T> SharedJson<T> {
    /// Returns the value by itself.
    pub fn value(&self) -> &Arc<T> {
        &self.0.value
    }
}

impl<T> From<Arc<T>> for SharedJson<T> {
    fn from(value: Arc<T>) -> Self {
        Self(Arc::new(Written { value, json: OnceLock::new() }))
    }
}

impl<T: Default> Default for SharedJson<T> {
    fn default() -> Self {
        Arc::<T>::default().into()
    }
}

impl<T> Clone for SharedJson<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for SharedJson<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: fmt::Debug> fmt::Debug for SharedJson<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.value.fmt(f)
    }
}

impl<T: PartialEq> PartialEq for SharedJson<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.value == other.0.value
    }
}

impl<T: Serialize> Serialize for SharedJson<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Written { value, json } = &*self.0;
        if json.get().is_none() {
            let written = to_raw_value(value).map_err(S::Error::custom)?;
            // Somebody else may have written the same meanwhile.
            let _same = json.set(written);
        }
        json.get().serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for SharedJson<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(|value| Arc::new(value).into())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    static WRITTEN: AtomicU32 = AtomicU32::new(0);

    #[derive(Debug, PartialEq, Deserialize)]
    struct Counted(u32);

    impl Serialize for Counted {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            WRITTEN.fetch_add(1, Ordering::Relaxed);
            self.0.serialize(serializer)
        }
    }

    #[test]
    fn it_is_written_once_and_read_like_the_value() {
        let one = SharedJson::from(Arc::new(Counted(7)));
        let texts: Vec<String> =
            (0..3).map(|_| serde_json::to_string(&one.clone()).expect("it is written")).collect();
        assert_eq!(texts, ["7", "7", "7"]);
        assert_eq!(WRITTEN.load(Ordering::Relaxed), 1);
        let read: SharedJson<Counted> = serde_json::from_str("7").expect("it is read");
        assert_eq!(read, one);
    }
}
