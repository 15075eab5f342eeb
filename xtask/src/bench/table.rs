//! The cost of a large routing table: equal requests with a hundred apps of ten instances each, and with one
//! app. Also the effect on users when such a table is replaced again and again.

use std::path::Path;
use std::time::Duration;

use super::behind::{Behind, Size};
use super::case::{Case, SMALL_GET};
use super::child::Child;
use super::contender::{self, COMPARED, Contender, Who, in_turn, subfolder};
use super::pace::{self, Pace};
use super::report::{cell, heading, row};
use super::statistics::Spread;
use super::{Cores, Options, proof, sample};

const ONE: Size = Size { apps: 1, instances: 1 };
const MANY: Size = Size { apps: 100, instances: 10 };
/// Requests the apps in turn. A table of one app has every host, so both runs send equal requests.
const CASE: Case = Case { name: "table", hosts: MANY.apps, ..SMALL_GET };

/// Request rate of users while the table is replaced or stays.
const USERS_PER_SECOND: f64 = 1_000.0;
/// Time between two tables. At most one request in ten meets a replacement.
const SWAP_EVERY_MS: u64 = 100;
const SWAP_WORKERS: usize = 2;
/// Time within which every worker should have switched to a table.
const SOON_MICROS: u64 = 5_000;

/// Measures both, and returns the tables.
pub(super) fn table(
    example: &str,
    options: &Options,
    (cores, folder): (Cores, &Path),
) -> Result<String, String> {
    let own = subfolder(folder, "table")?;
    let (_origin, port) = contender::origin_of_many(MANY, (cores.origin, &own))?;
    let start = |size, name| {
        let own = subfolder(&own, name)?;
        let behind = Behind::table(example, size, port);
        let one = |who| contender::start(who, &behind, (cores.contender, &own));
        COMPARED.into_iter().map(one).collect::<Result<Vec<_>, String>>()
    };
    let (one, many) = (start(ONE, "one")?, start(MANY, "many")?);
    for (one, many) in one.iter().zip(&many) {
        proof::forwards(one)?;
        proof::leads(many, MANY)?;
    }
    let mut ratios = COMPARED.map(|_| Vec::new());
    for round in 0..options.rounds {
        for at in in_turn(COMPARED.len(), round) {
            let load = (cores.load, own.as_path());
            let cost = |of: &Contender| {
                let sample = sample(of, &CASE, options.seconds, load);
                let why = |why| format!("table: {}: {why}", of.who.name());
                sample.map(|sample| sample.cpu_micros).map_err(why)
            };
            // The run that comes second finds warmer caches, so the runs take turns.
            let (few, lots) = if round % 2 == 0 {
                let few = cost(&one[at])?;
                (few, cost(&many[at])?)
            } else {
                let lots = cost(&many[at])?;
                (cost(&one[at])?, lots)
            };
            let who = COMPARED[at].name();
            println!("table, round {}: {who} {few:.1} µs, {lots:.1} µs with many", round + 1);
            ratios[at].push(lots / few);
        }
    }
    drop((one, many));
    let swaps = swaps(example, port, options, (cores, &own))?;
    Ok(written(&ratios) + "\n" + &swaps)
}

fn written(ratios: &[Vec<f64>; 3]) -> String {
    let Size { apps, instances } = MANY;
    let mut out = format!(
        "### CPU time per request with {apps} apps ÷ with one\n\nSmall GETs of {apps} hosts in turn; \
         {apps} apps with {instances} instances each, or one with one for all hosts. The last column \
         is by how many hundredths ours grows more than HAProxy.\n\n"
    );
    out += &heading("what", &[&COMPARED.map(Who::name)[..], &["segue − HAProxy"]].concat());
    let [ours, _, haproxy] = ratios;
    let apart = ours.iter().zip(haproxy).map(|(ours, theirs)| (ours - theirs) * 100.0);
    let apart = Spread::of(&apart.collect::<Vec<_>>());
    let apart = apart.map_or_else(
        || "–".to_owned(),
        |Spread { lower, median, upper }| format!("{median:+.0} [{lower:+.0} to {upper:+.0}]"),
    );
    let cells = ratios.each_ref().map(|ratios| cell(Spread::of(ratios)));
    out + &row("CPU time per request", &[&cells[..], &[apart]].concat())
}

