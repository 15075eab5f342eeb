//! What a journal gives back, what it refuses, and what it costs on the disk.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use journal::sqlite::{Journal, JournalOptions, OpenError};
use journal::{Checkpoint, CheckpointPart, Log, Lost, NewRecord, Recovered, Room, Seq};

fn record(text: &str) -> NewRecord {
    NewRecord { version: 3, body: text.as_bytes().to_vec() }
}

fn append(journal: &mut Journal, batch: Vec<NewRecord>) -> Result<Seq, Lost> {
    let (tell, outcome) = mpsc::channel();
    journal.append(batch, Box::new(move |o| tell.send(o).unwrap()));
    outcome.recv().unwrap()
}

/// Two parts: one named `web` with that body, and one without a body.
fn parts(body: &str) -> Vec<CheckpointPart> {
    let part =
        |key: &str, body: &str| CheckpointPart { key: key.into(), version: 1, body: body.into() };
    vec![part("empty", ""), part("web", body)]
}

fn checkpoint(journal: &mut Journal, upto: u64, body: &str) -> Result<(), Lost> {
    let (tell, outcome) = mpsc::channel();
    journal.checkpoint(Seq(upto), parts(body), Box::new(move |o| tell.send(o).unwrap()));
    outcome.recv().unwrap()
}

fn open(path: &Path) -> (Journal, Recovered) {
    Journal::open(path, JournalOptions::default()).unwrap()
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
    let (mut journal, _) = open(&folder.path().join("journal.db"));
    for n in 0..8 {
        append(
            &mut journal,
            vec![record(&format!("first {n}")), record("and a longer text ".repeat(90).as_str())],
        )
        .unwrap();
    }
    checkpoint(&mut journal, 6, "six").unwrap();
    for n in 0..5 {
        append(&mut journal, vec![record(&format!("second {n}"))]).unwrap();
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

fn without_ballast() -> JournalOptions {
    JournalOptions { ballast_bytes: 0, ..JournalOptions::default() }
}

#[test]
fn a_reopened_journal_gives_back_what_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let (mut journal, recovered) = open(&path);
    assert_eq!(recovered, Recovered { checkpoint: None, records: vec![], term: 1 });
    assert_eq!(append(&mut journal, vec![record("a"), record("b")]).unwrap(), Seq(2));
    assert_eq!(append(&mut journal, vec![record("c")]).unwrap(), Seq(3));
    drop(journal);

    let (mut journal, recovered) = open(&path);
    assert_eq!(recovered.term, 2);
    assert_eq!(recovered.records[0].version, 3);
    assert_eq!(texts(&recovered), [(1, "a".into()), (2, "b".into()), (3, "c".into())]);
    checkpoint(&mut journal, 2, "a and b").unwrap();
    assert_eq!(append(&mut journal, vec![record("d")]).unwrap(), Seq(4));
    drop(journal);

    let (mut journal, recovered) = open(&path);
    assert_eq!(recovered.term, 3);
    let found = recovered.checkpoint.clone().unwrap();
    assert_eq!(found, Checkpoint { seq: Seq(2), parts: parts("a and b") });
    assert_eq!(texts(&recovered), [(3, "c".into()), (4, "d".into())]);
    checkpoint(&mut journal, 4, "all").unwrap();
    checkpoint(&mut journal, 4, "all again").unwrap();
    let refused = checkpoint(&mut journal, 5, "more than there is").unwrap_err();
    let why = "the journal holds the records 4 to 4, but not 5".to_owned();
    assert_eq!(refused, Lost::Refused(why));
    assert_eq!(append(&mut journal, vec![record("e")]).unwrap(), Seq(5));
    drop(journal);

    let (_journal, recovered) = open(&path);
    assert_eq!(recovered.checkpoint.clone().unwrap().parts, parts("all again"));
    assert_eq!(texts(&recovered), [(5, "e".into())]);
}

/// `fixtures/one-body.db` was written by segue at 54aeb2b: five records and a checkpoint after the third,
/// which was one body then. It stays as it is until the next checkpoint, which is one in parts.
#[test]
fn a_journal_whose_checkpoint_is_one_body_is_read_and_gets_one_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/one-body.db");
    fs::write(&path, fs::read(fixture).unwrap()).unwrap();
    let format = || {
        let db = rusqlite::Connection::open(&path).unwrap();
        let number = db.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
        number.unwrap()
    };
    let (mut journal, recovered) = open(&path);
    let whole = CheckpointPart {
        key: CheckpointPart::WHOLE.into(),
        version: 1,
        body: b"all of them".to_vec(),
    };
    let before = Checkpoint { seq: Seq(3), parts: vec![whole] };
    assert_eq!(recovered.checkpoint, Some(before.clone()));
    assert_eq!(texts(&recovered), [(4, "record 4".into()), (5, "record 5".into())]);
    assert_eq!(append(&mut journal, vec![record("six")]).unwrap(), Seq(6));
    drop(journal);
    assert_eq!(format(), 1, "the segue that wrote it can still read it");

    let (mut journal, recovered) = open(&path);
    assert_eq!((recovered.checkpoint, recovered.records.len()), (Some(before), 3));
    checkpoint(&mut journal, 5, "in parts").unwrap();
    drop(journal);
    assert_eq!(format(), 2);
    let (_journal, recovered) = open(&path);
    let after = Checkpoint { seq: Seq(5), parts: parts("in parts") };
    assert_eq!(recovered.checkpoint.clone(), Some(after));
    assert_eq!(texts(&recovered), [(6, "six".into())]);
}

