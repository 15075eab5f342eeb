//! Bounds of a proxy: what they are, how `--limit` calls them, and what they may be. The flag and the
//! proxy's settings are made from these tables, and docs/limits.md is compared with them.

use core::ops::RangeInclusive;

use self::LimitField::{Count, Size, Time};
use crate::{AppLimits, Millis};

/// Bounds and time limits of a proxy. Those of an app come with its route ([`AppLimits`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyLimits {
    /// Connections of clients.
    pub connections: u32,
    /// From the first byte of a request to the end of its head, in all.
    pub head: Millis,
    /// How large a request's head may be.
    pub head_sizes: HeadSizes,
    /// A kept-alive connection without a request.
    pub idle: Millis,
    /// The least bytes per second of a body; 0 for none.
    pub body_rate: u64,
    /// Grace before [`ProxyLimits::body_rate`] applies to a body.
    pub body_grace: Millis,
    /// Without a byte taken by the client.
    pub write_stall: Millis,
    /// Connecting to an instance.
    pub connect: Millis,
    /// Waiting for a `100 Continue` of the instance.
    pub continue_wait: Millis,
    /// How long bytes are discarded after an early answer.
    pub linger: Millis,
    /// An idle connection to an instance, unless the instance says otherwise.
    pub upstream_idle: Millis,
    /// Idle connections per instance.
    pub upstream_idle_max: u32,
    /// Requests held per app.
    pub hold_requests: u32,
    /// Bytes of held requests per app.
    pub hold_bytes: u64,
}

/// How large a request's head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadSizes {
    /// All of it, in bytes.
    pub head: u64,
    /// Fields without cookies.
    pub fields: u32,
    /// Path and query, in bytes.
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

/// Bounds of `segue proxy`, which has no app file: the proxy's, and those of its one app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoneLimits {
    /// The limits of the proxy.
    pub proxy: ProxyLimits,
    /// The limits of a request.
    pub request: AppLimits,
    /// How long a request waits for an instance.
    pub hold: Millis,
    /// Requests in flight at the end.
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

/// One bound as a flag sets it.
#[derive(Debug)]
pub struct LimitRow {
    /// What the flag calls it.
    pub name: &'static str,
    /// Where it stands, and what it may be.
    pub field: LimitField,
}

/// Where a bound stands, and what it may be.
#[derive(Debug)]
pub enum LimitField {
    /// From 10 ms to a week.
    Time(fn(&mut LoneLimits) -> &mut Millis),
    /// Bytes, within this range.
    Size(fn(&mut LoneLimits) -> &mut u64, RangeInclusive<u64>),
    /// A number within this range.
    Count(fn(&mut LoneLimits) -> &mut u32, RangeInclusive<u32>),
}

/// What is shorter breaks, what is longer never ends.
pub const LIMIT_TIMES: RangeInclusive<Millis> = Millis(10)..=Millis::from_secs(7 * 86_400);
/// Of a head, in bytes: less no browser can do with, and each connection may need as much as there is.
const HEAD: RangeInclusive<u64> = 1 << 10..=1 << 20;
const ANY: RangeInclusive<u64> = 0..=u64::MAX;
const MOST: u32 = 1_000_000;

const fn row(name: &'static str, field: LimitField) -> LimitRow {
    LimitRow { name, field }
}

/// Bounds of every proxy.
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

/// Bounds of an app, which a flag sets only where there is no app file.
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

    /// The default as people read it.
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
