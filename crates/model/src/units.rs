//! Numbers with units. No bare integer crosses a crate border.

use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};

/// A part of the traffic, in ten-thousandths: 0 is none, 10 000 all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Share(u16);

impl Share {
    /// No traffic.
    pub const NONE: Self = Self(0);
    /// All traffic.
    pub const ALL: Self = Self(10_000);

    /// Returns a share of `n` ten-thousandths; `None` above 10 000.
    pub const fn from_ten_thousandths(n: u16) -> Option<Self> {
        if n <= 10_000 { Some(Self(n)) } else { None }
    }

    /// Returns the share in ten-thousandths.
    pub const fn ten_thousandths(self) -> u16 {
        self.0
    }

    /// Returns the remaining share of the traffic.
    pub const fn rest(self) -> Self {
        Self(10_000 - self.0)
    }

    /// Returns the share as a fraction from 0 to 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 100, self.0 % 100);
        if part == 0 { write!(f, "{whole} %") } else { write!(f, "{whole}.{part:02} %") }
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A length of time in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Millis(pub u64);

impl Millis {
    /// Returns a length of this many seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds * 1_000)
    }

    /// Converts the length to the standard library's type.
    pub const fn to_duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl fmt::Display for Millis {
    /// Writes the length exactly, in at most two units: `1h`, `1m 30s`, `2.5s`, `350ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0;
        let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
        match (hours, minutes) {
            (0, 0) if ms < 1_000 => write!(f, "{ms}ms"),
            (0, 0) if ms % 1_000 < 100 => write!(f, "{seconds}s"),
            (0, 0) => write!(f, "{seconds}.{}s", ms % 1_000 / 100),
            (0, _) if seconds == 0 => write!(f, "{minutes}m"),
            (0, _) => write!(f, "{minutes}m {seconds}s"),
            (_, 0) => write!(f, "{hours}h"),
            (_, _) => write!(f, "{hours}h {minutes}m"),
        }
    }
}

impl fmt::Debug for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A time of the engine clock, in milliseconds since 1970 (UTC). The clock never goes back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Returns the time `later` after this one. Saturates instead of overflowing.
    pub const fn after(self, later: Millis) -> Self {
        Self(self.0.saturating_add(later.0))
    }

    /// Returns the time from `earlier` to this time; zero if `earlier` is not earlier.
    pub const fn since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}ms", self.0)
    }
}

/// The number of a snapshot. The term is journaled at each start of control, and the counter begins anew in
/// each term. Numbers thus only grow, also across crashes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Generation {
    /// The start of control that made the snapshot.
    pub term: u64,
    /// The number of the snapshot within that term.
    pub counter: u64,
}

impl Generation {
    /// Returns the next number of the same term.
    pub const fn next(self) -> Self {
        Self { term: self.term, counter: self.counter + 1 }
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.counter)
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn lengths_of_time_are_printed_for_people() {
        let cases = [
            (0, "0ms"),
            (350, "350ms"),
            (1_000, "1s"),
            (1_040, "1s"),
            (2_500, "2.5s"),
            (60_000, "1m"),
            (90_000, "1m 30s"),
            (3_600_000, "1h"),
            (5_400_000, "1h 30m"),
        ];
        for (ms, text) in cases {
            assert_eq!(Millis(ms).to_string(), text);
        }
    }

    #[test]
    fn generations_grow_across_terms() {
        let old = Generation { term: 1, counter: 900 };
        let new = Generation { term: 2, counter: 1 };
        assert!(old < old.next() && old.next() < new);
    }
}
