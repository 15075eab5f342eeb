//! `cargo xtask bench`: the cost of a request in our proxy, in nginx and in HAProxy, on one core each. Only
//! measures. Changes no file except `docs/benchmarks.md`, and that only after a long enough run of all
//! cases.

mod behind;
mod calls;
mod capacity;
mod case;
mod child;
mod contender;
mod fleet;
mod idle;
mod load;
mod log;
mod pace;
mod proof;
mod rate;
mod report;
mod slow;
mod statistics;
mod table;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use self::behind::Behind;
use self::case::{CASES, Case};
use self::contender::{BUILDS, Contender, EVERYONE, Who};
use self::report::{Measured, Report, Sample};
use crate::run::{Done, output, root, run};
use crate::tools;

/// Minimum number of rounds for the docs. The results of fewer rounds are only printed.
const ROUNDS_FOR_THE_DOCS: usize = 5;
const MOST_ROUNDS: usize = 99;
/// Number of fresh processes of each contender that is enough to show the influence of chance.
const MOST_IDLE_ROUNDS: usize = 5;
const MOST_SECONDS: u32 = 60;

/// The options of a run.
#[derive(Clone, Debug)]
struct Options {
    rounds: usize,
    seconds: u32,
    cases: Vec<Case>,
    more: Vec<More>,
    /// An earlier build of ours to compare with, in place of the other proxies.
    against: Option<String>,
}

/// Measurements that have a procedure of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum More {
    /// Memory of idle connections.
    Idle,
    /// The effect of slow clients on other clients.
    Slow,
    /// Latency at a fixed rate.
    Rate,
    /// The cost of a large routing table.
    Table,
    /// The cost of an access log.
    Log,
}

const MORE: [(&str, More); 5] = [
    ("idle", More::Idle),
    ("slow", More::Slow),
    ("rate", More::Rate),
    ("table", More::Table),
    ("log", More::Log),
];

/// The cores of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cores {
    contender: usize,
    origin: usize,
    load: usize,
}

/// Runs the bench.
pub(crate) fn bench(words: &[String]) -> Done {
    if let Some((first, rest)) = words.split_first()
        && first == "fleet"
    {
        return fleet::fleet(rest);
    }
    let options = Options::parse(words)?;
    let cores = Cores::of(&allowed()?)?;
    tools::install_for_bench()?;
    let words = ["--release", "--locked", "-p", "segue", "--bin", "segue", "--example", "table"];
    run("cargo", [&["build"], &words[..]].concat())?;
    let (segue, example) = built("table")?;
    let machine = report::machine()?;
    let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let folder = folder.path();
    // Declared after the folder, so that the processes end before the folder is deleted.
    let (_origin, origin) = contender::origin(cores.origin, folder)?;
    let behind = Behind::one(&segue, origin);
    let who: &'static [Who] = if options.against.is_some() { &BUILDS } else { &EVERYONE };
    let start = |who: &Who| {
        let program = options.against.as_ref().filter(|_| *who == Who::Before).unwrap_or(&segue);
        contender::start(*who, &behind.clone().by(program), (cores.contender, folder))
    };
    let contenders: Vec<Contender> = who.iter().map(start).collect::<Result<_, _>>()?;
    let mut measured = Vec::new();
    for case in &options.cases {
        measured.push(measure(case, &contenders, &options, (cores.load, folder))?);
    }
    let mut more = Vec::new();
    for one in &options.more {
        more.push(match one {
            More::Idle => {
                let rounds = options.rounds.min(MOST_IDLE_ROUNDS);
                idle::table(&behind, rounds, (cores.contender, folder))?
            }
            More::Slow => slow::table(&contenders, (cores.load, folder))?,
            More::Rate => {
                let often = (options.rounds, options.seconds);
                rate::table(&contenders, often, (cores.load, folder))?
            }
            More::Table => table::table(&example, &options, (cores, folder))?,
            More::Log => log::table(&behind, &options, (cores, folder))?,
        });
    }
    if options.against.is_none() {
        proof::probed(folder)?;
    }
    let report = Report { contenders: who, machine, command: options.command(), measured, more };
    println!("\n{}", report.tables());
    let all = options.cases.len() == CASES.len() && options.more.len() == MORE.len();
    if !all || options.rounds < ROUNDS_FOR_THE_DOCS {
        println!("a try: docs/benchmarks.md stays as it is");
        return Ok(());
    }
    let file = root().join("docs/benchmarks.md");
    fs::write(&file, report.page()).map_err(|error| format!("{}: {error}", file.display()))
}

