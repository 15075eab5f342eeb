//! Lengths of time in the form that people write: `500ms`, `5s`, `1m30s`, `2h`.

use model::{Invalid, Millis};

/// Parses a length of time: whole numbers with a unit, the larger unit first.
///
/// # Errors
/// If the text has another form, or the time is longer than a million hours.
pub fn parse_duration(text: &str) -> Result<Millis, Invalid> {
    let wrong = |why: &str| Invalid::new("length of time", text, why);
    let mut rest = text.trim();
    let mut total: u64 = 0;
    let mut last_unit = u64::MAX;
    if rest.is_empty() {
        return Err(wrong("write it like \"5s\", \"1m30s\" or \"500ms\""));
    }
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, tail) = tail.split_at(letters);
        if number.is_empty() {
            return Err(wrong("a whole number has to stand before each unit"));
        }
        let unit = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "" => return Err(wrong("a unit is missing: ms, s, m, h or d")),
            _ => return Err(wrong("the units are ms, s, m, h and d")),
        };
        if unit >= last_unit {
            return Err(wrong("the larger unit comes first, and each unit once"));
        }
        last_unit = unit;
        total = number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(unit))
            .and_then(|ms| total.checked_add(ms))
            .filter(|ms| *ms <= 3_600_000_000_000)
            .ok_or_else(|| wrong("it is too long"))?;
        rest = tail.trim_start();
    }
    Ok(Millis(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_as_people_write_them() {
        let cases = [
            ("0s", 0),
            ("500ms", 500),
            ("5s", 5_000),
            ("1m30s", 90_000),
            ("1m 30s", 90_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
        ];
        for (text, ms) in cases {
            assert_eq!(parse_duration(text), Ok(Millis(ms)), "{text}");
        }
        for bad in ["", "5", "s", "5 s", "-1s", "1.5s", "30s1m", "1s1s", "9999999999h", "5y"] {
            assert!(parse_duration(bad).is_err(), "{bad:?}");
        }
    }
}
