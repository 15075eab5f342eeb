//! The cost of a request with an access log. Each contender writes one line per request into a file of its
//! own.

use std::fs;
use std::path::Path;

use super::behind::Behind;
use super::case::{Case, SMALL_GET};
use super::contender::{self, COMPARED, Contender, Who, in_turn, subfolder};
use super::report::{cell, heading, row};
use super::statistics::Spread;
use super::{Cores, Options, sample};

const CASE: Case = Case { name: "log", ..SMALL_GET };

/// Measures all rounds, and returns the table.
pub(super) fn table(
    behind: &Behind,
    options: &Options,
    (cores, folder): (Cores, &Path),
) -> Result<String, String> {
    let own = subfolder(folder, "log")?;
    let behind = behind.clone().logged(&own);
    let start = |who| contender::start(who, &behind, (cores.contender, &own));
    let contenders: Vec<Contender> = COMPARED.into_iter().map(start).collect::<Result<_, _>>()?;
    let mut cost = COMPARED.map(|_| Vec::new());
    for round in 0..options.rounds {
        for at in in_turn(COMPARED.len(), round) {
            let (contender, who) = (&contenders[at], COMPARED[at].name());
            let before = written(contender, &own)?;
            let sample = sample(contender, &CASE, options.seconds, (cores.load, &own))
                .map_err(|why| format!("log: {who}: {why}"))?;
            if written(contender, &own)? == before {
                return Err(format!("log: {who} has written nothing"));
            }
            println!("log, round {}: {who} {:.1} µs", round + 1, sample.cpu_micros);
            cost[at].push(sample.cpu_micros);
        }
    }
    let mut out = "### CPU time per request with an access log, ours ÷ theirs\n\nSmall GETs, bare \
                   head; each writes one line per request into a file.\n\n"
        .to_owned();
    out += &heading("what", &COMPARED[1..].iter().map(|who| who.name()).collect::<Vec<_>>());
    let ratios = cost[1..].iter().map(|theirs| cell(Spread::of_ratios(&cost[0], theirs)));
    out += &row(CASE.what, &ratios.collect::<Vec<_>>());
    Ok(out)
}

/// Returns the length of a contender's log.
fn written(contender: &Contender, folder: &Path) -> Result<u64, String> {
    let file = match contender.who {
        Who::Segue | Who::Before => folder.join(Behind::SEGUE_LOG),
        Who::Nginx => folder.join(Behind::NGINX_LOG),
        // HAProxy logs to its standard output.
        Who::Haproxy | Who::HaproxyTcp => folder.join("haproxy.said"),
    };
    let length = fs::metadata(&file).map(|data| data.len());
    length.map_err(|error| format!("{}: {error}", file.display()))
}
