//! The tables, and the transactions on them. Calls are synchronous and wait for the disk. A file that was
//! not checked first is never opened.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, params};

use super::acked::{self, Acked};
use super::chain::Chain;
use super::check::{check, unreadable};
use super::error::OpenError;
use super::format::{self, Meta};
use super::options::JournalOptions;
use crate::record::{CheckpointPart, NewRecord, Recovered, Seq};

const PAGE_BYTES: u64 = 4096;
/// Number of free pages that the file keeps. Also the number of pages after which the write-ahead log is
/// checkpointed and restarted. Both are 1 MiB.
const RESERVE_PAGES: u64 = 256;

/// The failure of a transaction.
#[derive(Debug)]
pub(crate) enum WriteError {
    Full,
    NoSuchRecord {
        upto: Seq,
        first: Seq,
        last: Seq,
    },
    /// The last commit cannot be marked, so no write was tried.
    Unmarked(std::io::Error),
    Broken(rusqlite::Error),
}

impl From<rusqlite::Error> for WriteError {
    fn from(e: rusqlite::Error) -> Self {
        match e.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full,
            Some(_) | None => Self::Broken(e),
        }
    }
}

/// An open journal.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) db: Connection,
    pub(crate) acked: Acked,
    meta: Meta,
    fsync_delay: Duration,
    /// True if the mark could not be moved after the last commit.
    unmarked: bool,
}

impl Store {
    /// Checks and opens the file, and begins a new term. `make_room` is called when the disk is full, and
    /// returns whether another try makes sense.
    pub fn open(
        path: &Path,
        options: &JournalOptions,
        make_room: &mut dyn FnMut() -> bool,
    ) -> Result<(Self, Recovered), OpenError> {
        let io = |act| move |source| OpenError::Io { act, path: path.into(), source };
        if !path.try_exists().map_err(io("look for"))? {
            refuse_remains(path)?;
            create(path)?;
        }
        let checked = check(path)?;
        let sqlite = |act| move |source| OpenError::Sqlite { act, path: path.into(), source };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let mut db = Connection::open_with_flags(path, flags).map_err(sqlite("open"))?;
        configure(&db, options).map_err(|e| unreadable(path, e))?;

        let meta = Meta { term: checked.meta.term + 1, ..checked.meta };
        while let Err(e) = begin_term(&mut db, meta, options.fsync_delay) {
            let full = e.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull);
            if !(full && make_room()) {
                return Err(unreadable(path, e));
            }
        }
        let acked = Acked::open(path, meta.mark()).map_err(io("write the mark of"))?;
        let recovered =
            Recovered { checkpoint: checked.checkpoint, records: checked.records, term: meta.term };
        Ok((Self { db, acked, meta, fsync_delay: options.fsync_delay, unmarked: false }, recovered))
    }

    /// Writes all batches in one transaction. Returns the number of the last record of each.
    pub fn append(&mut self, batches: &[&[NewRecord]]) -> Result<Vec<Seq>, WriteError> {
        // Without marks, a later loss could go unnoticed. Nothing more is accepted until the mark can be
        // written.
        if self.unmarked {
            self.acked.write(self.meta.mark()).map_err(WriteError::Unmarked)?;
            self.unmarked = false;
        }
        let mut meta = self.meta;
        let mut ends = Vec::with_capacity(batches.len());
        let transaction = begin(&mut self.db)?;
        {
            let mut insert =
                transaction.prepare_cached("INSERT INTO record VALUES (?, ?, ?, ?)")?;
            for batch in batches {
                for record in *batch {
                    meta.head = Seq(meta.head.0 + 1);
                    meta.chain = meta.chain.next(meta.head, record.version, &record.body);
                    insert.execute(params![
                        meta.head.0,
                        record.version,
                        record.body,
                        meta.chain.0
                    ])?;
                }
                ends.push(meta.head);
            }
        }
        meta.write(&transaction)?;
        commit(transaction, self.fsync_delay)?;
        self.meta = meta;
        // The commit is on the disk whether the mark is or not, so the batches are acknowledged.
        self.unmarked = self.acked.write(meta.mark()).is_err();
        Ok(ends)
    }

    /// Replaces all records up to `upto` with `parts`, and deletes them.
    pub fn checkpoint(&mut self, upto: Seq, parts: &[CheckpointPart]) -> Result<(), WriteError> {
        let (first, before) = self.last_checkpoint()?;
        if upto < first || upto > self.meta.head {
            return Err(WriteError::NoSuchRecord { upto, first, last: self.meta.head });
        }
        let chain = match before {
            Some(chain) if upto == first => chain,
            Some(_) | None if upto.0 == 0 => Chain::START,
            Some(_) | None => {
                self.db.query_row("SELECT chain FROM record WHERE seq = ?", [upto.0], |row| {
                    row.get(0).map(Chain)
                })?
            }
        };
        let transaction = begin(&mut self.db)?;
        format::write_checkpoint(&transaction, upto, chain, parts)?;
        transaction.execute("DELETE FROM record WHERE seq <= ?", [upto.0])?;
        commit(transaction, self.fsync_delay)?;
        // Shrinking the file is not part of the guarantee. If it fails, the next checkpoint does it.
        let _ = self.shrink();
        Ok(())
    }

    fn last_checkpoint(&self) -> rusqlite::Result<(Seq, Option<Chain>)> {
        let row = self.db.query_row("SELECT seq, chain FROM checkpoint", [], |row| {
            Ok((Seq(row.get(0)?), Some(Chain(row.get(1)?))))
        });
        match row {
            Err(rusqlite::Error::QueryReturnedNoRows) => Ok((Seq(0), None)),
            other => other,
        }
    }

    /// Returns free pages to the disk, except for a reserve. Pages that the journal owns cannot be taken by
    /// other programs. On a full disk, records go into this reserve and over the old write-ahead log.
    fn shrink(&self) -> rusqlite::Result<()> {
        let free: u64 = self.db.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
        let surplus = free.saturating_sub(RESERVE_PAGES);
        if surplus > 0 {
            // The pragma frees one page per step, and has to be stepped to its end.
            let mut vacuum = self.db.prepare(&format!("PRAGMA incremental_vacuum({surplus})"))?;
            let mut steps = vacuum.query([])?;
            while steps.next()?.is_some() {}
        }
        self.db.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))
    }
}

