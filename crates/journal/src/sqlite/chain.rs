//! The checksums of records. Each covers the previous one, so that a changed, swapped or missing record is
//! noticed.

use crate::record::Seq;

/// A checksum over a record and, through its predecessor's checksum, over all records before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chain(pub [u8; 32]);

impl Chain {
    /// The value that the first record is chained to.
    pub const START: Self = Self([0; 32]);

    /// Returns the checksum of the record that follows this one.
    pub fn next(self, seq: Seq, version: u16, body: &[u8]) -> Self {
        Self(sum(b"record", &[&self.0, &seq.0.to_le_bytes(), &version.to_le_bytes(), body]))
    }
}

/// Returns a checksum over parts. `what` names the kind of data. The length of each part is covered too, so
/// that no two lists of parts look alike.
pub(crate) fn sum(what: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in std::iter::once(&what).chain(parts) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chain(records: &[(u16, Vec<u8>)]) -> Chain {
        (1..).zip(records).fold(Chain::START, |chain, (seq, (version, body))| {
            chain.next(Seq(seq), *version, body)
        })
    }

    proptest! {
        #[test]
        fn any_change_to_any_record_changes_the_last_checksum(
            records in prop::collection::vec((any::<u16>(), prop::collection::vec(any::<u8>(), 1..40)), 2..8),
            victim in any::<prop::sample::Index>(),
            byte in any::<prop::sample::Index>(),
            flip in 1..=255_u8,
        ) {
            let before = chain(&records);
            let (at, mut changed) = (victim.index(records.len()), records.clone());
            let body = &mut changed[at].1;
            let place = byte.index(body.len());
            body[place] ^= flip;
            prop_assert_ne!(before, chain(&changed));

            let mut shorter = records.clone();
            shorter.remove(at);
            prop_assert_ne!(before, chain(&shorter));

            let mut swapped = records.clone();
            swapped.swap(at, (at + 1) % records.len());
            prop_assert!(swapped == records || before != chain(&swapped));
        }
    }
}
