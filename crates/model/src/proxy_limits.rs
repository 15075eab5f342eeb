//! The limits of a proxy, their names as `--limit`, and their ranges. The flag and the proxy's settings are
//! made from these tables, and docs/limits.md is compared with them.

use alloc::vec::Vec;
use core::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use self::LimitField::{Count, Size, Time};
use crate::{AppLimits, Millis, Network};

/// Limits of a proxy. The limits of an app come with its route ([`AppLimits`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProxyLimits {
    /// Maximum number of client connections.
    pub connections: u32,
    /// Total time from the first byte of a request to the end of its head.
    pub head: Millis,
    /// Maximum size of a request's head.
    pub head_sizes: HeadSizes,
    /// Time that a kept-alive connection may stay without a request.
    pub idle: Millis,
    /// Minimum rate of a body in bytes per second; 0 sets no minimum.
    pub body_rate: u64,
    /// Grace before [`ProxyLimits::body_rate`] applies to a body.
    pub body_grace: Millis,
    /// Time that a client may take no byte.
    pub write_stall: Millis,
    /// Time to connect to an instance.
    pub connect: Millis,
    /// Time to wait for a `100 Continue` of the instance.
    pub continue_wait: Millis,
    /// Time for which bytes are discarded after an early answer.
    pub linger: Millis,
    /// Time that a connection to an instance may stay idle, unless the instance sets another.
    pub upstream_idle: Millis,
    /// Maximum number of idle connections per instance.
    pub upstream_idle_max: u32,
    /// Maximum number of held requests per app.
    pub hold_requests: u32,
    /// Maximum bytes of held requests per app.
    pub hold_bytes: u64,
}

/// Maximum size of a request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadSizes {
    /// Size of the whole head in bytes.
    pub head: u64,
    /// Number of fields, not counting cookies.
    pub fields: u32,
    /// Size of path and query in bytes.
    pub target: u64,
}

impl Default for ProxyLimits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            head: Millis::from_secs(10),
            head_sizes: HeadSizes { head: 32 << 10, fields: 128, target: 8 << 10 },
            idle: Millis::from_secs(75),
            body_rate: 256,
            body_grace: Millis::from_secs(30),
            write_stall: Millis::from_secs(60),
            connect: Millis::from_secs(2),
            continue_wait: Millis::from_secs(1),
            linger: Millis::from_secs(10),
            upstream_idle: Millis(1_500),
            upstream_idle_max: 32,
            hold_requests: 1_024,
            hold_bytes: 4 << 20,
        }
    }
}

/// The settings by which a proxy decides who gets what. All proxies of a fleet have those of the server, wherever
/// they run.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ProxySettings {
    /// The limits.
    pub limits: ProxyLimits,
    /// Proxies in front whose word about the client is believed.
    pub trusted_proxies: Vec<Network>,
    /// Networks from which clients may put themselves into a cohort.
    pub trusted_networks: Vec<Network>,
}

/// Limits of `segue proxy`, which has no app file: those of the proxy and of its single app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoneLimits {
    /// The limits of the proxy.
    pub proxy: ProxyLimits,
    /// The limits of a request.
    pub request: AppLimits,
    /// Time that a request waits for an instance.
    pub hold: Millis,
    /// Time for requests in flight to finish when the proxy ends.
    pub drain: Millis,
}

impl Default for LoneLimits {
    fn default() -> Self {
        Self {
            proxy: ProxyLimits::default(),
            request: AppLimits::default(),
            hold: Millis::from_secs(5),
            drain: Millis::from_secs(30),
        }
    }
}

/// One limit that a flag can set.
#[derive(Debug)]
pub struct LimitRow {
    /// The name of the limit in the flag.
    pub name: &'static str,
    /// The field that holds the limit, and its range.
    pub field: LimitField,
}

/// The field that holds a limit, and its range.
#[derive(Debug)]
pub enum LimitField {
    /// From 10 ms to a week.
    Time(fn(&mut LoneLimits) -> &mut Millis),
    /// A size in bytes, within this range.
    Size(fn(&mut LoneLimits) -> &mut u64, RangeInclusive<u64>),
    /// A number within this range.
    Count(fn(&mut LoneLimits) -> &mut u32, RangeInclusive<u32>),
}

/// Range of times. Shorter times break requests, longer ones never end.
pub const LIMIT_TIMES: RangeInclusive<Millis> = Millis(10)..=Millis::from_secs(7 * 86_400);
/// Range of the size of a head in bytes. Browsers need the minimum, and each connection may use the maximum.
const HEAD: RangeInclusive<u64> = 1 << 10..=1 << 20;
const ANY: RangeInclusive<u64> = 0..=u64::MAX;
const MOST: u32 = 1_000_000;

