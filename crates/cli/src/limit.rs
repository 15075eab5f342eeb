//! Bounds of a proxy as a flag sets them: `--limit idle=2m`. What they are for stands in docs/limits.md.

use std::ops::RangeInclusive;

use bytesize::ByteSize;
use model::{Invalid, Millis, nearest};
use wire::parse_duration;

/// One bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Connections of clients.
    Connections(u32),
    /// From the first byte of a request to the end of its head.
    Head(Millis),
    /// The head of a request, in bytes.
    HeadSize(u64),
    /// The fields of a head, without cookies.
    HeadFields(u32),
    /// The target of a request, in bytes.
    TargetSize(u64),
    /// A kept-alive connection without a request.
    Idle(Millis),
    /// The least bytes per second of a body whose length was declared, and of every body and answer
    /// while connections are scarce; 0 for none.
    BodyRate(u64),
    /// So long a wait for one body is forgiven at any rate.
    BodyGrace(Millis),
    /// Without a byte taken by the client.
    WriteStall(Millis),
    /// Connecting to an instance.
    Connect(Millis),
    /// Waiting for a `100 Continue` of the instance.
    ContinueWait(Millis),
    /// How long bytes are discarded after an early answer.
    Linger(Millis),
    /// An idle connection to an instance, unless that says otherwise.
    UpstreamIdle(Millis),
    /// Idle connections per instance.
    UpstreamIdleMax(u32),
    /// Requests held per app.
    HoldRequests(u32),
    /// Bytes of held requests per app.
    HoldBytes(u64),
    /// One of those that belong to an app where there is one.
    OfApp(AppLimit),
}

/// One bound of an app; `segue proxy` has no file for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppLimit {
    /// How long a request waits for an instance.
    Hold(Millis),
    /// The largest body of a request, in bytes.
    Body(u64),
    /// Between two reads of a request's body.
    BodyRead(Millis),
    /// From a request sent to the first byte of its answer.
    FirstByte(Millis),
    /// Between two reads of an answer's body.
    BetweenBytes(Millis),
    /// A tunnel without a byte in either direction.
    TunnelIdle(Millis),
    /// Requests in flight at the end.
    Drain(Millis),
}

/// How the value reads.
#[derive(Clone, Copy)]
enum Kind {
    Time(fn(Millis) -> Limit),
    Size(fn(u64) -> Limit),
    /// From the first to the second.
    SizeWithin(fn(u64) -> Limit, u64, u64),
    /// From this number on.
    Count(fn(u32) -> Limit, u32),
}

/// What is shorter breaks, what is longer never ends.
const TIMES: RangeInclusive<Millis> = Millis(10)..=Millis::from_secs(7 * 86_400);
const MOST: u32 = 1_000_000;
/// Of a head, in bytes: less no browser can do with, and each connection may need as much as there is.
const LEAST_SIZE: u64 = 1 << 10;
const MOST_SIZE: u64 = 1 << 20;

const NAMES: &[(&str, Kind)] = &[
    ("connections", Kind::Count(Limit::Connections, 1)),
    ("head", Kind::Time(Limit::Head)),
    ("head-size", Kind::SizeWithin(Limit::HeadSize, LEAST_SIZE, MOST_SIZE)),
    ("head-fields", Kind::Count(Limit::HeadFields, 16)),
    ("target-size", Kind::SizeWithin(Limit::TargetSize, LEAST_SIZE, MOST_SIZE)),
    ("idle", Kind::Time(Limit::Idle)),
    ("body-rate", Kind::Size(Limit::BodyRate)),
    ("body-grace", Kind::Time(Limit::BodyGrace)),
    ("write-stall", Kind::Time(Limit::WriteStall)),
    ("connect", Kind::Time(Limit::Connect)),
    ("continue-wait", Kind::Time(Limit::ContinueWait)),
    ("linger", Kind::Time(Limit::Linger)),
    ("upstream-idle", Kind::Time(Limit::UpstreamIdle)),
    ("upstream-idle-max", Kind::Count(Limit::UpstreamIdleMax, 0)),
    ("hold-requests", Kind::Count(Limit::HoldRequests, 0)),
    ("hold-bytes", Kind::Size(Limit::HoldBytes)),
];

const NAMES_OF_APPS: &[(&str, Kind)] = &[
    ("hold", Kind::Time(|time| Limit::OfApp(AppLimit::Hold(time)))),
    ("body", Kind::Size(|bytes| Limit::OfApp(AppLimit::Body(bytes)))),
    ("body-read", Kind::Time(|time| Limit::OfApp(AppLimit::BodyRead(time)))),
    ("first-byte", Kind::Time(|time| Limit::OfApp(AppLimit::FirstByte(time)))),
    ("between-bytes", Kind::Time(|time| Limit::OfApp(AppLimit::BetweenBytes(time)))),
    ("tunnel-idle", Kind::Time(|time| Limit::OfApp(AppLimit::TunnelIdle(time)))),
    ("drain", Kind::Time(|time| Limit::OfApp(AppLimit::Drain(time)))),
];

