//! How many connections the contenders are set up for.

use rustix::process::{Resource, getrlimit};

/// Idle connections, if there are files for so many.
const CONNECTIONS: usize = 10_000;
/// Files that are no client's connection.
const OTHER_FILES: usize = 200;

/// How many connections a contender is set up for and how many of them will idle: proxies want two
/// files for each, and ours begins to close idle ones at nine tenths of what it can have.
pub(super) fn connections() -> usize {
    let files = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    CONNECTIONS.min(files.saturating_sub(OTHER_FILES) / 2 / 5 * 4)
}

/// Connections that nginx and HAProxy are set up for: nginx begins to close idle ones when less than
/// a sixteenth is free.
pub(super) fn slots() -> usize {
    connections() / 8 * 9
}