#[test]
fn many_batches_at_once_keep_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let (mut journal, _) = open(&path);
    let (tell, outcomes) = mpsc::channel();
    for n in 0..500 {
        let tell = tell.clone();
        let done = move |o: Result<_, _>| tell.send(o.unwrap()).unwrap();
        journal.append(vec![record(&n.to_string())], Box::new(done));
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
        db.pragma_update(None, "user_version", 3).unwrap();
        db.close().unwrap();
    };
    check(&newer, |e| matches!(e, OpenError::Newer { found: 3, known: 2, .. }));
}

#[test]
fn a_record_that_was_changed_deleted_or_added_by_hand_is_refused() {
    for change in [
        "DELETE FROM record WHERE seq = 3",
        "DELETE FROM record WHERE seq = 4",
        "UPDATE record SET body = x'00' WHERE seq = 2",
        "UPDATE record SET version = 4 WHERE seq = 4",
        "INSERT INTO record SELECT 5, version, body, chain FROM record WHERE seq = 4",
        "UPDATE meta SET term = 40",
        "DELETE FROM meta",
        "DELETE FROM part WHERE key = 'empty'",
        "DELETE FROM part",
        "DELETE FROM checkpoint",
        "UPDATE part SET body = x'00' WHERE key = 'web'",
        "UPDATE part SET version = 2 WHERE key = 'web'",
        "UPDATE part SET key = 'wed' WHERE key = 'web'",
        "INSERT INTO part VALUES ('more', 1, x'')",
        "UPDATE checkpoint SET seq = 0",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        let (mut journal, _) = open(&path);
        append(&mut journal, vec![record("o")]).unwrap();
        checkpoint(&mut journal, 1, "one").unwrap();
        append(&mut journal, vec![record("a"), record("b"), record("c")]).unwrap();
        drop(journal);
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute_batch(change).unwrap();
        db.close().unwrap();
        let e = Journal::open(&path, JournalOptions::default()).unwrap_err();
        assert!(matches!(e, OpenError::Damaged { .. }), "{change}: {e:?}");
    }
}

#[test]
fn a_journal_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let (_journal, _) = open(&path);
    let e = Journal::open(&path, JournalOptions::default()).unwrap_err();
    assert!(matches!(e, OpenError::InUse { .. }), "{e:?}");
}

#[test]
fn checkpoints_bound_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let (mut journal, _) = open(&path);
    let mut written = 0;
    for _ in 0..80 {
        let batch = vec![NewRecord { version: 1, body: vec![7; 10_000] }; 20];
        let seq = append(&mut journal, batch).unwrap();
        written += 20 * 10_000;
        checkpoint(&mut journal, seq.0, "state").unwrap();
    }
    let size = |name: &str| fs::metadata(folder.path().join(name)).map_or(0, |file| file.len());
    let kept = size("journal.db") + size("journal.db-wal");
    assert!(kept < 2_500_000 && written > 15_000_000, "{kept} of {written} bytes");
}

#[test]
fn on_a_full_disk_nothing_is_half_done_and_the_way_back_is_paid_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let options = JournalOptions { max_bytes: 200_000, ..JournalOptions::default() };
    let (mut journal, _) = Journal::open(&path, options.clone()).unwrap();
    assert_eq!(journal.room(), Room::Plenty);
    assert!(folder.path().join("ballast").exists());
    append(&mut journal, vec![record("small")]).unwrap();
    let big = |n| vec![NewRecord { version: 1, body: vec![1; 60_000] }; n];
    let refused = append(&mut journal, big(9)).unwrap_err();
    assert_eq!(refused, Lost::Refused("the disk is full".into()));
    assert_eq!(append(&mut journal, vec![record("the way back")]).unwrap(), Seq(2));
    assert_eq!(append(&mut journal, big(1)).unwrap(), Seq(3));
    checkpoint(&mut journal, 3, "room again").unwrap();
    assert_eq!(append(&mut journal, big(1)).unwrap(), Seq(4));
    drop(journal);

    let (journal, recovered) = Journal::open(&path, options).unwrap();
    assert_eq!(recovered.records.len(), 1);
    assert_eq!(journal.room(), Room::Plenty, "the ballast is back once there is room");
}
