//! What a journal gives back, what it refuses, and what it costs on the disk.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use journal::{AppendError, Journal, NewRecord, OpenError, Options, Recovered, Room, Seq};

fn record(text: &str) -> NewRecord {
    NewRecord { version: 3, body: text.as_bytes().to_vec() }
}

fn append(journal: &Journal, batch: Vec<NewRecord>) -> Result<Seq, AppendError> {
    let (tell, outcome) = mpsc::channel();
    journal.append(batch, move |o| tell.send(o).unwrap());
    outcome.recv().unwrap()
}

fn checkpoint(journal: &Journal, upto: u64, body: &str) -> Result<(), AppendError> {
    let (tell, outcome) = mpsc::channel();
    journal.checkpoint(Seq(upto), 1, body.into(), move |o| tell.send(o).unwrap());
    outcome.recv().unwrap()
}

fn open(path: &Path) -> (Journal, Recovered) {
    Journal::open(path, Options::default()).unwrap()
}

fn texts(recovered: &Recovered) -> Vec<(u64, String)> {
    let text = |body: &[u8]| String::from_utf8(body.to_vec()).unwrap();
    recovered.records.iter().map(|r| (r.seq.0, text(&r.body))).collect()
}

/// All files of a folder but SQLite's shared memory, which holds nothing.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.to_string_lossy().ends_with("-shm"))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

/// The files of a journal as a kill leaves them: the write-ahead log is not folded in.
fn as_left_by_a_kill() -> BTreeMap<String, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(&folder.path().join("journal.db"));
    for n in 0..8 {
        append(
            &journal,
            vec![record(&format!("first {n}")), record("and a longer text ".repeat(90).as_str())],
        )
        .unwrap();
    }
    checkpoint(&journal, 6, "six").unwrap();
    for n in 0..5 {
        append(&journal, vec![record(&format!("second {n}"))]).unwrap();
    }
    files(folder.path())
        .into_iter()
        .map(|(path, bytes)| (path.file_name().unwrap().to_str().unwrap().to_owned(), bytes))
        .filter(|(name, _)| name != "ballast")
        .collect()
}

fn lay_out(files: &BTreeMap<String, Vec<u8>>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn without_ballast() -> Options {
    Options { ballast_bytes: 0, ..Options::default() }
}

#[test]
fn a_reopened_journal_gives_back_what_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let (journal, recovered) = open(&path);
    assert_eq!(recovered, Recovered { checkpoint: None, records: vec![], term: 1 });
    assert_eq!(append(&journal, vec![record("a"), record("b")]).unwrap(), Seq(2));
    assert_eq!(append(&journal, vec![record("c")]).unwrap(), Seq(3));
    drop(journal);

    let (journal, recovered) = open(&path);
    assert_eq!(recovered.term, 2);
    assert_eq!(recovered.records[0].version, 3);
    assert_eq!(texts(&recovered), [(1, "a".into()), (2, "b".into()), (3, "c".into())]);
    checkpoint(&journal, 2, "a and b").unwrap();
    assert_eq!(append(&journal, vec![record("d")]).unwrap(), Seq(4));
    drop(journal);

    let (journal, recovered) = open(&path);
    assert_eq!(recovered.term, 3);
    let found = recovered.checkpoint.clone().unwrap();
    assert_eq!((found.seq, found.body), (Seq(2), b"a and b".to_vec()));
    assert_eq!(texts(&recovered), [(3, "c".into()), (4, "d".into())]);
    checkpoint(&journal, 4, "all").unwrap();
    checkpoint(&journal, 4, "all again").unwrap();
    let refused = checkpoint(&journal, 5, "more than there is").unwrap_err();
    assert!(matches!(refused, AppendError::NoSuchRecord { upto: 5, first: 4, last: 4 }));
    assert_eq!(append(&journal, vec![record("e")]).unwrap(), Seq(5));
    drop(journal);

    let (_journal, recovered) = open(&path);
    assert_eq!(recovered.checkpoint.clone().unwrap().body, b"all again");
    assert_eq!(texts(&recovered), [(5, "e".into())]);
}

