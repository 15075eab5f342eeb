//! Validates `Host` and an absolute target's authority. Never resolves anything.

use crate::chars::is_host;

/// Returns whether this is a valid authority without user information: host and optional port (RFC 9112,
/// 3.2).
pub(crate) fn is_authority(text: &[u8]) -> bool {
    let (host_ok, port) = if let Some(rest) = text.strip_prefix(b"[") {
        let Some(end) = rest.iter().position(|&b| b == b']') else { return false };
        (is_ip_literal(&rest[..end]), &rest[end + 1..])
    } else {
        let end = text.iter().position(|&b| b == b':').unwrap_or(text.len());
        (is_reg_name(&text[..end]), &text[end..])
    };
    host_ok && (port.is_empty() || is_port(port))
}

fn is_reg_name(text: &[u8]) -> bool {
    let mut digits_due = 0;
    for &byte in text {
        if !is_host(byte) || (digits_due > 0 && !byte.is_ascii_hexdigit()) {
            return false;
        }
        digits_due = match byte {
            b'%' => 2,
            _ => u8::saturating_sub(digits_due, 1),
        };
    }
    !text.is_empty() && text.len() <= 255 && digits_due == 0
}

fn is_ip_literal(text: &[u8]) -> bool {
    core::str::from_utf8(text).is_ok_and(|text| text.parse::<core::net::Ipv6Addr>().is_ok())
}

fn is_port(text: &[u8]) -> bool {
    let Some(digits) = text.strip_prefix(b":") else { return false };
    digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit)
}

/// Returns the host of an authority, without its port and without the dot at the end of a full name.
pub(crate) fn host_of(authority: &[u8]) -> &[u8] {
    let end = match authority {
        [b'[', ..] => authority.iter().position(|&b| b == b']').map(|at| at + 1),
        _ => authority.iter().position(|&b| b == b':'),
    };
    let host = &authority[..end.unwrap_or(authority.len())];
    host.strip_suffix(b".").unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities() {
        for good in ["a", "a.b", "a_b", "a:80", "a:", "[::1]", "[::1]:80", "1.2.3.4:5", "a%41"] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        let bad = ["", ":80", "a b", "u@h", "a/b", "a:80:80", "a:x", "[::1", "[x]", "a,b%", "é"];
        for bad in bad {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn the_host_is_what_stands_before_the_port() {
        for (authority, host) in [("a.b:80", "a.b"), ("[::1]:80", "[::1]"), ("a.b.", "a.b")] {
            assert_eq!(host_of(authority.as_bytes()), host.as_bytes());
        }
    }
}
