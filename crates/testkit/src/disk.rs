//! The simulated log: what is durable, what is on its way, and what a crash leaves of it.

use control::{CheckpointBody, Record, VERSION};
use journal::{Checkpoint, Lost, Recovered, Seq};

/// A disk with one log on it.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    log: Recovered,
    on_its_way: Vec<Vec<u8>>,
    /// Appends fail.
    pub full: bool,
    /// What becomes of the next append, instead of what should.
    pub next: Option<Loss>,
}

/// What becomes of an append that is not acknowledged, and not refused either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The append is there, and nobody says so.
    There,
    /// The append is not there, and nobody says so.
    NotThere,
    /// Another control leads.
    Fenced,
}

impl Disk {
    /// Begins an append; nothing of it is durable yet.
    pub fn begin(&mut self, records: &[Record]) {
        let body = |r: &Record| serde_json::to_vec(r).expect("facts have text keys only");
        self.on_its_way = records.iter().map(body).collect();
    }

    /// The append reaches the disk, or does not.
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

    /// The process dies: an append on its way is durable or has never been.
    pub fn crash(&mut self, is_durable: bool) {
        self.next = None;
        if is_durable && !self.full {
            let _ = self.finish();
        }
        self.on_its_way.clear();
    }

    /// The records since the last checkpoint.
    pub fn records(&self) -> Vec<Record> {
        let parse = |record: &journal::StoredRecord| serde_json::from_slice(&record.body).ok();
        self.log.records.iter().filter_map(parse).collect()
    }

    /// Loses the last durable record, as no disk may: a planted bug.
    pub fn lose_last(&mut self) -> bool {
        self.log.records.pop().is_some()
    }

    /// Replaces all records by the state they amount to.
    pub fn checkpoint(&mut self, body: &CheckpointBody) {
        let parts = body.parts().expect("states have text keys only");
        self.log.checkpoint = Some(Checkpoint { seq: self.log.head(), parts });
        self.log.records.clear();
    }

    /// What an opened log gives back, in a new term.
    pub fn open(&mut self) -> Recovered {
        self.log.term += 1;
        self.log.clone()
    }
}
