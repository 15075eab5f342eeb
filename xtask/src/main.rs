//! The project's own tasks: test, sim, soak, prove, tidy, deps, bench. Nothing here is part of the product.

#![expect(clippy::print_stdout, reason = "what a task says belongs on the terminal")]

mod bench;
mod circles;
mod deps;
mod fields;
mod names;
mod prove;
mod purity;
mod run;
mod soak;
mod subjects;
mod suite;
mod tidy;
mod tools;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask TASK

  test             everything continuous integration runs; installs what it needs
  sim [ARGS]       the simulation: --seeds N --from K, or --seed K to replay one
  soak [ARGS]      deployments of mixed strategies in a row, under load: --deployments N
  prove ISSUE      the long form of what the tests show in short, in parts; what has passed on this
                   commit is not run again
  tidy             files too long, without a first line, with words that must not stay; names that
                   several types have; doc comments that do not begin with their subject
  deps             which crate may use which, and that the pure ones touch no system
  bench [ARGS]     CPU time per request beside nginx and HAProxy: --rounds N, --seconds S,
                   --case NAME (more than one may be named; idle, slow, rate and table measure
                   memory, slow clients, latency at a fixed rate and a large routing table);
                   a full run writes docs/benchmarks.md;
                   --against BINARY compares with an earlier build of segue instead
  bench fleet      switches of many proxies and hosts, and what they cost their server, in a network
                   namespace (root): --hosts N --proxies N --instances N --rounds N";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let task = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let done = match task.as_str() {
        "test" => suite::test(),
        "sim" => run::run(
            "cargo",
            ["run", "--release", "-q", "-p", "testkit", "--bin", "sim", "--"]
                .into_iter()
                .chain(rest.iter().map(String::as_str)),
        ),
        "soak" => soak::soak(&rest),
        "prove" => prove::prove(&rest),
        "tidy" => tidy::check(&run::root()),
        "deps" => deps::check(&run::root())
            .and_then(|()| circles::check(&run::root()))
            .and_then(|()| purity::check(&run::root())),
        "bench" => bench::bench(&rest),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        other => {
            println!("no task {other:?}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("xtask {task}: {why}");
            ExitCode::FAILURE
        }
    }
}