#[test]
fn many_batches_at_once_keep_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let (journal, _) = open(&path);
    let (tell, outcomes) = mpsc::channel();
    for n in 0..500 {
        let tell = tell.clone();
        journal.append(vec![record(&n.to_string())], move |o| tell.send(o.unwrap()).unwrap());
    }
    let acknowledged: Vec<_> = outcomes.iter().take(500).map(|seq| seq.0).collect();
    assert_eq!(acknowledged, (1..=500).collect::<Vec<_>>());
    drop(journal);
    let wanted: Vec<_> = (0..500).map(|n| (n + 1, n.to_string())).collect();
    assert_eq!(texts(&open(&path).1), wanted);
}

/// A changed byte is either noticed, and then nothing is touched; or it lies where nothing is kept,
/// and then nothing is lost.
#[test]
fn a_damaged_byte_anywhere_is_refused_or_harmless() {
    let whole = as_left_by_a_kill();
    assert!(whole.contains_key("journal.db-wal"), "the log is part of the test");
    let sound = Journal::open(&lay_out(&whole).path().join("journal.db"), without_ballast());
    let sound = sound.unwrap().1;
    let mut refused = BTreeMap::<&str, usize>::new();
    for (name, bytes) in &whole {
        // Odd, so that every kind of place is met; the mark is short and tried byte by byte.
        let stride = (bytes.len() / 150) | 1;
        for at in (0..bytes.len()).step_by(stride) {
            let mut damaged = whole.clone();
            damaged.get_mut(name).unwrap()[at] ^= 0x41;
            let folder = lay_out(&damaged);
            let before = files(folder.path());
            match Journal::open(&folder.path().join("journal.db"), without_ballast()) {
                Ok((_, recovered)) => assert!(recovered == sound, "{name} at {at}"),
                Err(e) => {
                    assert!(e.to_string().contains("hint:"), "{e}");
                    assert!(files(folder.path()) == before, "{name} at {at}: {e}");
                    *refused.entry(name).or_default() += 1;
                }
            }
        }
    }
    for name in whole.keys() {
        assert!(refused.get(name.as_str()).is_some_and(|n| *n >= 20), "{name}: {refused:?}");
    }
}

#[test]
fn a_missing_or_cut_log_is_refused() {
    let whole = as_left_by_a_kill();
    // The log begins anew with every checkpoint: what was acknowledged since is at its beginning.
    for length in [None, Some(0), Some(31), Some(4_000), Some(10_000)] {
        let mut damaged = whole.clone();
        match length {
            None => drop(damaged.remove("journal.db-wal")),
            Some(length) => damaged.get_mut("journal.db-wal").unwrap().truncate(length),
        }
        let folder = lay_out(&damaged);
        let e = Journal::open(&folder.path().join("journal.db"), without_ballast()).unwrap_err();
        assert!(e.to_string().contains("had been acknowledged"), "{length:?}: {e}");
    }
}

#[test]
fn what_a_lost_journal_left_behind_is_not_taken_over() {
    let mut rest = as_left_by_a_kill();
    rest.remove("journal.db");
    for name in ["journal.db-wal", "journal.db-acked"] {
        let folder = lay_out(&rest);
        fs::remove_file(folder.path().join(name)).unwrap();
        let e = Journal::open(&folder.path().join("journal.db"), without_ballast()).unwrap_err();
        assert!(e.to_string().contains("it is missing, but"), "{e}");
        assert!(!folder.path().join("journal.db").exists());
    }
}