/// Refuses files left beside a journal that is gone. They belonged to it, and a new journal must not use
/// them.
fn refuse_remains(path: &Path) -> Result<(), OpenError> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let beside = [log.into(), acked::path_of(path)];
    match beside.into_iter().find(|remains| datadir::is_there(remains)) {
        None => Ok(()),
        Some(remains) => {
            let what = format!("it is missing, but {} is there", remains.display());
            Err(OpenError::Damaged { path: path.into(), what, source: None })
        }
    }
}

/// Creates an empty journal under another name first, so that a crash leaves no partial one behind.
fn create(path: &Path) -> Result<(), OpenError> {
    let io = |act| move |source| OpenError::Io { act, path: path.into(), source };
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let temporary = Path::new(&name);
    for suffix in ["", "-journal", "-wal"] {
        let mut rest = name.clone();
        rest.push(suffix);
        match std::fs::remove_file(&rest) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(io("clear the way for")(e));
            }
            Ok(()) | Err(_) => {}
        }
    }
    fill(temporary).map_err(|source| {
        let path = path.to_path_buf();
        match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => OpenError::Full { path },
            Some(_) | None => OpenError::Sqlite { act: "create", path, source },
        }
    })?;
    datadir::set_mode(temporary, 0o600).map_err(io("protect"))?;
    std::fs::rename(temporary, path).map_err(io("name"))?;
    datadir::sync_parent(path).map_err(io("make durable"))
}

fn fill(path: &Path) -> rusqlite::Result<()> {
    let flags = OpenFlags::default() | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let mut db = Connection::open_with_flags(path, flags)?;
    db.pragma_update(None, "page_size", PAGE_BYTES)?;
    db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    let transaction = db.transaction()?;
    format::create(&transaction)?;
    Meta { term: 0, head: Seq(0), chain: Chain::START }.write(&transaction)?;
    transaction.commit()?;
    db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    db.close().map_err(|(_, e)| e)
}

fn configure(db: &Connection, options: &JournalOptions) -> rusqlite::Result<()> {
    // In exclusive mode, a second process is refused, and SQLite needs no shared memory file.
    db.query_row("PRAGMA locking_mode = EXCLUSIVE", [], |_| Ok(()))?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "cache_size", -512)?;
    db.pragma_update(None, "wal_autocheckpoint", RESERVE_PAGES)?;
    db.pragma_update(None, "journal_size_limit", RESERVE_PAGES * PAGE_BYTES)?;
    let pages = options.max_bytes / PAGE_BYTES;
    db.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
}

fn begin_term(db: &mut Connection, meta: Meta, fsync_delay: Duration) -> rusqlite::Result<()> {
    let transaction = begin(db)?;
    meta.write(&transaction)?;
    commit(transaction, fsync_delay)
}

fn begin(db: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    db.transaction_with_behavior(TransactionBehavior::Immediate)
}

/// Commits the transaction. This is the only place that waits for the disk.
fn commit(transaction: Transaction<'_>, fsync_delay: Duration) -> rusqlite::Result<()> {
    if !fsync_delay.is_zero() {
        std::thread::sleep(fsync_delay);
    }
    transaction.commit()
}