const fn row(name: &'static str, field: LimitField) -> LimitRow {
    LimitRow { name, field }
}

/// Limits of every proxy.
pub static PROXY_LIMITS: [LimitRow; 16] = [
    row("connections", Count(|all| &mut all.proxy.connections, 1..=MOST)),
    row("head", Time(|all| &mut all.proxy.head)),
    row("head-size", Size(|all| &mut all.proxy.head_sizes.head, HEAD)),
    row("head-fields", Count(|all| &mut all.proxy.head_sizes.fields, 16..=MOST)),
    row("target-size", Size(|all| &mut all.proxy.head_sizes.target, HEAD)),
    row("idle", Time(|all| &mut all.proxy.idle)),
    row("body-rate", Size(|all| &mut all.proxy.body_rate, ANY)),
    row("body-grace", Time(|all| &mut all.proxy.body_grace)),
    row("write-stall", Time(|all| &mut all.proxy.write_stall)),
    row("connect", Time(|all| &mut all.proxy.connect)),
    row("continue-wait", Time(|all| &mut all.proxy.continue_wait)),
    row("linger", Time(|all| &mut all.proxy.linger)),
    row("upstream-idle", Time(|all| &mut all.proxy.upstream_idle)),
    row("upstream-idle-max", Count(|all| &mut all.proxy.upstream_idle_max, 0..=MOST)),
    row("hold-requests", Count(|all| &mut all.proxy.hold_requests, 0..=MOST)),
    row("hold-bytes", Size(|all| &mut all.proxy.hold_bytes, ANY)),
];

/// Limits of an app, which a flag sets only where there is no app file.
pub static LONE_APP_LIMITS: [LimitRow; 7] = [
    row("hold", Time(|all| &mut all.hold)),
    row("body", Size(|all| all.request.body.get_or_insert(0), ANY)),
    row("body-read", Time(|all| &mut all.request.body_read)),
    row("first-byte", Time(|all| &mut all.request.first_byte)),
    row("between-bytes", Time(|all| &mut all.request.between_bytes)),
    row("tunnel-idle", Time(|all| &mut all.request.tunnel_idle)),
    row("drain", Time(|all| &mut all.drain)),
];

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::format;
    use alloc::string::{String, ToString as _};
    use std::vec::Vec;

    const PAGE: &str = include_str!("../../../docs/limits.md");

    /// Returns the default as text for people.
    fn shown(field: &LimitField) -> String {
        let mut all = LoneLimits::default();
        match field {
            Time(field) => match field(&mut all).0 {
                ms if ms.is_multiple_of(1_000) => format!("{} s", ms / 1_000),
                ms => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
            },
            Size(field, _) => match *field(&mut all) {
                bytes if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
                bytes if bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
                bytes => bytes.to_string(),
            },
            Count(field, _) => match *field(&mut all) {
                count if count >= 1_000 => format!("{} {:03}", count / 1_000, count % 1_000),
                count => count.to_string(),
            },
        }
    }

    #[test]
    fn the_page_on_limits_has_every_bound_with_its_default_and_no_other() {
        let wanted = PROXY_LIMITS.iter().map(|row| (row.name.to_string(), shown(&row.field)));
        let wanted: BTreeSet<(String, String)> = wanted.collect();
        let of_proxy = PAGE.split("## Of the proxy").nth(1).expect("the section");
        let table = of_proxy.split("\n\n").find(|part| part.starts_with("| name |"));
        let rows = table.expect("the table").lines().skip(2).map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            (cells[1].trim_matches('`').to_string(), cells[3].to_string())
        });
        assert_eq!(rows.collect::<BTreeSet<_>>(), wanted);
        for row in &LONE_APP_LIMITS {
            assert!(of_proxy.contains(&format!("`{}`", row.name)), "{}", row.name);
        }
    }

    #[test]
    fn each_row_sets_a_field_of_its_own_to_which_its_default_is_allowed() {
        let before = LoneLimits::default();
        let mut changed = Vec::from([before]);
        for row in PROXY_LIMITS.iter().chain(&LONE_APP_LIMITS) {
            let mut all = before;
            match &row.field {
                Time(field) => {
                    assert!(LIMIT_TIMES.contains(field(&mut all)), "{}", row.name);
                    field(&mut all).0 += 7;
                }
                Size(field, within) => {
                    assert!(within.contains(field(&mut all)), "{}", row.name);
                    *field(&mut all) += 7;
                }
                Count(field, within) => {
                    assert!(within.contains(field(&mut all)), "{}", row.name);
                    *field(&mut all) += 7;
                }
            }
            assert!(!changed.contains(&all), "{} sets nothing, or what another sets", row.name);
            changed.push(all);
        }
    }
}
