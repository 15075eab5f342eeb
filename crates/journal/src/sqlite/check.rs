//! Checks a journal without changing it: whether the file is a journal, whether this program can read it,
//! and whether it is intact. Opens the file read-only, and writes neither to it nor to its write-ahead log.

use std::io::Read;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::acked;
use super::chain::Chain;
use super::error::OpenError;
use super::format::{self, APPLICATION_ID, FORMAT, Found, Meta};
use crate::record::{Checkpoint, Seq, StoredRecord};

/// The content of a journal that was found intact.
#[derive(Debug)]
pub(crate) struct Checked {
    pub meta: Meta,
    pub checkpoint: Option<Checkpoint>,
    pub records: Vec<StoredRecord>,
}

/// Reads and checks everything. The file must exist.
pub(crate) fn check(path: &Path) -> Result<Checked, OpenError> {
    refuse_other_files(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let db = Connection::open_with_flags(path, flags).map_err(|e| unreadable(path, e))?;
    let checked = read(&db, path)?;
    compare_with_mark(path, &checked)?;
    Ok(checked)
}

/// Refuses an empty or truncated file, which SQLite would take for an empty database.
fn refuse_other_files(path: &Path) -> Result<(), OpenError> {
    let mut header = [0; 16];
    let read = datadir::open(path).and_then(|mut file| file.read_exact(&mut header));
    match read {
        Ok(()) if &header == b"SQLite format 3\0" => Ok(()),
        Ok(()) => Err(damaged(path, "the header is not SQLite's")),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(damaged(path, "the file is cut off"))
        }
        Err(source) => Err(OpenError::Io { act: "read", path: path.into(), source }),
    }
}

fn read(db: &Connection, path: &Path) -> Result<Checked, OpenError> {
    let sqlite = |e| unreadable(path, e);
    let application = db.pragma_query_value(None, "application_id", |row| row.get::<_, i64>(0));
    let (application, format) = (application.map_err(sqlite)?, format::format(db).map_err(sqlite)?);
    if application != i64::from(APPLICATION_ID) {
        return Err(OpenError::Foreign { path: path.into() });
    }
    if format > i64::from(FORMAT) {
        let known = i64::from(FORMAT);
        return Err(OpenError::Newer { path: path.into(), found: format, known });
    }
    if !format::is_known(format) {
        return Err(damaged(path, &format!("there has never been a format {format}")));
    }
    let verdict: String =
        db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(sqlite)?;
    if verdict != "ok" {
        return Err(damaged(path, &verdict));
    }
    let meta = Meta::read(db).map_err(sqlite)?.ok_or_else(|| {
        damaged(path, "the term or the number of the last record has a wrong checksum")
    })?;
    let (checkpoint, start) = match format::read_checkpoint(db, format).map_err(sqlite)? {
        Found::None => (None, (Seq(0), Chain::START)),
        Found::Damaged => return Err(damaged(path, "the checkpoint has a wrong checksum")),
        Found::Whole(checkpoint, chain) => {
            let start = (checkpoint.seq, chain);
            (Some(checkpoint), start)
        }
    };
    let records = read_records(db, path, start, meta)?;
    Ok(Checked { meta, checkpoint, records })
}

fn read_records(
    db: &Connection,
    path: &Path,
    (mut last, mut chain): (Seq, Chain),
    meta: Meta,
) -> Result<Vec<StoredRecord>, OpenError> {
    let sqlite = |e| unreadable(path, e);
    let mut query =
        db.prepare("SELECT seq, version, body, chain FROM record ORDER BY seq").map_err(sqlite)?;
    let mut rows = query.query([]).map_err(sqlite)?;
    let mut records = Vec::new();
    while let Some(row) = rows.next().map_err(sqlite)? {
        let take = || -> rusqlite::Result<(StoredRecord, Chain)> {
            let seq = Seq(row.get(0)?);
            let record = StoredRecord { seq, version: row.get(1)?, body: row.get(2)? };
            Ok((record, Chain(row.get(3)?)))
        };
        let (record, found) = take().map_err(sqlite)?;
        if record.seq.0 != last.0 + 1 {
            return Err(damaged(path, &format!("record {} is missing", last.0 + 1)));
        }
        chain = chain.next(record.seq, record.version, &record.body);
        if chain != found {
            return Err(damaged(path, &format!("record {} has a wrong checksum", record.seq.0)));
        }
        last = record.seq;
        records.push(record);
    }
    if (last, chain) == (meta.head, meta.chain) {
        Ok(records)
    } else {
        let what = format!("the records end at {}, they should at {}", last.0, meta.head.0);
        Err(damaged(path, &what))
    }
}

/// Compares the journal with its mark. A journal that is behind the mark has lost acknowledged records.
fn compare_with_mark(path: &Path, checked: &Checked) -> Result<(), OpenError> {
    let mark = match acked::read(path) {
        Ok(Some(mark)) => mark,
        // A copy restored from a backup has no mark.
        Ok(None) => return Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::InvalidData => {
            let name = acked::path_of(path);
            return Err(damaged(path, &format!("{} has a wrong checksum", name.display())));
        }
        Err(source) => {
            return Err(OpenError::Io { act: "read", path: acked::path_of(path), source });
        }
    };
    let meta = checked.meta;
    if meta.head < mark.head || meta.term < mark.term {
        let what = format!(
            "it ends at record {} of term {}, but record {} of term {} had been acknowledged; \
             the end of its write-ahead log is damaged or missing",
            meta.head.0, meta.term, mark.head.0, mark.term
        );
        return Err(damaged(path, &what));
    }
    if meta.head == mark.head && meta.chain != mark.chain {
        let what = format!("record {} is not the one that had been acknowledged", mark.head.0);
        return Err(damaged(path, &what));
    }
    Ok(())
}

fn damaged(path: &Path, what: &str) -> OpenError {
    OpenError::Damaged { path: path.into(), what: what.to_owned(), source: None }
}

/// Returns the error for a file that SQLite could not read: in use, damaged, or inaccessible.
pub(crate) fn unreadable(path: &Path, source: rusqlite::Error) -> OpenError {
    use rusqlite::ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, PermissionDenied, SystemIoFailure,
    };
    let path = path.to_path_buf();
    match source.sqlite_error_code() {
        Some(DatabaseBusy | DatabaseLocked) => OpenError::InUse { path },
        Some(DiskFull) => OpenError::Full { path },
        Some(CannotOpen | PermissionDenied | SystemIoFailure) => {
            OpenError::Sqlite { act: "read", path, source }
        }
        // A missing table or a text in place of a number means damage.
        Some(_) | None => OpenError::Damaged {
            path,
            what: "SQLite cannot read it".to_owned(),
            source: Some(source),
        },
    }
}
