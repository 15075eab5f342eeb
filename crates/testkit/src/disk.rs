//! The simulated log: durable records, the append in progress, and the effects of a crash.

use control::{CheckpointBody, Record, VERSION};
use journal::{Checkpoint, Lost, Recovered, Seq};

/// A disk with one log.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    log: Recovered,
    on_its_way: Vec<Vec<u8>>,
    /// True if appends fail.
    pub full: bool,
    /// A loss that the next append suffers.
    pub next: Option<Loss>,
}

/// The fate of an append that is neither acknowledged nor refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The append is in the log, but is not acknowledged.
    There,
    /// The append is not in the log, and is not refused.
    NotThere,
    /// Another control leads.
    Fenced,
}

impl Disk {
    /// Begins an append. Nothing of it is durable yet.
    pub fn begin(&mut self, records: &[Record]) {
        let body = |r: &Record| serde_json::to_vec(r).expect("facts have text keys only");
        self.on_its_way = records.iter().map(body).collect();
    }

    /// Finishes the append. It reaches the disk or fails.
    pub fn finish(&mut self) -> Result<(), Lost> {
        let bodies = std::mem::take(&mut self.on_its_way);
        if self.full {
            return Err(Lost::Refused("no space left on device".into()));
        }
        let lost = match self.next.take() {
            None => Ok(()),
            Some(Loss::There) => Err(Lost::Unknown("the disk does not answer".into())),
            Some(Loss::NotThere) => return Err(Lost::Unknown("the disk does not answer".into())),
            Some(Loss::Fenced) => {
                self.log.term += 1;
                return Err(Lost::Fenced { by: self.log.term });
            }
        };
        for body in bodies {
            let seq = Seq(self.log.head().0 + 1);
            self.log.records.push(journal::StoredRecord { seq, version: VERSION, body });
        }
        lost
    }

    /// Ends the process. An append in progress becomes durable or is lost completely.
    pub fn crash(&mut self, is_durable: bool) {
        self.next = None;
        if is_durable && !self.full {
            let _ = self.finish();
        }
        self.on_its_way.clear();
    }

    /// Returns the records since the last checkpoint.
    pub fn records(&self) -> Vec<Record> {
        let parse = |record: &journal::StoredRecord| serde_json::from_slice(&record.body).ok();
        self.log.records.iter().filter_map(parse).collect()
    }

    /// Loses the last durable record, which no disk may do: a planted bug.
    pub fn lose_last(&mut self) -> bool {
        self.log.records.pop().is_some()
    }

    /// Replaces all records with the state they lead to.
    pub fn checkpoint(&mut self, body: &CheckpointBody) {
        let parts = body.parts().expect("states have text keys only");
        self.log.checkpoint = Some(Checkpoint { seq: self.log.head(), parts });
        self.log.records.clear();
    }

    /// Returns the content of the log as if opened in a new term.
    pub fn open(&mut self) -> Recovered {
        self.log.term += 1;
        self.log.clone()
    }
}