#[test]
fn a_cut_foreign_or_newer_file_is_refused_and_left_alone() {
    let check = |prepare: &dyn Fn(&Path), wanted: fn(&OpenError) -> bool| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        prepare(&path);
        let before = files(folder.path());
        let e = Journal::open(&path, without_ballast()).unwrap_err();
        assert!(wanted(&e), "{e:?}");
        let after = files(folder.path());
        assert!(before[&path] == after[&path]);
    };
    check(&|path| fs::write(path, "").unwrap(), |e| matches!(e, OpenError::Damaged { .. }));
    check(&|path| fs::write(path, "x".repeat(9000)).unwrap(), |e| {
        matches!(e, OpenError::Damaged { .. })
    });
    let another = |path: &Path| {
        let db = rusqlite::Connection::open(path).unwrap();
        db.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)").unwrap();
    };
    check(&another, |e| matches!(e, OpenError::Foreign { .. }));
    let newer = |path: &Path| {
        drop(open(path));
        let db = rusqlite::Connection::open(path).unwrap();
        db.pragma_update(None, "user_version", 2).unwrap();
        db.close().unwrap();
    };
    check(&newer, |e| matches!(e, OpenError::Newer { found: 2, known: 1, .. }));
}

#[test]
fn a_record_that_was_changed_deleted_or_added_by_hand_is_refused() {
    for change in [
        "DELETE FROM record WHERE seq = 2",
        "DELETE FROM record WHERE seq = 3",
        "UPDATE record SET body = x'00' WHERE seq = 1",
        "UPDATE record SET version = 4 WHERE seq = 3",
        "INSERT INTO record SELECT 4, version, body, chain FROM record WHERE seq = 3",
        "UPDATE meta SET term = 40",
        "DELETE FROM meta",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        let (journal, _) = open(&path);
        append(&journal, vec![record("a"), record("b"), record("c")]).unwrap();
        drop(journal);
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute_batch(change).unwrap();
        db.close().unwrap();
        let e = Journal::open(&path, Options::default()).unwrap_err();
        assert!(matches!(e, OpenError::Damaged { .. }), "{change}: {e:?}");
    }
}

#[test]
fn a_journal_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let (_journal, _) = open(&path);
    let e = Journal::open(&path, Options::default()).unwrap_err();
    assert!(matches!(e, OpenError::InUse { .. }), "{e:?}");
}

#[test]
fn checkpoints_bound_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let (journal, _) = open(&path);
    let mut written = 0;
    for _ in 0..80 {
        let batch = vec![NewRecord { version: 1, body: vec![7; 10_000] }; 20];
        let seq = append(&journal, batch).unwrap();
        written += 20 * 10_000;
        checkpoint(&journal, seq.0, "state").unwrap();
    }
    let size = |name: &str| fs::metadata(folder.path().join(name)).map_or(0, |file| file.len());
    let kept = size("journal.db") + size("journal.db-wal");
    assert!(kept < 2_500_000 && written > 15_000_000, "{kept} of {written} bytes");
}

#[test]
fn on_a_full_disk_nothing_is_half_done_and_the_way_back_is_paid_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let options = Options { max_bytes: 200_000, ..Options::default() };
    let (journal, _) = Journal::open(&path, options.clone()).unwrap();
    assert_eq!(journal.room(), Room::Plenty);
    assert!(folder.path().join("ballast").exists());
    append(&journal, vec![record("small")]).unwrap();
    let big = |n| vec![NewRecord { version: 1, body: vec![1; 60_000] }; n];
    let refused = append(&journal, big(9)).unwrap_err();
    assert!(matches!(refused, AppendError::Full), "{refused}");
    assert_eq!(append(&journal, vec![record("the way back")]).unwrap(), Seq(2));
    assert_eq!(append(&journal, big(1)).unwrap(), Seq(3));
    checkpoint(&journal, 3, "room again").unwrap();
    assert_eq!(append(&journal, big(1)).unwrap(), Seq(4));
    drop(journal);

    let (journal, recovered) = Journal::open(&path, options).unwrap();
    assert_eq!(recovered.records.len(), 1);
    assert_eq!(journal.room(), Room::Plenty, "the ballast is back once there is room");
}
