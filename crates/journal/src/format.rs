//! What a journal's file looks like: its tables, and the checksums over what is in them.

use rusqlite::{Connection, params};

use crate::acked::Mark;
use crate::record::{Chain, Checkpoint, Seq, sum};

/// `sgue`: tells a journal from other SQLite files.
pub(crate) const APPLICATION_ID: i32 = 0x7367_7565;
/// Counts the formats of the file; a higher one is refused.
pub(crate) const FORMAT: i32 = 1;

pub(crate) const SCHEMA: &str = "
    CREATE TABLE record (
        seq INTEGER PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL, chain BLOB NOT NULL
    ) STRICT;
    CREATE TABLE checkpoint (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        seq INTEGER NOT NULL, version INTEGER NOT NULL, body BLOB NOT NULL,
        chain BLOB NOT NULL, sum BLOB NOT NULL
    ) STRICT;
    CREATE TABLE meta (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        term INTEGER NOT NULL, head INTEGER NOT NULL, chain BLOB NOT NULL, sum BLOB NOT NULL
    ) STRICT;
";

/// The term, and where the records end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    pub term: u64,
    pub head: Seq,
    pub chain: Chain,
}

impl Meta {
    /// `None` if the checksum is wrong.
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

    pub fn mark(&self) -> Mark {
        Mark { term: self.term, head: self.head, chain: self.chain }
    }
}

/// The checksum of a checkpoint and of what the records after it are chained to.
pub(crate) fn checkpoint_sum(checkpoint: &Checkpoint, chain: Chain) -> [u8; 32] {
    let (seq, version) = (checkpoint.seq.0.to_le_bytes(), checkpoint.version.to_le_bytes());
    sum(b"checkpoint", &[&seq, &version, &checkpoint.body, &chain.0])
}
