//! The media types that a client prefers, for answers of the proxy itself. Only JSON and HTML are
//! distinguished.

use crate::chars::{list, trim};

/// The weights of the two types, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Preference {
    json: u16,
    html: u16,
}

impl Preference {
    /// Adds one `Accept` value.
    pub(crate) fn add(&mut self, value: &[u8]) {
        for range in list(value) {
            let mut parts = range.split(|&b| b == b';').map(trim);
            let kind = parts.next().unwrap_or_default();
            let mut weight = || parts.find_map(weight).unwrap_or(1000);
            if kind.eq_ignore_ascii_case(b"application/json") {
                self.json = self.json.max(weight());
            } else if kind.eq_ignore_ascii_case(b"text/html")
                || kind.eq_ignore_ascii_case(b"application/xhtml+xml")
            {
                self.html = self.html.max(weight());
            }
        }
    }

    /// Returns whether JSON is named, and preferred to HTML.
    pub(crate) fn is_json(self) -> bool {
        self.json > self.html
    }
}

/// Parses `q=0.8` as 800. An invalid weight counts as 0.
fn weight(parameter: &[u8]) -> Option<u16> {
    let value = match parameter {
        [b'q' | b'Q', b'=', value @ ..] => value,
        _ => return None,
    };
    let (whole, decimals) = match value {
        [whole] => (whole, &[][..]),
        [whole, b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
        _ => return Some(0),
    };
    let digits = core::iter::once(whole).chain(decimals).chain([b'0'; 3].iter());
    let number = digits.take(4).try_fold(0, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + u16::from(digit - b'0'))
    });
    Some(number.unwrap_or(0).min(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_chosen_only_where_it_is_liked_better() {
        for (accept, json) in [
            ("", false),
            ("*/*", false),
            ("application/json", true),
            ("application/json, text/plain, */*", true),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", false),
            ("text/html, application/json", false),
            ("text/html;q=0.9, application/json", true),
            ("application/json;q=0.5, text/html;q=0.75", false),
            ("application/json;q=0", false),
            ("application/json;q=nonsense", false),
            ("Application/JSON ; charset=utf-8 ; q=0.1", true),
        ] {
            let mut preference = Preference::default();
            preference.add(accept.as_bytes());
            assert_eq!(preference.is_json(), json, "{accept}");
        }
    }
}
