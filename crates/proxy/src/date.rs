//! The `Date` line of answers: written once a second, copied for each answer that needs it. Does not ask
//! the system for the time while the line is fresh.

use std::cell::Cell;
use std::time::{Duration, UNIX_EPOCH};

/// Milliseconds that a line is used for. Dates have a resolution of one second.
const FRESH_MS: u64 = 1_000;
/// The end of the year 9999, the last one that the format can express.
const LAST_S: u64 = 253_402_300_799;

/// `Date: Sun, 06 Nov 1994 08:49:37 GMT` with its line end (RFC 9110, 5.6.7).
pub(crate) type DateLine = [u8; 37];

/// A worker's source of `Date` lines.
#[derive(Debug)]
pub(crate) struct Dates {
    line: Cell<DateLine>,
    fresh_until_ms: Cell<u64>,
}

impl Default for Dates {
    fn default() -> Self {
        Self { line: Cell::new(date_line(0)), fresh_until_ms: Cell::new(0) }
    }
}

impl Dates {
    /// Returns the line for now. `epoch_s` returns the seconds since 1970, and is called once a second.
    pub(crate) fn line(&self, now_ms: u64, epoch_s: impl FnOnce() -> u64) -> DateLine {
        if now_ms >= self.fresh_until_ms.get() {
            self.line.set(date_line(epoch_s()));
            self.fresh_until_ms.set(now_ms + FRESH_MS);
        }
        self.line.get()
    }
}

fn date_line(epoch_s: u64) -> DateLine {
    let mut line = *b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
    let time = UNIX_EPOCH + Duration::from_secs(epoch_s.min(LAST_S));
    let date = httpdate::fmt_http_date(time);
    if let Some(place) = line.get_mut(6..6 + date.len()) {
        place.copy_from_slice(date.as_bytes());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_has_the_form_of_the_rfc() {
        assert_eq!(&date_line(784_111_777), b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
        assert_eq!(&date_line(u64::MAX), b"Date: Fri, 31 Dec 9999 23:59:59 GMT\r\n");
    }

    #[test]
    fn the_time_is_asked_once_a_second() {
        let dates = Dates::default();
        let first = dates.line(5_000, || 1);
        assert_eq!(first, date_line(1));
        assert_eq!(dates.line(5_999, || 2), first);
        assert_eq!(dates.line(6_000, || 3), date_line(3));
    }
}
