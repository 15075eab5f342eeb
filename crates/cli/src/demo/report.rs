//! The demo's counts at its end, and whether they are as they have to be.

use model::{Millis, Outcome};
use wire::Receipt;

use super::load::Counts;
use crate::Io;
use crate::io::{BAD, BOLD, DIM, GOOD};
use crate::text::{Cell, grouped, known, known_ms, table};

/// One rollout of the demo.
#[derive(Debug)]
pub(super) struct Act {
    pub(super) name: String,
    pub(super) receipt: Receipt,
    /// How it has to end.
    pub(super) wanted: Outcome,
}

/// Prints the counts; `true` if all is well.
pub(super) fn print(acts: &[Act], counts: &Counts, switched: &[String], io: &mut Io<'_>) -> bool {
    let head = ["", "OUTCOME", "REQUESTS", "FAILED", "SWITCH", "LONGEST GAP", "DURATION"];
    let mut rows: Vec<Vec<Cell>> = vec![head.map(|text| Cell::new(text).style(DIM).right()).into()];
    let mut good = true;
    for Act { name, receipt, wanted } in acts {
        let as_wanted = receipt.outcome == *wanted;
        let lossless = receipt.failed.is_none_or(|failed| failed == 0);
        good &= as_wanted && lossless;
        let colour = |well: bool| if well { GOOD } else { BAD };
        rows.push(vec![
            Cell::new(name.as_str()),
            Cell::new(receipt.outcome.to_string()).style(colour(as_wanted)).right(),
            Cell::new(known(receipt.requests)).right(),
            Cell::new(known(receipt.failed)).style(colour(lossless)).right(),
            Cell::new(known_ms(receipt.switch_ms)).right(),
            Cell::new(known_ms(receipt.max_gap_ms)).right(),
            Cell::new(Millis(receipt.duration_ms).to_string()).right(),
        ]);
    }
    io.data("");
    for line in table(0, &rows) {
        io.data(line);
    }
    good & clients(counts, switched, io)
}

/// What the clients saw.
fn clients(counts: &Counts, switched: &[String], io: &mut Io<'_>) -> bool {
    let out_of_order = counts.out_of_order(switched);
    let unseen: Vec<&str> = switched
        .iter()
        .filter(|release| !counts.by_release.contains_key(*release))
        .map(String::as_str)
        .collect();
    let good = counts.failed == 0 && counts.ok > 0 && out_of_order == 0 && unseen.is_empty();
    let releases: Vec<String> = counts
        .by_release
        .iter()
        .map(|(release, count)| format!("{release} {}", grouped(*count)))
        .collect();
    let style = if counts.failed == 0 { GOOD } else { BAD };
    io.data("");
    io.data(format!(
        "clients   {BOLD}{}{BOLD:#} requests, {style}{} failed{style:#}; slowest {} ms",
        grouped(counts.ok + counts.failed),
        grouped(counts.failed),
        counts.slowest.as_millis()
    ));
    io.data(format!("answers   {}", releases.join(", ")));
    let order = match out_of_order {
        0 if unseen.is_empty() => {
            format!("no connection saw another order than {}", switched.join(" → "))
        }
        0 => format!("nobody was answered by {}, which was live", unseen.join(", ")),
        count => format!("{count} connections saw releases out of order"),
    };
    io.data(format!("order     {order}"));
    for failure in &counts.failures {
        io.data(format!("failure   {failure}"));
    }
    good
}
