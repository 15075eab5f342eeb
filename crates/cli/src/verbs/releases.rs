//! `segue releases`: what can be gone back to.

use wire::{Arm, Release};

use crate::args::{Connection, ListOptions};
use crate::paint::{BAD, BOLD, DIM, GOOD};
use crate::text::{Cell, table};
use crate::{Exit, Failure, Io};

pub(crate) fn run(
    connection: &Connection,
    options: &ListOptions,
    io: &mut Io<'_>,
) -> Result<Exit, Failure> {
    let ListOptions { app, json: as_json } = options;
    let act = format!("list the releases of {app}");
    let client = connection.client(&act)?;
    let fail = |error| Failure::client(&*act, &error);
    let releases = client.releases(app).map_err(fail)?;
    if *as_json {
        io.json(&releases);
        return Ok(Exit::Done);
    }
    let status = client.app(app).map_err(fail)?.status;
    let is = |arm: &Option<Arm>, no| arm.as_ref().is_some_and(|arm| arm.release == no);
    let head = ["RELEASE", "NO", "DIGEST", "DEPLOYED", "STATE"];
    let mut rows: Vec<Vec<Cell>> = vec![head.map(|text| Cell::new(text).style(DIM)).into()];
    for listed in releases.iter().rev() {
        let Release { release, label, digest, created_ms, bad, files, .. } = listed;
        let mut state = Cell::new("stopped").style(DIM);
        if let Some(why) = bad {
            let why = why.lines().next().unwrap_or_default();
            let gone = if *files { "" } else { ", its files are not kept" };
            state = Cell::new(format!("bad: {why}{gone}")).style(BAD);
        } else if !files {
            state = Cell::new("stopped before it had users, its files are not kept").style(DIM);
        } else if is(&status.live, *release) {
            state = Cell::new("live").style(GOOD);
        } else if is(&status.standby, *release) {
            state = Cell::new("standby");
        } else if is(&status.candidate, *release) {
            state = Cell::new("candidate");
        }
        rows.push(vec![
            Cell::new(label.to_string()).style(BOLD),
            Cell::new(format!("#{release}")),
            Cell::new(digest.short()),
            Cell::new(io.date(*created_ms)),
            state,
        ]);
    }
    for line in table(0, &rows) {
        io.data(line);
    }
    Ok(Exit::Done)
}
