//! The simulated journal: what is durable, what is on its way, and what a crash leaves of it.

use control::{CheckpointBody, Record, Trace, Unwritten, VERSION};

/// Number, version and body of what was written.
pub type Entry<'a> = (u64, u16, &'a [u8]);

/// A disk with one journal on it.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    checkpoint: Option<(u64, Vec<u8>)>,
    records: Vec<(u64, Vec<u8>)>,
    last: u64,
    /// Counts the starts of control.
    pub term: u64,
    on_its_way: Vec<Vec<u8>>,
    /// Appends fail.
    pub full: bool,
}

impl Disk {
    /// Begins an append; nothing of it is durable yet.
    pub fn begin(&mut self, records: &[Record]) {
        let body = |r: &Record| serde_json::to_vec(r).expect("facts have text keys only");
        self.on_its_way = records.iter().map(body).collect();
    }

    /// The append reaches the disk, or finds it full.
    pub fn finish(&mut self) -> Result<(), Unwritten> {
        let bodies = std::mem::take(&mut self.on_its_way);
        if self.full {
            let why = "no space left on device".into();
            return Err(Unwritten { why, trace: Trace::None });
        }
        for body in bodies {
            self.last += 1;
            self.records.push((self.last, body));
        }
        Ok(())
    }

    /// The process dies: an append on its way is durable or has never been.
    pub fn crash(&mut self, is_durable: bool) {
        if is_durable && !self.full {
            let _ = self.finish();
        }
        self.on_its_way.clear();
    }

    /// The records since the last checkpoint.
    pub fn records(&self) -> Vec<Record> {
        let parse = |(_, body): &(u64, Vec<u8>)| serde_json::from_slice(body).ok();
        self.records.iter().filter_map(parse).collect()
    }

    /// Loses the last durable record, as no disk may: a planted bug.
    pub fn lose_last(&mut self) -> bool {
        self.last -= u64::from(!self.records.is_empty());
        self.records.pop().is_some()
    }

    /// Replaces all records by the state they amount to.
    pub fn checkpoint(&mut self, body: &CheckpointBody) {
        let bytes = serde_json::to_vec(body).expect("states have text keys only");
        self.checkpoint = Some((self.last, bytes));
        self.records.clear();
    }

    /// What an opened journal gives back.
    pub fn read(&self) -> (Option<Entry<'_>>, impl Iterator<Item = Entry<'_>>) {
        let checkpoint = self.checkpoint.as_ref().map(|(seq, b)| (*seq, VERSION, b.as_slice()));
        let records = self.records.iter().map(|(seq, body)| (*seq, VERSION, body.as_slice()));
        (checkpoint, records)
    }
}
