//! The results of a run as tables, and the page in the docs. Contains ratios, never absolute times.

use std::fmt::Write as _;
use std::fs;

use super::contender::Who;
use super::statistics::{Spread, Verdict};

/// The result of one contender in one round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// User and system time per request.
    pub(super) cpu_micros: f64,
    pub(super) per_second: f64,
    /// The fraction of its core that it used.
    pub(super) busy: f64,
}

/// All rounds of one case.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    what: &'static str,
    samples: Vec<(Who, Vec<Sample>)>,
    /// System calls per request. Empty if they cannot be counted.
    pub(super) calls: Vec<(Who, f64)>,
}

/// A whole run.
#[derive(Clone, Debug)]
pub(super) struct Report {
    /// The contenders measured in the cases, ours first.
    pub(super) contenders: &'static [Who],
    pub(super) machine: String,
    pub(super) command: String,
    pub(super) measured: Vec<Measured>,
    /// The results of other measurements, as tables.
    pub(super) more: Vec<String>,
}

impl Measured {
    pub(super) fn new(what: &'static str, contenders: &[Who]) -> Self {
        let samples = contenders.iter().map(|who| (*who, Vec::new())).collect();
        Self { what, samples, calls: Vec::new() }
    }

    /// Adds the result of one contender in the next round.
    pub(super) fn add(&mut self, who: Who, sample: Sample) {
        let mut samples = self.samples.iter_mut();
        if let Some((_, samples)) = samples.find(|(other, _)| *other == who) {
            samples.push(sample);
        }
    }

    fn values(&self, who: Who, value: fn(&Sample) -> f64) -> Vec<f64> {
        let samples = self.samples.iter().filter(|(other, _)| *other == who);
        samples.flat_map(|(_, samples)| samples.iter().map(value)).collect()
    }

    /// Returns the ratio of ours to theirs, round by round.
    fn ratio(&self, theirs: Who, value: fn(&Sample) -> f64) -> Option<Spread> {
        Spread::of_ratios(&self.values(Who::Segue, value), &self.values(theirs, value))
    }

    /// Returns the HTTP proxy, of the other two, that needs less per request.
    fn better(&self) -> Who {
        let needs = |who| Spread::of(&self.values(who, |sample| sample.cpu_micros));
        let needs = |who| needs(who).map_or(f64::INFINITY, |spread| spread.median);
        if needs(Who::Nginx) <= needs(Who::Haproxy) { Who::Nginx } else { Who::Haproxy }
    }
}

impl Report {
    /// Returns the page in the docs.
    pub(super) fn page(&self) -> String {
        include_str!("benchmarks.md")
            .replace("{command}", &self.command)
            .replace("{machine}", &self.machine)
            .replace("{tables}", self.tables().trim_end())
    }

    /// Returns all tables, as Markdown.
    pub(super) fn tables(&self) -> String {
        let mut out = String::new();
        if !self.measured.is_empty() {
            out += &self.cases();
        }
        for table in &self.more {
            out += if out.is_empty() { "" } else { "\n" };
            out += table;
        }
        out
    }

    fn cases(&self) -> String {
        let mut out = String::from("### CPU time per request, ours ÷ theirs\n\n");
        let both = [Who::Nginx, Who::Haproxy].iter().all(|who| self.contenders.contains(who));
        let better = both.then_some("the better of nginx and HAProxy");
        out += &self.ratios(|sample| sample.cpu_micros, better);
        out += "\n### Requests per second, ours ÷ theirs\n\n";
        out += &self.ratios(|sample| sample.per_second, None);
        out += "\n### How busy the measured core was\n\n";
        out += &self.each(|measured, who| {
            let busy = Spread::of(&measured.values(who, |sample| sample.busy))?;
            Some(format!("{:.0} %", busy.median * 100.0))
        });
        if self.measured.iter().any(|measured| !measured.calls.is_empty()) {
            out += "\n### System calls per request\n\n";
            out += &self.each(|measured, who| {
                let calls = measured.calls.iter().find(|(other, _)| *other == who)?;
                Some(format!("{:.1}", calls.1))
            });
        }
        out
    }

    fn ratios(&self, value: fn(&Sample) -> f64, better: Option<&str>) -> String {
        let others = || self.contenders.iter().copied().filter(|who| *who != Who::Segue);
        let mut names: Vec<&str> = others().map(Who::name).collect();
        names.extend(better);
        let mut out = heading("case", &names);
        for measured in &self.measured {
            let mut cells: Vec<String> =
                others().map(|who| cell(measured.ratio(who, value))).collect();
            if better.is_some() {
                let who = measured.better();
                let median = measured.ratio(who, value).map(|ratio| ratio.median);
                let median = median.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
                cells.push(format!("{median} ({})", who.name()));
            }
            out += &row(measured.what, &cells);
        }
        out
    }