/// Measures the effect of replaced tables on users, and the time until every worker has each table.
fn swaps(
    example: &str,
    port: u16,
    options: &Options,
    (cores, folder): (Cores, &Path),
) -> Result<String, String> {
    let mut still = Behind::table(example, MANY, port);
    still.words += &format!(" --workers {SWAP_WORKERS}");
    let mut busy = still.clone();
    // Building the tables must not take the workers' core from them. The measurement covers the cost of a
    // new table for the workers that use it.
    let Cores { load, .. } = cores;
    busy.words += &format!(" --swap-every {SWAP_EVERY_MS} --publisher-core {load}");
    let lasts = Duration::from_secs(options.seconds.into());
    let pace = Pace { per_second: USERS_PER_SECOND, lasts, hosts: MANY.apps };
    let (mut ratios, mut took) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        let p99 = |behind: &Behind, name: &str| {
            let own = subfolder(folder, &format!("{name}-{round}"))?;
            let contender = contender::start(Who::Segue, behind, (cores.contender, &own))?;
            let latencies = pace::keep(pace, contender.address, cores.load)?;
            Ok::<_, String>((latencies.quantile(0.99), applied(&contender.child)))
        };
        // The run that comes second finds warmer caches, so the runs take turns.
        let (quiet, (with, times)) = if round % 2 == 0 {
            let (quiet, _) = p99(&still, "still")?;
            (quiet, p99(&busy, "busy")?)
        } else {
            let busy = p99(&busy, "busy")?;
            (p99(&still, "still")?.0, busy)
        };
        let (swaps, slowest) = (times.len(), times.iter().max().copied().unwrap_or(0));
        if swaps == 0 {
            return Err("table: no worker has taken over a table".to_owned());
        }
        println!(
            "swaps, round {}: p99 {quiet:.0} µs, {with:.0} µs with {swaps} swaps, applied in {} µs \
             at most",
            round + 1,
            slowest
        );
        ratios.push(with / quiet);
        took.extend(times);
    }
    let soon = took.iter().filter(|micros| **micros < SOON_MICROS).count();
    let mut out = format!(
        "### Replacing a table of {} instances\n\nUsers of ours at {USERS_PER_SECOND:.0} requests per \
         second, with a new table every {SWAP_EVERY_MS} ms, made on the core of the load, ÷ with none. Of {} tables {soon} were with \
         all {SWAP_WORKERS} workers in less than {} ms.\n\n",
        u32::from(MANY.apps) * u32::from(MANY.instances),
        took.len(),
        SOON_MICROS / 1_000
    );
    out += &heading("what", &["p99"]);
    out += &row("tables replaced", &[cell(Spread::of(&ratios))]);
    Ok(out)
}

/// Returns the times reported by the example, in microseconds.
fn applied(child: &Child) -> Vec<u64> {
    let said = child.said();
    let lines = said.lines().filter_map(|line| line.strip_prefix("applied by all "));
    lines.filter_map(|line| line.split(' ').nth(3)?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ours_grows_more_than_haproxy_is_taken_within_a_round() {
        // The second round was disturbed for both alike.
        let out = written(&[vec![1.05, 1.25], vec![1.1, 1.1], vec![1.07, 1.27]]);
        assert!(out.ends_with("| -2 [-2 to -2] |\n"), "{out}");
        assert!(out.contains("| 1.15 [1.10–1.20] | 1.10 [1.10–1.10] | 1.17 "), "{out}");
    }
}
