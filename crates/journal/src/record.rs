//! Records to be written to a log, and records read back. Their bodies are opaque.

/// The number of a record, from 1 on, without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub u64);

/// A record to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    /// The version of the body's format.
    pub version: u16,
    /// Opaque bytes, returned to the caller unchanged.
    pub body: Vec<u8>,
}

/// A record that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// The record's number.
    pub seq: Seq,
    /// The version of the body's format.
    pub version: u16,
    /// The body as it was given.
    pub body: Vec<u8>,
}

/// One part of a checkpoint. A log may store each part separately, so that no single body has to hold all of
/// them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointPart {
    /// The key of the part within its checkpoint.
    pub key: String,
    /// The version of the body's format.
    pub version: u16,
    /// The body as it was given.
    pub body: Vec<u8>,
}

impl CheckpointPart {
    /// The key of the only part of a checkpoint written before checkpoints had parts.
    pub const WHOLE: &str = "";
}

/// A replacement for all records up to its own number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last record that it covers.
    pub seq: Seq,
    /// All parts, in order of their keys.
    pub parts: Vec<CheckpointPart>,
}

/// The content of an opened log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The last checkpoint, if there was one.
    pub checkpoint: Option<Checkpoint>,
    /// All records after the checkpoint, in order.
    pub records: Vec<StoredRecord>,
    /// Number of successful opens. It strictly grows, and is on the disk before it is returned.
    pub term: u64,
}

impl Recovered {
    /// Returns the number of the last record.
    pub fn head(&self) -> Seq {
        let checkpoint = self.checkpoint.as_ref().map(|checkpoint| checkpoint.seq);
        self.records.last().map(|record| record.seq).or(checkpoint).unwrap_or_default()
    }
}
