//! The format of a journal's file: its tables, and the checksums over their content.

use rusqlite::{Connection, Row, params};

use super::acked::AckMark;
use super::chain::{Chain, sum};
use crate::record::{Checkpoint, CheckpointPart, Seq};

/// The characters `sgue`, which distinguish a journal from other SQLite files.
pub(crate) const APPLICATION_ID: i32 = 0x7367_7565;
/// The version of the file format. A higher one is refused. In format 1, a checkpoint is one body. The first
/// checkpoint in parts changes the file to format 2.
pub(crate) const FORMAT: i32 = 2;
/// The format in which a checkpoint is one body.
pub(crate) const ONE_BODY: i32 = 1;

/// Returns whether this program reads a file of that format.
pub(crate) fn is_known(format: i64) -> bool {
    (i64::from(ONE_BODY)..=i64::from(FORMAT)).contains(&format)
}

const SCHEMA: &str = "
    CREATE TABLE record (
        seq INTEGER PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL, chain BLOB NOT NULL
    ) STRICT;
    CREATE TABLE meta (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        term INTEGER NOT NULL, head INTEGER NOT NULL, chain BLOB NOT NULL, sum BLOB NOT NULL
    ) STRICT;
";

const CHECKPOINT: &str = "
    CREATE TABLE checkpoint (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        seq INTEGER NOT NULL, chain BLOB NOT NULL, sum BLOB NOT NULL
    ) STRICT;
    CREATE TABLE part (
        key TEXT PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL
    ) STRICT;
";

/// Creates the tables of an empty journal.
pub(crate) fn create(transaction: &Connection) -> rusqlite::Result<()> {
    transaction.execute_batch(SCHEMA)?;
    transaction.execute_batch(CHECKPOINT)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)
}

/// The term, and the end of the records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    pub term: u64,
    pub head: Seq,
    pub chain: Chain,
}

impl Meta {
    /// Returns `None` if the checksum is wrong.
    pub fn read(db: &Connection) -> rusqlite::Result<Option<Self>> {
        db.query_row("SELECT term, head, chain, sum FROM meta", [], |row| {
            let meta =
                Self { term: row.get(0)?, head: Seq(row.get(1)?), chain: Chain(row.get(2)?) };
            Ok((row.get::<_, [u8; 32]>(3)? == meta.sum()).then_some(meta))
        })
    }

    pub fn write(&self, db: &Connection) -> rusqlite::Result<()> {
        db.prepare_cached("INSERT OR REPLACE INTO meta VALUES (1, ?, ?, ?, ?)")?
            .execute(params![self.term, self.head.0, self.chain.0, self.sum()])
            .map(drop)
    }

    fn sum(&self) -> [u8; 32] {
        sum(b"meta", &[&self.term.to_le_bytes(), &self.head.0.to_le_bytes(), &self.chain.0])
    }

    pub fn mark(&self) -> AckMark {
        AckMark { term: self.term, head: self.head, chain: self.chain }
    }
}

/// Replaces the checkpoint. A file with a checkpoint in one body gets the newest format.
pub(crate) fn write_checkpoint(
    transaction: &Connection,
    seq: Seq,
    chain: Chain,
    parts: &[CheckpointPart],
) -> rusqlite::Result<()> {
    if format(transaction)? == i64::from(ONE_BODY) {
        transaction.execute_batch("DROP TABLE checkpoint")?;
        transaction.execute_batch(CHECKPOINT)?;
        transaction.pragma_update(None, "user_version", FORMAT)?;
    }
    let mut parts: Vec<&CheckpointPart> = parts.iter().collect();
    parts.sort_by(|a, b| a.key.cmp(&b.key));
    transaction.execute("DELETE FROM part", [])?;
    let mut insert = transaction.prepare_cached("INSERT INTO part VALUES (?, ?, ?)")?;
    for part in &parts {
        insert.execute(params![part.key, part.version, part.body])?;
    }
    let sum = sum_of_parts(seq, chain, &parts);
    transaction
        .execute(
            "INSERT OR REPLACE INTO checkpoint VALUES (1, ?, ?, ?)",
            params![seq.0, chain.0, sum],
        )
        .map(drop)
}

/// Returns the version of the file's format.
pub(crate) fn format(db: &Connection) -> rusqlite::Result<i64> {
    db.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Returns the checkpoint of a file of that format.
pub(crate) fn read_checkpoint(db: &Connection, format: i64) -> rusqlite::Result<Found> {
    let found = if format == i64::from(ONE_BODY) { read_one_body(db) } else { read_parts(db) };
    match found {
        Err(rusqlite::Error::QueryReturnedNoRows) => Ok(Found::None),
        other => other,
    }
}

/// The state of a stored checkpoint.
#[derive(Debug)]
pub(crate) enum Found {
    /// No checkpoint was written.
    None,
    /// Its checksum is wrong.
    Damaged,
    /// The checkpoint is intact. The first record after it is chained to this checksum.
    Whole(Checkpoint, Chain),
}

fn read_one_body(db: &Connection) -> rusqlite::Result<Found> {
    let row = db.query_row("SELECT seq, chain, sum, version, body FROM checkpoint", [], |row| {
        let key = CheckpointPart::WHOLE.to_owned();
        Ok((read_head(row)?, CheckpointPart { key, version: row.get(3)?, body: row.get(4)? }))
    });
    let ((seq, chain, expected), part) = row?;
    let (number, version) = (seq.0.to_le_bytes(), part.version.to_le_bytes());
    let is_whole = sum(b"checkpoint", &[&number, &version, &part.body, &chain.0]) == expected;
    Ok(found(is_whole, Checkpoint { seq, parts: vec![part] }, chain))
}

fn read_parts(db: &Connection) -> rusqlite::Result<Found> {
    let head = db.query_row("SELECT seq, chain, sum FROM checkpoint", [], read_head);
    let (seq, chain, expected) = head?;
    let mut query = db.prepare("SELECT key, version, body FROM part ORDER BY key")?;
    let part = |row: &Row| {
        Ok(CheckpointPart { key: row.get(0)?, version: row.get(1)?, body: row.get(2)? })
    };
    let parts: Vec<CheckpointPart> = query.query_map([], part)?.collect::<rusqlite::Result<_>>()?;
    let is_whole = sum_of_parts(seq, chain, &parts.iter().collect::<Vec<_>>()) == expected;
    Ok(found(is_whole, Checkpoint { seq, parts }, chain))
}

fn read_head(row: &Row) -> rusqlite::Result<(Seq, Chain, [u8; 32])> {
    Ok((Seq(row.get(0)?), Chain(row.get(1)?), row.get(2)?))
}

fn found(is_whole: bool, checkpoint: Checkpoint, chain: Chain) -> Found {
    if is_whole { Found::Whole(checkpoint, chain) } else { Found::Damaged }
}

/// Returns the checksum of a checkpoint in parts, which also covers the start of the chain of later records.
fn sum_of_parts(seq: Seq, chain: Chain, parts: &[&CheckpointPart]) -> [u8; 32] {
    let (number, versions) = (seq.0.to_le_bytes(), parts.iter().map(|p| p.version.to_le_bytes()));
    let versions: Vec<[u8; 2]> = versions.collect();
    let mut all: Vec<&[u8]> = vec![&number, &chain.0];
    for (part, version) in parts.iter().zip(&versions) {
        all.extend([part.key.as_bytes(), version, &part.body]);
    }
    sum(b"checkpoint in parts", &all)
}
