//! Shares in the form that people write: `5%`, `0.5%`, `12.25%`.

use model::{Invalid, Share};

/// Parses a share in percent, with at most two digits after the point.
pub(crate) fn parse_share(text: &str) -> Result<Share, Invalid> {
    let wrong = |why: &str| Invalid::new("share", text, why);
    let number = text.trim().strip_suffix('%').ok_or_else(|| wrong("write it like \"5%\""))?;
    let (whole, part) = number.trim_end().split_once('.').unwrap_or((number.trim_end(), "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return Err(wrong("write it like \"5%\" or \"0.5%\""));
    }
    if part.len() > 2 {
        return Err(wrong("two digits after the point are the finest there is"));
    }
    let part: u16 = format!("{part:0<2}").parse().map_err(|_| wrong("it is no number"))?;
    let whole: Option<u16> = whole.parse().ok();
    whole
        .and_then(|whole| whole.checked_mul(100)?.checked_add(part))
        .and_then(Share::from_ten_thousandths)
        .ok_or_else(|| wrong("all is \"100%\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_to_the_ten_thousandth() {
        let cases = [("5%", 500), ("0.5%", 50), ("0.05%", 5), ("12.25 %", 1_225), ("100%", 10_000)];
        for (text, ten_thousandths) in cases {
            let share = parse_share(text).map(Share::ten_thousandths);
            assert_eq!(share, Ok(ten_thousandths), "{text}");
        }
        for bad in ["", "%", "5", ".5%", "5.%", "-1%", "0.005%", "100.01%", "101%", "5%%", "99999%"]
        {
            assert!(parse_share(bad).is_err(), "{bad:?}");
        }
    }
}