    fn each(&self, value: impl Fn(&Measured, Who) -> Option<String>) -> String {
        let names: Vec<&str> = self.contenders.iter().map(|who| who.name()).collect();
        let mut out = heading("case", &names);
        for measured in &self.measured {
            let value = |who| value(measured, who).unwrap_or_else(|| "–".to_owned());
            let cells: Vec<String> = self.contenders.iter().copied().map(value).collect();
            out += &row(measured.what, &cells);
        }
        out
    }
}

pub(super) fn heading(first: &str, names: &[&str]) -> String {
    format!("| {first} | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(names.len()))
}

pub(super) fn row(what: &str, cells: &[String]) -> String {
    format!("| {what} | {} |\n", cells.join(" | "))
}

pub(super) fn cell(ratio: Option<Spread>) -> String {
    let Some(ratio) = ratio else { return "–".to_owned() };
    let Spread { lower, median, upper } = ratio;
    let mut cell = format!("{median:.2} [{lower:.2}–{upper:.2}]");
    match ratio.verdict() {
        Verdict::Less | Verdict::More => {}
        // Writing to a string cannot fail.
        Verdict::NoDifferenceShown => {
            let _ = write!(cell, ", no difference shown");
        }
    }
    cell
}

/// Describes the machine in general terms. Called before the load starts.
pub(super) fn machine() -> Result<String, String> {
    let read = |file| fs::read_to_string(file).map_err(|error| format!("{file}: {error}"));
    let kernel = read("/proc/sys/kernel/osrelease")?;
    let major = kernel.split('.').next().unwrap_or_default().to_owned();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = read("/proc/loadavg")?;
    let load = load.split(' ').next().and_then(|load| load.parse::<f64>().ok()).unwrap_or(0.0);
    Ok(format!("{cores} cores, Linux {major}; {}", company(load)))
}

/// Describes other activity on the machine, judging by the load average before the run.
fn company(load: f64) -> String {
    if load < 0.5 {
        return "nobody else used it when the run began".to_owned();
    }
    format!("shared with other work (the load average was {load:.1} when the run began)")
}

#[cfg(test)]
mod tests {
    use super::super::contender::{BUILDS, EVERYONE};
    use super::*;

    fn measured() -> Measured {
        let mut measured = Measured::new("small GET", &EVERYONE);
        let micros = [(Who::Segue, 9.0), (Who::Nginx, 18.0), (Who::Haproxy, 10.0)];
        for (who, cpu_micros) in micros.into_iter().chain([(Who::HaproxyTcp, 9.0)]) {
            measured.add(who, Sample { cpu_micros, per_second: 1e6 / cpu_micros, busy: 0.97 });
            measured.calls.push((who, 4.25));
        }
        measured
    }

    #[test]
    fn the_tables_name_the_better_and_what_is_not_shown() {
        let (machine, command) = ("2 cores".to_owned(), "cargo xtask bench".to_owned());
        let report = Report {
            contenders: &EVERYONE,
            machine,
            command,
            measured: vec![measured()],
            more: vec!["More\n".to_owned()],
        };
        let tables = report.tables();
        let cpu = "| small GET | 0.50 [0.50–0.50] | 0.90 [0.90–0.90] | \
                   1.00 [1.00–1.00], no difference shown | 0.90 (HAProxy) |\n";
        assert!(tables.contains(cpu), "{tables}");
        assert!(tables.contains("| small GET | 97 % | 97 % | 97 % | 97 % |\n"), "{tables}");
        assert!(tables.contains("| small GET | 4.2 | 4.2 | 4.2 | 4.2 |\n"), "{tables}");
        assert!(tables.ends_with(" |\n\nMore\n"), "{tables}");
        let page = report.page();
        assert!(page.contains(cpu) && !page.contains("{t") && !page.contains("µs"), "{page}");
    }

    #[test]
    fn an_earlier_build_is_compared_alone() {
        let mut measured = Measured::new("small GET", &BUILDS);
        for (who, cpu_micros) in [(Who::Segue, 9.0), (Who::Before, 10.0)] {
            measured.add(who, Sample { cpu_micros, per_second: 1e6 / cpu_micros, busy: 0.97 });
        }
        let (machine, command) = (String::new(), String::new());
        let measured = vec![measured];
        let report = Report { contenders: &BUILDS, machine, command, measured, more: vec![] };
        let tables = report.tables();
        assert!(tables.contains("| case | segue before |\n"), "{tables}");
        assert!(tables.contains("| small GET | 0.90 [0.90–0.90] |\n"), "{tables}");
        assert!(!tables.contains("nginx"), "{tables}");
    }

    #[test]
    fn company_is_told_of() {
        assert_eq!(company(0.1), "nobody else used it when the run began");
        assert!(company(2.04).starts_with("shared with other work (the load average was 2.0"));
    }
}
