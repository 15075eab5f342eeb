//! Latency at one fixed rate for all contenders: 70% of the maximum rate of the slowest.

use std::path::Path;
use std::time::Duration;

use super::case::SMALL_GET;
use super::contender::{COMPARED, Contender, Who, compared, in_turn};
use super::load;
use super::pace::{self, Pace};
use super::report::{cell, heading, row};
use super::statistics::Spread;

/// The fraction of the slowest contender's maximum rate.
const PART: f64 = 0.7;
/// Duration of the measurement of each contender's maximum rate.
const PROBE_SECONDS: u32 = 1;
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

/// Measures `rounds` times, and returns the table.
pub(super) fn table(
    contenders: &[Contender],
    (rounds, seconds): (usize, u32),
    (core, folder): (usize, &Path),
) -> Result<String, String> {
    let compared = compared(contenders);
    let mut least = f64::INFINITY;
    for contender in &compared {
        let sent = load::send(&SMALL_GET, contender.address, PROBE_SECONDS, (core, folder))?;
        least = least.min(sent.per_second());
    }
    let lasts = Duration::from_secs(seconds.into());
    let pace = Pace { per_second: least * PART, lasts, hosts: 0 };
    println!("rate: {:.0} requests per second", pace.per_second);
    // Indexed by quantile, then by contender, then by round.
    let mut all = QUANTILES.map(|_| COMPARED.map(|_| Vec::new()));
    let mut cost = COMPARED.map(|_| Vec::new());
    for round in 0..rounds {
        for at in in_turn(compared.len(), round) {
            let who = compared[at].who.name();
            let before = compared[at].child.ticks();
            let latencies = pace::keep(pace, compared[at].address, core)
                .map_err(|why| format!("rate: {who}: {why}"))?;
            let ticks = compared[at].child.ticks() - before;
            #[expect(clippy::cast_precision_loss, reason = "a minute of ticks")]
            cost[at].push(ticks as f64);
            let mut line = format!("rate, round {}: {who}", round + 1);
            for ((name, part), kept) in QUANTILES.iter().zip(&mut all) {
                let micros = latencies.quantile(*part);
                line += &format!(" {name} {micros:.0} µs");
                kept[at].push(micros);
            }
            println!("{line} of {} requests, {ticks} ticks", latencies.count());
        }
    }
    Ok(written(&all, &cost))
}

fn written(all: &[[Vec<f64>; 3]; 3], cost: &[Vec<f64>; 3]) -> String {
    let mut out = format!(
        "### Latency at a fixed rate, ours ÷ theirs\n\nSmall GETs at {:.0} % of the most that the \
         slowest of the three answered, counted from when each was due; and what all of them together \
         took of the processor.\n\n",
        PART * 100.0
    );
    out += &heading("what", &["nginx", "HAProxy", "the better of the two"]);
    let quantiles = QUANTILES.iter().map(|(name, _)| *name).zip(all);
    for (name, [ours, nginx, haproxy]) in quantiles.chain([("CPU time", cost)]) {
        let median = |values| Spread::of(values).map_or(f64::INFINITY, |spread| spread.median);
        let nginx_is_better = median(nginx) <= median(haproxy);
        let (better, who) =
            if nginx_is_better { (nginx, Who::Nginx) } else { (haproxy, Who::Haproxy) };
        let ratio = Spread::of_ratios(ours, better);
        let ratio = ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{:.2}", ratio.median));
        let cells = [nginx, haproxy].map(|theirs| cell(Spread::of_ratios(ours, theirs)));
        out += &row(name, &[&cells[..], &[format!("{ratio} ({})", who.name())]].concat());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_quantile_names_the_better_of_its_own() {
        let quantile = |nginx, haproxy| [vec![10.0, 20.0], vec![nginx; 2], vec![haproxy; 2]];
        let cost = quantile(12.0, 15.0);
        let all = [quantile(10.0, 20.0), quantile(20.0, 10.0), quantile(30.0, 30.0)];
        let out = written(&all, &cost);
        let rows: Vec<&str> = out.lines().filter(|line| line.starts_with("| p")).collect();
        assert!(rows[0].ends_with("| 1.50 (nginx) |"), "{out}");
        assert!(rows[1].starts_with("| p99 | 0.75 [0.62–0.88] | 1.50 [1.25–1.75] |"), "{out}");
        assert!(rows[1].ends_with("| 1.50 (HAProxy) |"), "{out}");
        assert!(rows[2].starts_with("| p99.9 | 0.50 "), "{out}");
        assert!(out.ends_with("| 1.25 (nginx) |\n"), "{out}");
    }
}
