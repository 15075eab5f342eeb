//! `segue releases`: lists the releases to which an app can go back.

use wire::{ReleaseStatus, StoredRelease};

use crate::args::{ConnectionOptions, ListOptions};
use crate::style::{BAD, BOLD, DIM, GOOD};
use crate::text::{TableCell, table};
use crate::{CommandError, ExitStatus, Io};

pub(crate) fn run(
    connection: &ConnectionOptions,
    options: &ListOptions,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    let ListOptions { app, json: as_json } = options;
    let act = format!("list the releases of {app}");
    let client = connection.client(&act)?;
    let fail = |error| CommandError::client(&*act, &error);
    let releases = client.releases(app).map_err(fail)?;
    if *as_json {
        io.json(&releases);
        return Ok(ExitStatus::Done);
    }
    let status = client.app(app).map_err(fail)?.status;
    let is = |arm: &Option<ReleaseStatus>, no| arm.as_ref().is_some_and(|arm| arm.release == no);
    let head = ["RELEASE", "NO", "DIGEST", "DEPLOYED", "STATE"];
    let mut rows: Vec<Vec<TableCell>> =
        vec![head.map(|text| TableCell::new(text).style(DIM)).into()];
    for listed in releases.iter().rev() {
        let StoredRelease { release, label, digest, created_ms, bad, files, .. } = listed;
        let mut state = TableCell::new("stopped").style(DIM);
        if let Some(why) = bad {
            let why = why.lines().next().unwrap_or_default();
            let gone = if *files { "" } else { ", its files are not kept" };
            state = TableCell::new(format!("bad: {why}{gone}")).style(BAD);
        } else if !files {
            state =
                TableCell::new("stopped before it had users, its files are not kept").style(DIM);
        } else if is(&status.live, *release) {
            state = TableCell::new("live").style(GOOD);
        } else if is(&status.standby, *release) {
            state = TableCell::new("standby");
        } else if is(&status.candidate, *release) {
            state = TableCell::new("candidate");
        }
        rows.push(vec![
            TableCell::new(label.to_string()).style(BOLD),
            TableCell::new(format!("#{release}")),
            TableCell::new(digest.short()),
            TableCell::new(io.date(*created_ms)),
            state,
        ]);
    }
    for line in table(0, &rows) {
        io.data(line);
    }
    Ok(ExitStatus::Done)
}
