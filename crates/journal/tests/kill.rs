//! SIGKILL in the middle of appends: what was acknowledged is there, and nothing else is.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use journal::sqlite::{Journal, JournalOptions};
use journal::{CheckpointPart, Log, NewRecord, Seq};

/// Tells the test that it is the process that gets killed.
const FOLDER: &str = "JOURNAL_TEST_FOLDER";
const NAME: &str = "a_kill_loses_nothing_acknowledged_and_invents_nothing";

/// The body of record `seq`, so that an invented or changed one is recognised.
fn body(seq: u64) -> Vec<u8> {
    let length = 1 + usize::try_from(seq % 5_000).unwrap();
    seq.to_le_bytes().iter().copied().cycle().take(length).collect()
}

/// A checkpoint of which each part names its number, so that parts of two are recognised.
fn parts(upto: Seq) -> Vec<CheckpointPart> {
    let part = |n: u64| {
        let body = upto.0.to_le_bytes().to_vec();
        CheckpointPart { key: n.to_string(), version: 1, body }
    };
    (0..upto.0 % 7).map(part).collect()
}

/// What the process does that gets killed.
fn append_until_killed(folder: &Path) -> ! {
    let path = folder.join("journal.db");
    let (mut journal, recovered) = Journal::open(&path, JournalOptions::default()).unwrap();
    let checkpoint = recovered.checkpoint.map_or(0, |c| c.seq.0);
    let mut next = checkpoint + 1 + u64::try_from(recovered.records.len()).unwrap();
    let (acknowledged, inbox) = mpsc::channel();
    let mut waiting = 0;
    loop {
        let batch: Vec<_> = (next..next + 1 + next % 3)
            .map(|seq| NewRecord { version: 1, body: body(seq) })
            .collect();
        next += u64::try_from(batch.len()).unwrap();
        let acknowledged = acknowledged.clone();
        let done = move |outcome: Result<_, _>| acknowledged.send(outcome.unwrap()).unwrap();
        journal.append(batch, Box::new(done));
        waiting += 1;
        if next % 97 == 0 {
            let upto = Seq(next / 2);
            journal.checkpoint(upto, parts(upto), Box::new(|_| ()));
        }
        // Several in flight, so that a kill meets whole groups, but no more than may wait.
        while waiting > 50 {
            println!("acknowledged {}", inbox.recv().unwrap().0);
            waiting -= 1;
        }
    }
}

#[test]
fn a_kill_loses_nothing_acknowledged_and_invents_nothing() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        append_until_killed(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut highest = 0;
    let mut term = 0;
    for round in 0..12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        let mut note = |line: String| {
            if let Some(seq) = line.strip_prefix("acknowledged ") {
                highest = highest.max(seq.parse().unwrap_or(0));
                seen += 1;
            }
            seen
        };
        while note(lines.next().unwrap().unwrap()) < 20 + round * 7 {}
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had said before it died counts too; the last line may be cut.
        for line in lines.map_while(Result::ok) {
            note(line);
        }
        writeln!(std::io::stderr(), "round {round}: acknowledged up to {highest}").unwrap();

        let path = folder.path().join("journal.db");
        let (_journal, recovered) = Journal::open(&path, JournalOptions::default()).unwrap();
        assert_eq!(recovered.term, term + 2, "one for the child, one for us");
        term = recovered.term;
        let first = recovered.checkpoint.map_or(0, |c| {
            assert_eq!(c.parts, parts(c.seq));
            c.seq.0
        });
        for (seq, record) in (first + 1..).zip(&recovered.records) {
            assert_eq!((record.seq, &record.body), (Seq(seq), &body(seq)));
        }
        let last = first + u64::try_from(recovered.records.len()).unwrap();
        assert!(last >= highest, "acknowledged {highest}, found {last}");
        highest = last;
    }
}
