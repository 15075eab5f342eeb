//! The report at the demo's end: the counts, and whether they are as they should be.

use model::{Millis, Outcome, Share};
use wire::RolloutReceipt;

use super::load::Counts;
use super::new_users::SharesSeen;
use crate::Io;
use crate::style::{BAD, BOLD, DIM, GOOD};
use crate::text::{TableCell, grouped, known, known_ms, table};

/// The shares of the canary, in ten-thousandths.
const STEPS: [u16; 2] = [1_000, 5_000];
/// The least number of new users for which a share is compared.
const ENOUGH: u64 = 300;
/// The largest deviation of a share that chance explains for so few users.
const NEAR: f64 = 0.1;

/// One rollout of the demo.
#[derive(Debug)]
pub(super) struct Act {
    pub(super) name: String,
    pub(super) receipt: RolloutReceipt,
    /// The outcome that the rollout must have.
    pub(super) wanted: Outcome,
}

/// Prints the counts. Returns true if all of them are as they should be.
pub(super) fn print(
    acts: &[Act],
    counts: &Counts,
    switched: &[String],
    shares: &SharesSeen,
    io: &mut Io<'_>,
) -> bool {
    let head = ["", "OUTCOME", "REQUESTS", "FAILED", "HELD", "SWITCH", "LONGEST GAP", "DURATION"];
    let mut rows: Vec<Vec<TableCell>> =
        vec![head.map(|text| TableCell::new(text).style(DIM).right()).into()];
    let mut good = true;
    for Act { name, receipt, wanted } in acts {
        let as_wanted = receipt.outcome == *wanted;
        // The strategy recreate answers with the page for a while. The users count those responses
        // separately.
        let lossless =
            receipt.failed.is_none_or(|failed| failed == 0) || receipt.strategy == "recreate";
        good &= as_wanted && lossless;
        let colour = |well: bool| if well { GOOD } else { BAD };
        rows.push(vec![
            TableCell::new(name.as_str()),
            TableCell::new(receipt.outcome.to_string()).style(colour(as_wanted)).right(),
            TableCell::new(known(receipt.requests)).right(),
            TableCell::new(known(receipt.failed)).style(colour(lossless)).right(),
            TableCell::new(known(receipt.held)).right(),
            TableCell::new(known_ms(receipt.switch_ms)).right(),
            TableCell::new(known_ms(receipt.max_gap_ms)).right(),
            TableCell::new(Millis(receipt.duration_ms).to_string()).right(),
        ]);
    }
    io.data("");
    for line in table(0, &rows) {
        io.data(line);
    }
    good & users(counts, switched, io) & new_users(shares, io)
}

/// Prints the part of the new users that got the canary at each step.
fn new_users(shares: &SharesSeen, io: &mut Io<'_>) -> bool {
    let mut good = true;
    for share in STEPS.into_iter().filter_map(Share::from_ten_thousandths) {
        let split = shares.get(&share).copied().unwrap_or_default();
        let fine = split.all >= ENOUGH && (split.fraction() - share.fraction()).abs() < NEAR;
        good &= fine;
        let style = if fine { GOOD } else { BAD };
        io.data(format!(
            "share     {share} wanted, {style}{:.1} %{style:#} of {} strangers got it",
            split.fraction() * 100.0,
            grouped(split.all)
        ));
    }
    good
}

/// Prints the number of responses that the users got.
fn users(counts: &Counts, switched: &[String], io: &mut Io<'_>) -> bool {
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
        "users     {BOLD}{}{BOLD:#} requests, {style}{} failed{style:#}, {} told to wait; slowest {} \
         ms",
        grouped(counts.ok + counts.failed + counts.told_to_wait),
        grouped(counts.failed),
        grouped(counts.told_to_wait),
        counts.slowest.as_millis()
    ));
    io.data(format!("answers   {}", releases.join(", ")));
    let order = match out_of_order {
        0 if unseen.is_empty() => {
            format!("nobody saw another order than {}", switched.join(" → "))
        }
        0 => format!("nobody was answered by {}, which was live", unseen.join(", ")),
        count => format!("{count} users saw releases out of order"),
    };
    io.data(format!("order     {order}"));
    for failure in &counts.failures {
        io.data(format!("failure   {failure}"));
    }
    good
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::new_users::ReleaseShare;

    fn receipt(label: &str, strategy: &str, failed: u64) -> RolloutReceipt {
        let receipt = serde_json::json!({
            "rollout": 2, "app": "demo", "from": "v1", "to": label, "strategy": strategy,
            "outcome": "completed", "complete": true, "requests": 1_200, "failed": failed,
            "app_5xx": {}, "client_aborted": 0, "retried": 0, "held": 16, "diverted": 0,
            "max_gap_ms": 3, "switch_ms": 2, "duration_ms": 1_300,
        });
        serde_json::from_value(receipt).unwrap()
    }

    fn report(new: u64) -> (bool, String) {
        let act = |label: &str, strategy: &str, failed| Act {
            name: format!("{label}, {strategy}"),
            receipt: receipt(label, strategy, failed),
            wanted: Outcome::Completed,
        };
        let acts = [act("v5", "canary", 0), act("v6", "recreate", 7)];
        let switched = ["v5".to_owned(), "v6".to_owned()];
        let counts = Counts {
            ok: 2_400,
            told_to_wait: 7,
            by_release: switched.iter().map(|label| (label.clone(), 1_200)).collect(),
            seen: vec![switched.to_vec()],
            ..Counts::default()
        };
        let share = |parts| Share::from_ten_thousandths(parts).unwrap();
        let shares = SharesSeen::from([
            (share(1_000), ReleaseShare { new: 204, all: 2_000 }),
            (share(5_000), ReleaseShare { new, all: 2_000 }),
        ]);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let good = print(&acts, &counts, &switched, &shares, &mut Io::plain(&mut out, &mut err));
        (good, String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_counts_are_told_and_judged() {
        let (good, text) = report(1_012);
        assert!(good, "{text}");
        insta::assert_snapshot!(text);
        assert!(!report(1_300).0, "a share that is far off is not as it has to be");
    }
}
