//! `segue releases`: what can be gone back to.

use wire::{Arm, Release};

use crate::args::{Connection, ListOptions};
use crate::io::{BAD, BOLD, DIM, GOOD};
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
    for Release { release, label, digest, created_ms, bad } in releases.iter().rev() {
        let mut state = Cell::new("stopped").style(DIM);
        if let Some(why) = bad {
            state =
                Cell::new(format!("bad: {}", why.lines().next().unwrap_or_default())).style(BAD);
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
