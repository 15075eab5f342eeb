//! System calls per request, counted by strace if it is installed and may trace. They are counted outside
//! the rounds, because tracing is slow.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::case::Case;
use super::child::Child;
use super::contender::Contender;
use super::load;
use crate::run::there;

const SECONDS: u32 = 1;
/// Time for strace to attach itself, and to write its table.
const ATTACH: Duration = Duration::from_millis(400);
const WRITE: Duration = Duration::from_secs(5);

/// Returns whether calls can be counted here.
pub(super) fn countable() -> bool {
    there("strace", &["-f", "-c", "true"])
}

/// Counts the calls a contender makes for one request.
pub(super) fn per_request(
    contender: &Contender,
    case: &Case,
    (core, folder): (usize, &Path),
) -> Result<f64, String> {
    let table = folder.join("calls");
    let mut args =
        vec!["-f".to_owned(), "-c".to_owned(), "-o".to_owned(), table.display().to_string()];
    for id in contender.child.ids() {
        args.extend(["-p".to_owned(), id.to_string()]);
    }
    let mut strace = Child::start(("strace", core), "strace", args, folder)?;
    thread::sleep(ATTACH);
    let load = load::send(case, contender.address, SECONDS, (core, folder))?;
    strace.signal(Signal::INT);
    strace.wait(WRITE)?;
    let text = fs::read_to_string(&table).unwrap_or_default();
    let calls = parse(&text).ok_or_else(|| format!("strace counts nothing: {}", strace.said()))?;
    #[expect(clippy::cast_precision_loss, reason = "millions at most")]
    Ok(calls as f64 / load.requests)
}

/// Adds up strace's table: `% time, seconds, usecs/call, calls, errors if any, name`.
fn parse(table: &str) -> Option<u64> {
    let rows = table.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.first()?.parse::<f64>().ok()?;
        if words.last() == Some(&"total") {
            return None;
        }
        words.get(3)?.parse::<u64>().ok()
    });
    rows.fold(None, |sum, calls| Some(sum.unwrap_or(0) + calls))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_added_up_without_its_own_sum() {
        let table = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 62.50    0.000500           5       100           read
 37.50    0.000300           3        40         7 openat
------ ----------- ----------- --------- --------- ----------------
100.00    0.000800           4       140         7 total
";
        assert_eq!(parse(table), Some(140));
        assert_eq!(parse(""), None);
    }
}
