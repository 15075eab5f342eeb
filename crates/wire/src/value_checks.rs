//! Checks of values that occur in several tables of an app file.

use std::net::{Ipv4Addr, Ipv6Addr};

use model::Millis;

/// The upper bound of most times.
pub(crate) const DAY: Millis = Millis::from_secs(86_400);

/// Checks that a path can be sent in a request line. The error completes "because …".
pub(crate) fn check_path(path: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err(format!("{path:?} has to start with `/`"));
    }
    if path.len() > 1_024 || !path.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        return Err(format!(
            "{path:?} may only hold visible ASCII without `#`, 1024 bytes at most"
        ));
    }
    Ok(())
}

/// Checks a host name, a pattern or an address, without a port. The error completes "because …".
pub(crate) fn check_host(host: &str) -> Result<(), &'static str> {
    let (host, pattern) = host.strip_prefix("*.").map_or((host, false), |rest| (rest, true));
    if host.contains('*') || host.is_empty() {
        return Err("a `*` may only stand as the whole first label, as in *.example.com");
    }
    if host.contains("://") || host.contains('/') {
        return Err("only the host name belongs here, without scheme and path");
    }
    if host.parse::<Ipv6Addr>().is_ok() {
        return Err("an IPv6 address is written in brackets");
    }
    if let Some(inner) = host.strip_prefix('[').filter(|_| !pattern) {
        let address = inner.strip_suffix(']').map(str::parse::<Ipv6Addr>);
        return match address {
            Some(Ok(_)) => Ok(()),
            Some(Err(_)) | None => Err("it is no IPv6 address in brackets"),
        };
    }
    if host.contains(':') {
        return Err("the port does not belong here");
    }
    if pattern && host.parse::<Ipv4Addr>().is_ok() {
        return Err("an address has no names below it");
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if host.len() > 253 || !host.split('.').all(label) {
        return Err("it is no host name");
    }
    Ok(())
}
