//! Cookies in request heads. Those named `__segue_*` belong to the proxy: they are read here and never
//! passed on. Never decodes a value.

use alloc::vec::Vec;

use crate::chars::trim;

/// The prefix of the names of the proxy's own cookies.
const OURS: &[u8] = b"__segue_";

/// Returns whether a `Cookie` value contains a cookie of the proxy.
pub(crate) fn holds_ours(value: &[u8]) -> bool {
    // Most values contain none. This loop has no early exit, so the compiler can process many bytes at a
    // time.
    let pairs = value.iter().zip(value.get(1..).unwrap_or_default());
    let suspect = pairs.fold(0_u8, |seen, (a, b)| seen | u8::from((*a == b'_') & (*b == b'_')));
    suspect != 0 && cookies(value).any(is_ours)
}

/// Returns the value of each cookie with this name.
pub(crate) fn named<'a>(value: &'a [u8], name: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    cookies(value).filter_map(move |cookie| {
        let rest = cookie.strip_prefix(name)?.trim_ascii_start();
        rest.strip_prefix(b"=").map(trim)
    })
}

/// Writes a `Cookie` field with all cookies except the proxy's own. Writes nothing if there are no
/// others.
pub(crate) fn write_others(value: &[u8], out: &mut Vec<u8>) {
    let mut start: &[u8] = b"Cookie: ";
    for cookie in cookies(value).filter(|cookie| !cookie.is_empty() && !is_ours(cookie)) {
        out.extend_from_slice(start);
        out.extend_from_slice(cookie);
        start = b"; ";
    }
    if start == b"; " {
        out.extend_from_slice(b"\r\n");
    }
}

fn cookies(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b';').map(trim)
}

fn is_ours(cookie: &[u8]) -> bool {
    cookie.starts_with(OURS)
}
