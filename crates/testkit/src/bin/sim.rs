//! Runs seeds of the simulation: `cargo xtask sim --seeds N --from K`. Prints the coverage and, for a
//! violation, the command that replays it.
#![allow(clippy::print_stdout, reason = "it is a command: stdout is its result")]

use std::process::ExitCode;

use testkit::{Coverage, run_seed};

fn main() -> ExitCode {
    let mut seeds = 1_000;
    let mut from = 0;
    let mut steps = 500;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args.next().and_then(|text| text.parse::<u64>().ok());
        match (arg.as_str(), value) {
            ("--seeds", Some(n)) => seeds = n,
            ("--from", Some(n)) => from = n,
            ("--steps", Some(n)) => steps = n,
            _ => {
                println!("usage: sim [--seeds N] [--from K] [--steps S]");
                return ExitCode::from(2);
            }
        }
    }
    let mut coverage = Coverage::default();
    let mut made = 0;
    for seed in from..from + seeds {
        let outcome = run_seed(seed, steps, None);
        coverage.add(&outcome.coverage);
        made += outcome.steps;
        if let Some(violation) = outcome.violation {
            // A single seed is a replay, for which all of it is of interest.
            let shown = if seeds == 1 { outcome.transcript.len() } else { 40 };
            let tail = outcome.transcript.iter().rev().take(shown).rev();
            tail.for_each(|line| println!("{line}"));
            println!("seed {seed}: {violation:?}");
            println!("replay: cargo xtask sim --seeds 1 --from {seed} --steps {steps}");
            return ExitCode::FAILURE;
        }
    }
    println!("{seeds} seeds, {made} steps, every invariant held");
    println!("reasons reached: {:?}", coverage.reasons);
    println!("not reached: {:?}", coverage.missing());
    ExitCode::SUCCESS
}