/// Measures all rounds of one case.
fn measure(
    case: &Case,
    contenders: &[Contender],
    options: &Options,
    load: (usize, &Path),
) -> Result<Measured, String> {
    let in_case = |why: String| format!("{}: {why}", case.what);
    let who: Vec<Who> = contenders.iter().map(|contender| contender.who).collect();
    let mut measured = Measured::new(case.what, &who);
    for contender in contenders {
        proof::answers(contender, case).map_err(in_case)?;
        proof::forwards(contender).map_err(in_case)?;
    }
    for round in 0..options.rounds {
        let mut line = format!("{}, round {}:", case.name, round + 1);
        let mut samples = Vec::new();
        for at in contender::in_turn(contenders.len(), round) {
            let contender = &contenders[at];
            let sample = sample(contender, case, options.seconds, load)
                .map_err(|why| in_case(format!("{}: {why}", contender.who.name())))?;
            samples.push((contender.who, sample));
        }
        samples.sort_by_key(|(one, _)| who.iter().position(|other| other == one));
        for (who, sample) in samples {
            line += &format!(" {} {:.1} µs", who.name(), sample.cpu_micros);
            measured.add(who, sample);
        }
        println!("{line}");
    }
    if calls::countable() {
        for contender in contenders {
            let calls = calls::per_request(contender, case, load)
                .map_err(|why| in_case(format!("{}: {why}", contender.who.name())))?;
            measured.calls.push((contender.who, calls));
        }
    }
    Ok(measured)
}

/// Measures one contender under load for some seconds.
fn sample(
    contender: &Contender,
    case: &Case,
    seconds: u32,
    load: (usize, &Path),
) -> Result<Sample, String> {
    settle(contender)?;
    let counted = proof::counted(contender)?;
    let (ticks, start) = (contender.child.ticks(), Instant::now());
    let sent = load::send(case, contender.address, seconds, load)?;
    let (ticks, wall) = (contender.child.ticks() - ticks, start.elapsed());
    proof::counts(contender, counted, (sent.requests, case.connections))?;
    #[expect(clippy::cast_precision_loss, reason = "a minute of ticks")]
    let cpu = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
    Ok(Sample {
        cpu_micros: cpu * 1e6 / sent.requests,
        per_second: sent.per_second(),
        busy: cpu / wall.as_secs_f64(),
    })
}

/// Waits until no request of an earlier run is still counted.
fn settle(contender: &Contender) -> Done {
    if contender.admin.is_none() {
        return Ok(());
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut before = proof::counted(contender)?;
    loop {
        thread::sleep(Duration::from_millis(50));
        let now = proof::counted(contender)?;
        if now == before {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err("it still counts requests five seconds after the load ended".to_owned());
        }
        before = now;
    }
}

impl Options {
    fn parse(words: &[String]) -> Result<Self, String> {
        let (cases, more) = (Vec::new(), Vec::new());
        let mut options = Self { rounds: 9, seconds: 5, cases, more, against: None };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
            let wrong = || format!("{word} {value}: out of range, or not a number");
            match word.as_str() {
                "--rounds" => {
                    let rounds = value.parse().ok().filter(|n| (1..=MOST_ROUNDS).contains(n));
                    options.rounds = rounds.ok_or_else(wrong)?;
                }
                "--seconds" => {
                    let seconds = value.parse().ok().filter(|n| (1..=MOST_SECONDS).contains(n));
                    options.seconds = seconds.ok_or_else(wrong)?;
                }
                "--case" => options.add(value)?,
                "--against" => options.against = Some(value.clone()),
                other => return Err(format!("unknown option {other:?}")),
            }
        }
        if options.against.is_some() && !options.more.is_empty() {
            return Err("--against compares builds in the cases of single requests only".to_owned());
        }
        if options.cases.is_empty() && options.more.is_empty() {
            options.cases = CASES.to_vec();
            if options.against.is_none() {
                options.more = MORE.map(|(_, more)| more).to_vec();
            }
        }
        Ok(options)
    }

    fn add(&mut self, name: &str) -> Done {
        if let Some(case) = Case::named(name) {
            self.cases.push(case);
        } else if let Some((_, more)) = MORE.into_iter().find(|(other, _)| *other == name) {
            self.more.push(more);
        } else {
            let names = CASES.map(|case| case.name).into_iter().chain(MORE.map(|(name, _)| name));
            let names = names.collect::<Vec<_>>().join(", ");
            return Err(format!("no case {name:?}; there are {names}"));
        }
        Ok(())
    }

    /// Returns the command that repeats the run.
    fn command(&self) -> String {
        format!("cargo xtask bench --rounds {} --seconds {}", self.rounds, self.seconds)
    }
}

