//! What is written to a log, and what is read back. Never looks into a body.

/// The number of a record, from 1 on, without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub u64);

/// A record to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    /// The version of the body's format.
    pub version: u16,
    /// Whatever the caller wants back.
    pub body: Vec<u8>,
}

/// A record that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its number.
    pub seq: Seq,
    /// The version of the body's format.
    pub version: u16,
    /// As it was given.
    pub body: Vec<u8>,
}

/// One part of a checkpoint. A log may store each part by itself, so that none has to hold everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointPart {
    /// Names the part among those of its checkpoint.
    pub key: String,
    /// The version of the body's format.
    pub version: u16,
    /// As it was given.
    pub body: Vec<u8>,
}

impl CheckpointPart {
    /// The key of the one part of a checkpoint that was written before checkpoints had parts.
    pub const WHOLE: &str = "";
}

/// Stands for all records up to its own number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last record it stands for.
    pub seq: Seq,
    /// All of them, in order of their keys.
    pub parts: Vec<CheckpointPart>,
}

/// What an opened log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The last checkpoint, if there was one.
    pub checkpoint: Option<Checkpoint>,
    /// All records after it, in order.
    pub records: Vec<StoredRecord>,
    /// Counts the successful opens: strictly growing, and on the disk before it is returned.
    pub term: u64,
}

impl Recovered {
    /// The number of the last record.
    pub fn head(&self) -> Seq {
        let checkpoint = self.checkpoint.as_ref().map(|checkpoint| checkpoint.seq);
        self.records.last().map(|record| record.seq).or(checkpoint).unwrap_or_default()
    }
}
