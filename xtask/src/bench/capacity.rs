//! The number of connections that the contenders are configured for.

use rustix::process::{Resource, getrlimit};

/// Number of idle connections, if enough files may be open.
const CONNECTIONS: usize = 10_000;
/// Number of open files that are not client connections.
const OTHER_FILES: usize = 200;

/// Returns how many connections a contender is configured for and how many of them will idle. Proxies need
/// two files for each. Our proxy begins to close idle ones at nine tenths of its maximum.
pub(super) fn connections() -> usize {
    let files = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    CONNECTIONS.min(files.saturating_sub(OTHER_FILES) / 2 / 5 * 4)
}

/// Returns the number of connections that nginx and HAProxy are configured for. nginx begins to close idle
/// ones when less than a sixteenth is free.
pub(super) fn slots() -> usize {
    connections() / 8 * 9
}