impl Cores {
    /// Assigns the cores. The measured program has the first core alone. The origin shares one with the load
    /// client only if it must.
    fn of(allowed: &[usize]) -> Result<Self, String> {
        match *allowed {
            [contender, load] => Ok(Self { contender, origin: load, load }),
            [contender, origin, .., load] => Ok(Self { contender, origin, load }),
            [] | [_] => Err("the bench needs two cores at least".to_owned()),
        }
    }
}

/// Returns the cores that this process may use.
fn allowed() -> Result<Vec<usize>, String> {
    let status = fs::read_to_string("/proc/self/status").map_err(|error| error.to_string())?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    list.and_then(ranges).ok_or_else(|| "cannot tell which cores there are".to_owned())
}

/// Parses a list such as `0-2,5`.
fn ranges(list: &str) -> Option<Vec<usize>> {
    let mut cores = Vec::new();
    for part in list.trim().split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let core = |number: &str| number.parse::<usize>().ok();
        cores.extend(core(from)?..=core(to)?);
    }
    Some(cores)
}

/// Returns the paths of our binary and of an example, as built by cargo.
fn built(example: &str) -> Result<(String, String), String> {
    let metadata = cargo_metadata::MetadataCommand::new().current_dir(root()).no_deps().exec();
    let metadata = metadata.map_err(|error| format!("cannot read the workspace: {error}"))?;
    let release = metadata.target_directory.join("release");
    let segue = release.join("segue").to_string();
    output(&segue, &["--version"])?;
    Ok((segue, release.join("examples").join(example).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&words)
    }

    #[test]
    fn options_are_read_and_bounded() {
        let names = |options: Options| options.cases.iter().map(|case| case.name).collect();
        let default = parse("").unwrap();
        assert_eq!(default.command(), "cargo xtask bench --rounds 9 --seconds 5");
        let some: Vec<&str> = names(parse("--case post --rounds 2 --case new").unwrap());
        assert_eq!(some, ["post", "new"]);
        let options = parse("--case slow --case new").unwrap();
        assert_eq!((options.cases.len(), options.more), (1, vec![More::Slow]));
        let options = parse("--against target/before").unwrap();
        assert_eq!((options.cases.len(), options.more.len()), (CASES.len(), 0));
        for wrong in [
            "--against",
            "--against x --case idle",
            "--rounds",
            "--rounds 0",
            "--seconds 61",
            "--case other",
            "--fast yes",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_measured_core_is_nobody_elses() {
        assert_eq!(ranges(" 0-2,5\n"), Some(vec![0, 1, 2, 5]));
        assert_eq!(ranges("x"), None);
        let cores = |contender, origin, load| Ok(Cores { contender, origin, load });
        assert_eq!(Cores::of(&[0, 1]), cores(0, 1, 1));
        assert_eq!(Cores::of(&[2, 3, 4, 5]), cores(2, 3, 5));
        assert!(Cores::of(&[0]).is_err());
    }
}
