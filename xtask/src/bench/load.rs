//! wrk: sends the load, and reports how much of it was answered.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::case::Case;
use super::child::Child;

/// Time that wrk may take beyond its given duration.
const PATIENCE: Duration = Duration::from_secs(15);

/// The result of a run of wrk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Load {
    pub(super) requests: f64,
    pub(super) bytes: f64,
    pub(super) micros: f64,
    pub(super) failed: f64,
}

impl Load {
    pub(super) fn per_second(&self) -> f64 {
        self.requests * 1e6 / self.micros
    }
}

/// Loads `address` with `case` for some seconds. Fails if any request failed or got a short answer.
pub(super) fn send(
    case: &Case,
    address: SocketAddr,
    seconds: u32,
    (core, folder): (usize, &Path),
) -> Result<Load, String> {
    let script = folder.join(format!("{}.lua", case.name));
    let wrong = |error| format!("{}: {error}", script.display());
    fs::write(&script, case.script()).map_err(wrong)?;
    let args = [
        "--threads=1".to_owned(),
        format!("--connections={}", case.connections),
        format!("--duration={seconds}s"),
        "--timeout=10s".to_owned(),
        format!("--script={}", script.display()),
        format!("http://{address}{}", case.path),
    ];
    let mut wrk = Child::start(("wrk", core), "wrk", args, folder)?;
    let status = wrk.wait(Duration::from_secs(seconds.into()) + PATIENCE)?;
    let said = wrk.said();
    let load = parse(&said).ok_or_else(|| format!("wrk {status}: {said}"))?;
    if load.failed > 0.0 {
        return Err(format!("{} of {} requests failed: {said}", load.failed, load.requests));
    }
    #[expect(clippy::cast_precision_loss, reason = "a megabyte at most")]
    let least = load.requests * case.answered as f64;
    if load.requests < 1.0 || load.bytes < least {
        return Err(format!("{} bytes, at least {least} expected: {said}", load.bytes));
    }
    Ok(load)
}

/// Parses the line that our script lets wrk write.
fn parse(said: &str) -> Option<Load> {
    let line = said.lines().find_map(|line| line.strip_prefix("bench: "))?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let after = |name: &str| {
        let at = words.iter().position(|word| *word == name)?;
        words.get(at + 1)?.parse().ok()
    };
    Some(Load {
        requests: after("requests")?,
        bytes: after("bytes")?,
        micros: after("micros")?,
        failed: after("failed")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_line_is_read() {
        let said = "Running 2s test\n\nbench: requests 200 bytes 51200 micros 2000000 failed 1\n";
        let load = parse(said).unwrap();
        assert_eq!(load, Load { requests: 200.0, bytes: 51200.0, micros: 2e6, failed: 1.0 });
        assert_eq!(load.per_second().to_bits(), 100f64.to_bits());
        assert_eq!(parse("unable to connect"), None);
        assert_eq!(parse("bench: requests 200 bytes"), None);
    }
}