impl Limit {
    /// Reads one of `segue server`, where apps have their own in their files.
    pub(crate) fn of_server(text: &str) -> Result<Self, Invalid> {
        let name = text.split('=').next().unwrap_or_default();
        if NAMES_OF_APPS.iter().any(|(of_app, _)| *of_app == name) {
            let why = "it belongs to an app: set it in segue.toml, in [limits], [route] or [drain]";
            return Err(Invalid::new("limit", text, why));
        }
        parse(text, &[NAMES])
    }

    /// Reads one of `segue proxy`.
    pub(crate) fn of_proxy(text: &str) -> Result<Self, Invalid> {
        parse(text, &[NAMES, NAMES_OF_APPS])
    }
}

fn parse(text: &str, names: &[&[(&str, Kind)]]) -> Result<Limit, Invalid> {
    let wrong = |why: String| Invalid::new("limit", text, why);
    let (name, value) = text.split_once('=').ok_or_else(|| wrong("write NAME=VALUE".to_owned()))?;
    let all = || names.iter().copied().flatten();
    let Some((_, kind)) = all().find(|(known, _)| *known == name) else {
        let why = match nearest(name, all().map(|(known, _)| *known)) {
            Some(near) => format!("there is no {name:?}; did you mean {near}?"),
            None => {
                format!("it is none of {}", all().map(|it| it.0).collect::<Vec<_>>().join(", "))
            }
        };
        return Err(wrong(why));
    };
    match kind {
        Kind::Time(limit) => match parse_duration(value) {
            Ok(time) if TIMES.contains(&time) => Ok(limit(time)),
            Ok(_) => Err(wrong(format!("it can be from {} to {}", TIMES.start(), TIMES.end()))),
            Err(error) => Err(wrong(error.to_string())),
        },
        Kind::Size(limit) => match value.parse::<ByteSize>() {
            Ok(size) => Ok(limit(size.as_u64())),
            Err(_) => Err(wrong("a size such as 4MiB is needed".to_owned())),
        },
        Kind::SizeWithin(limit, least, most) => match value.parse::<ByteSize>() {
            Ok(ByteSize(size)) if (*least..=*most).contains(&size) => Ok(limit(size)),
            Ok(_) | Err(_) => {
                let (least, most) = (ByteSize(*least), ByteSize(*most));
                Err(wrong(format!("a size from {least} to {most} is needed")))
            }
        },
        Kind::Count(limit, least) => {
            let count = value.parse().ok().filter(|count| (*least..=MOST).contains(count));
            count.map(limit).ok_or_else(|| wrong(format!("it can be from {least} to {MOST}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bound_is_read_by_its_name() {
        let read = |text: &str| Limit::of_proxy(text).map_err(|error| error.to_string());
        assert_eq!(read("head=5s"), Ok(Limit::Head(Millis::from_secs(5))));
        assert_eq!(read("connections=100"), Ok(Limit::Connections(100)));
        assert_eq!(read("hold-bytes=1MiB"), Ok(Limit::HoldBytes(1 << 20)));
        assert_eq!(read("body-rate=0"), Ok(Limit::BodyRate(0)));
        assert_eq!(read("body=10MiB"), Ok(Limit::OfApp(AppLimit::Body(10 << 20))));
        for (name, kind) in NAMES.iter().chain(NAMES_OF_APPS) {
            let value = match kind {
                Kind::Time(_) => "1m30s",
                Kind::Size(_) => "7",
                Kind::SizeWithin(..) => "16KiB",
                Kind::Count(..) => "20",
            };
            // The name in the flag is that of the bound.
            let limit = format!("{:?}", read(&format!("{name}={value}")).expect("a bound"));
            let plain = name.replace('-', "");
            assert!(limit.to_lowercase().contains(&format!("{plain}(")), "{name}: {limit}");
        }
    }

    #[test]
    fn a_mistake_is_named_with_the_way_out() {
        let why = |text: &str| Limit::of_server(text).unwrap_err().to_string();
        assert!(why("idl=5s").ends_with("there is no \"idl\"; did you mean idle?"));
        assert!(why("speed=5").contains("it is none of connections, head, head-size"));
        assert!(why("head").ends_with("write NAME=VALUE"));
        assert!(why("head=0s").ends_with("it can be from 10ms to 168h"));
        assert!(why("head=5").contains("a unit is missing"));
        assert!(why("connections=0").ends_with("it can be from 1 to 1000000"));
        assert!(why("head-size=2GiB").ends_with("a size from 1.0 KiB to 1.0 MiB is needed"));
        assert!(why("hold-bytes=much").ends_with("a size such as 4MiB is needed"));
        assert!(why("first-byte=5s").contains("set it in segue.toml"));
    }
}
