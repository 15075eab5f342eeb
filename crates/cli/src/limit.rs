//! Limits of a proxy, set by a flag: `--limit idle=2m`. [`model::PROXY_LIMITS`] defines the limits and their
//! ranges.

use bytesize::ByteSize;
use model::{
    Invalid, LIMIT_TIMES, LONE_APP_LIMITS, LimitField, LimitRow, LoneLimits, Millis, PROXY_LIMITS,
    nearest,
};
use wire::parse_duration;

/// One limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    name: &'static str,
    value: LimitValue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LimitValue {
    Time(Millis),
    Size(u64),
    Count(u32),
}

impl Limit {
    /// Returns the defaults, overridden by `limits`.
    pub fn all(limits: &[Self]) -> LoneLimits {
        let mut all = LoneLimits::default();
        for Self { name, value } in limits {
            let row = PROXY_LIMITS.iter().chain(&LONE_APP_LIMITS).find(|row| row.name == *name);
            match (row.map(|row| &row.field), *value) {
                (Some(LimitField::Time(field)), LimitValue::Time(time)) => *field(&mut all) = time,
                (Some(LimitField::Size(field, _)), LimitValue::Size(bytes)) => {
                    *field(&mut all) = bytes
                }
                (Some(LimitField::Count(field, _)), LimitValue::Count(count)) => {
                    *field(&mut all) = count;
                }
                // The value was parsed in the form that the row requires.
                (
                    Some(LimitField::Time(_) | LimitField::Size(..) | LimitField::Count(..)) | None,
                    LimitValue::Time(_) | LimitValue::Size(_) | LimitValue::Count(_),
                ) => {}
            }
        }
        all
    }

    /// Parses a limit of `segue server`, where apps set their own limits in their files.
    pub(crate) fn of_server(text: &str) -> Result<Self, Invalid> {
        let name = text.split('=').next().unwrap_or_default();
        if LONE_APP_LIMITS.iter().any(|row| row.name == name) {
            let why = "it belongs to an app: set it in segue.toml, in [limits], [route] or [drain]";
            return Err(Invalid::new("limit", text, why));
        }
        parse(text, &[&PROXY_LIMITS])
    }

    /// Parses a limit of `segue proxy`.
    pub(crate) fn of_proxy(text: &str) -> Result<Self, Invalid> {
        parse(text, &[&PROXY_LIMITS, &LONE_APP_LIMITS])
    }
}

fn parse(text: &str, tables: &[&'static [LimitRow]]) -> Result<Limit, Invalid> {
    let wrong = |why: String| Invalid::new("limit", text, why);
    let (name, value) = text.split_once('=').ok_or_else(|| wrong("write NAME=VALUE".to_owned()))?;
    let all = || tables.iter().copied().flatten();
    let Some(row) = all().find(|row| row.name == name) else {
        let why = match nearest(name, all().map(|row| row.name)) {
            Some(near) => format!("there is no {name:?}; did you mean {near}?"),
            None => {
                let names: Vec<_> = all().map(|row| row.name).collect();
                format!("it is none of {}", names.join(", "))
            }
        };
        return Err(wrong(why));
    };
    let value = match &row.field {
        LimitField::Time(_) => match parse_duration(value) {
            Ok(time) if LIMIT_TIMES.contains(&time) => LimitValue::Time(time),
            Ok(_) => {
                let (least, most) = (LIMIT_TIMES.start(), LIMIT_TIMES.end());
                return Err(wrong(format!("it can be from {least} to {most}")));
            }
            Err(error) => return Err(wrong(error.to_string())),
        },
        LimitField::Size(_, within) => match value.parse::<ByteSize>() {
            Ok(ByteSize(size)) if within.contains(&size) => LimitValue::Size(size),
            Ok(_) => {
                let (least, most) = (ByteSize(*within.start()), ByteSize(*within.end()));
                return Err(wrong(format!("a size from {least} to {most} is needed")));
            }
            Err(_) => return Err(wrong("a size such as 4MiB is needed".to_owned())),
        },
        LimitField::Count(_, within) => match value.parse() {
            Ok(count) if within.contains(&count) => LimitValue::Count(count),
            Ok(_) | Err(_) => {
                let (least, most) = (within.start(), within.end());
                return Err(wrong(format!("it can be from {least} to {most}")));
            }
        },
    };
    Ok(Limit { name: row.name, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bound_is_read_by_its_name_and_set() {
        let set = |text: &str| Limit::all(&[Limit::of_proxy(text).expect("a bound")]);
        assert_eq!(set("head=5s").proxy.head, Millis::from_secs(5));
        assert_eq!(set("connections=100").proxy.connections, 100);
        assert_eq!(set("hold-bytes=1MiB").proxy.hold_bytes, 1 << 20);
        assert_eq!(set("body-rate=0").proxy.body_rate, 0);
        assert_eq!(set("body=10MiB").request.body, Some(10 << 20));
        for row in PROXY_LIMITS.iter().chain(&LONE_APP_LIMITS) {
            let value = match row.field {
                LimitField::Time(_) => "1m31s",
                LimitField::Size(..) => "17KiB",
                LimitField::Count(..) => "21",
            };
            let text = format!("{}={value}", row.name);
            assert_ne!(set(&text), LoneLimits::default(), "{text}");
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
