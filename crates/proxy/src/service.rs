//! How a proxy leaves service and comes back to it while it goes on running: which clients it still takes, and the
//! counts of those that are left. When to do which is decided elsewhere.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use socket2::{SockFilter, SockRef};

use crate::deadline::SharedDeadline;

/// Age in milliseconds from which an open connection counts as settled: an exchange of a new client is usually over by
/// then.
const SETTLED_MS: u64 = 500;

/// How a proxy takes part in service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServiceMode {
    /// The proxy takes connections and keeps them.
    Full,
    /// The proxy closes each connection after its next answer.
    ClosesConnections,
    /// The proxy answers no new connection, either. The client's system tries again after a second, and finds
    /// another proxy by then if the address has moved there.
    TakesNoMore,
}

/// The service of a proxy, as its workers follow it.
#[derive(Debug)]
pub(crate) struct ServiceState {
    mode: AtomicU8,
    changed_ms: AtomicU64,
    /// The time when the proxy was last in full service.
    full_until_ms: AtomicU64,
    /// The time when the proxy ends and all remaining connections are cut. Never, unless it drains.
    pub(crate) ends_at: SharedDeadline,
    /// The number of times that connections were to be cut.
    cuts: AtomicU64,
    /// Connections that were opened before this time were to be cut last.
    cut_before_ms: AtomicU64,
    /// The number of connections with a request or a stream that were cut.
    pub(crate) cut: AtomicU64,
}

impl ServiceState {
    /// Returns the state of a proxy in full service.
    pub(crate) fn new() -> Self {
        Self {
            mode: AtomicU8::new(0),
            changed_ms: AtomicU64::new(0),
            full_until_ms: AtomicU64::new(0),
            ends_at: SharedDeadline::never(),
            cuts: AtomicU64::new(0),
            cut_before_ms: AtomicU64::new(0),
            cut: AtomicU64::new(0),
        }
    }

    pub(crate) fn get(&self) -> ServiceMode {
        match self.mode.load(Ordering::Acquire) {
            0 => ServiceMode::Full,
            1 => ServiceMode::ClosesConnections,
            _ => ServiceMode::TakesNoMore,
        }
    }

    pub(crate) fn set(&self, mode: ServiceMode, now_ms: u64) {
        if self.get() == ServiceMode::Full {
            self.full_until_ms.store(now_ms, Ordering::Relaxed);
        }
        self.changed_ms.store(now_ms, Ordering::Relaxed);
        self.mode.store(mode as u8, Ordering::Release);
    }

    /// Returns the time before which the connections that are left over were opened: the proxy was in full service
    /// until then. `None` while it is.
    pub(crate) fn left_over_before_ms(&self) -> Option<u64> {
        let leaves = self.get() != ServiceMode::Full;
        leaves.then(|| self.full_until_ms.load(Ordering::Acquire).saturating_add(1))
    }

    /// Returns the time from which workers have counted the connections that are left over.
    pub(crate) fn counted_from_ms(&self) -> u64 {
        self.changed_ms.load(Ordering::Acquire).saturating_add(SETTLED_MS)
    }

    /// Asks every worker to cut its connections that were opened before a time.
    pub(crate) fn cut(&self, before_ms: u64) {
        self.cut_before_ms.store(before_ms, Ordering::Relaxed);
        self.cuts.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns the number of times that connections were to be cut, and before which time those were opened that were
    /// to be cut last.
    pub(crate) fn cuts(&self) -> (u64, u64) {
        let cuts = self.cuts.load(Ordering::Acquire);
        (cuts, self.cut_before_ms.load(Ordering::Relaxed))
    }
}

/// The counts that a worker makes at each sweep.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    /// The number of connections that are left over from full service.
    left_over: AtomicUsize,
    /// The number of connections that are settled, if the proxy leaves service.
    settled: AtomicUsize,
    /// The time of the sweep.
    at_ms: AtomicU64,
}

/// The connections of a proxy that leaves service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LeavingConnections {
    /// Number of those that were opened while the proxy was in full service.
    pub left_over: usize,
    /// Number of those that have been open for longer than half a second.
    pub settled: usize,
}

impl Swept {
    /// Notes a sweep. `left_over_before_ms` is as in [`ServiceState`]; `opened_before` counts the connections that were
    /// opened before a time.
    pub(crate) fn note(
        &self,
        now_ms: u64,
        left_over_before_ms: Option<u64>,
        opened_before: impl Fn(u64) -> usize,
    ) {
        let left_over = left_over_before_ms.map_or(0, &opened_before);
        let settled = left_over_before_ms.map(|_| now_ms.saturating_sub(SETTLED_MS));
        self.left_over.store(left_over, Ordering::Relaxed);
        self.settled.store(settled.map_or(0, opened_before), Ordering::Relaxed);
        self.at_ms.store(now_ms, Ordering::Release);
    }

    /// Returns the time of the last sweep.
    pub(crate) fn at_ms(&self) -> u64 {
        self.at_ms.load(Ordering::Acquire)
    }

    /// Returns the connections, if they were counted after that time.
    pub(crate) fn counted_after(&self, since_ms: u64) -> Option<LeavingConnections> {
        (self.at_ms() > since_ms).then(|| LeavingConnections {
            left_over: self.left_over.load(Ordering::Relaxed),
            settled: self.settled.load(Ordering::Relaxed),
        })
    }
}

/// Lets a listening socket ignore new connections, or take them again. Those that wait to be accepted are still
/// accepted.
pub(crate) fn ignore_new(socket: SockRef<'_>, ignore: bool) -> std::io::Result<()> {
    if ignore { socket.attach_filter(&no_new_connections()) } else { socket.detach_filter() }
}

/// Returns a program for the kernel that drops segments with SYN and without ACK. Segments begin with the TCP header,
/// whose byte 13 has the flags.
fn no_new_connections() -> [SockFilter; 5] {
    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const SYN: u32 = 0x02;
    const SYN_AND_ACK: u32 = 0x12;
    [
        SockFilter::new(LOAD_BYTE, 0, 0, 13),
        SockFilter::new(AND, 0, 0, SYN_AND_ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]
}
