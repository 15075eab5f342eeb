//! Selects the connections that have to leave when the number of connections nears its limit: the idle
//! ones and the slowest heads of the address that has most, then the exchanges whose clients move least.
//! Never one that waits for its instance.

use std::collections::{BinaryHeap, HashMap};
use std::net::{IpAddr, Ipv6Addr};

/// Age below which an exchange is not judged, since it has had no time to move anything, in milliseconds.
const YOUNG_MS: u64 = 1_000;

/// The activity of a connection, as far as eviction is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// The connection has been idle since then.
    Idle(u64),
    /// The client has been sending a head since then.
    Head(u64),
    /// The connection is so new that its request may be on its way. Not evicted yet.
    Fresh,
    /// The proxy waits for the client to send more of its body.
    Body(Moved),
    /// The proxy waits for the client to take more of its answer.
    Answer(Moved),
    Tunnel(Moved),
    /// A request is being served.
    Busy,
    /// The connection is being closed, and the bytes that still come are discarded.
    Closing,
}

/// The number of bytes that a client has moved since its exchange began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) since_ms: u64,
    pub(crate) bytes: u64,
}

/// The order of eviction within one origin: by kind, then the smallest number first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Idle,
    Head,
    Fresh,
    Body,
    Answer,
    Tunnel,
}

/// The number of connections to evict, and how many of one origin are left alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surplus {
    pub(crate) count: usize,
    /// An origin with more connections than this is the first to give, and gives any of them.
    pub(crate) share: usize,
    /// An origin with no more connections than this keeps those in service.
    pub(crate) few: usize,
    pub(crate) now_ms: u64,
}

/// Returns the origin of an address. Connections of one origin count together. An IPv6 network of 64 bits
/// counts as one user.
pub(crate) fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(four) => IpAddr::V4(four),
        IpAddr::V6(six) => {
            let [a, b, c, d, ..] = six.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[derive(Default)]
struct Origin {
    weight: usize,
    /// Sorted, with the first to leave at the end.
    may_leave: Vec<(Kind, u64, usize)>,
}

/// Chooses connections to evict, at most as many as the surplus.
///
/// An origin with more than its share gives first, whatever its connections do. Then the heaviest origins
/// give connections that are idle or slow with their head, and last the exchanges that have moved least.
/// Busy connections only make their origin heavier.
pub(crate) fn leave(
    connections: impl Iterator<Item = (usize, IpAddr, Doing)>,
    surplus: Surplus,
) -> Vec<usize> {
    let mut origins: HashMap<IpAddr, Origin> = HashMap::new();
    for (id, origin, doing) in connections {
        let origin = origins.entry(origin).or_default();
        origin.weight += 1;
        origin.may_leave.extend(rank(doing, surplus.now_ms).map(|(kind, key)| (kind, key, id)));
    }
    let mut origins: Vec<Origin> = origins.into_values().collect();
    for origin in &mut origins {
        origin.may_leave.sort_unstable_by(|left, right| right.cmp(left));
    }
    let mut chosen = Vec::new();
    for (above, last) in
        [(surplus.share, Kind::Tunnel), (0, Kind::Fresh), (surplus.few, Kind::Tunnel)]
    {
        shed(&mut origins, &mut chosen, surplus.count, (above, last));
    }
    // Fresh connections of a heavy origin stay for now, but no lighter origin gives connections in their
    // place.
    chosen.retain(|(kind, _)| *kind != Kind::Fresh);
    chosen.into_iter().map(|(_, id)| id).collect()
}

/// Returns the rank of a connection among those of its origin. `None` if it must not be evicted.
fn rank(doing: Doing, now_ms: u64) -> Option<(Kind, u64)> {
    let by_pace = |kind, Moved { since_ms, bytes }: Moved| {
        let age_ms = now_ms.saturating_sub(since_ms);
        (age_ms >= YOUNG_MS).then(|| (kind, bytes.saturating_mul(1000) / age_ms.max(1)))
    };
    match doing {
        Doing::Idle(since_ms) => Some((Kind::Idle, since_ms)),
        Doing::Head(since_ms) => Some((Kind::Head, since_ms)),
        Doing::Fresh => Some((Kind::Fresh, 0)),
        Doing::Body(moved) => by_pace(Kind::Body, moved),
        Doing::Answer(moved) => by_pace(Kind::Answer, moved),
        Doing::Tunnel(moved) => by_pace(Kind::Tunnel, moved),
        Doing::Busy | Doing::Closing => None,
    }
}

/// Chooses connections up to this kind from the heaviest origins, until enough are chosen or each origin
/// is down to what it may keep.
fn shed(
    origins: &mut [Origin],
    chosen: &mut Vec<(Kind, usize)>,
    count: usize,
    (keeps, up_to): (usize, Kind),
) {
    let mut heaviest: BinaryHeap<_> =
        origins.iter().enumerate().map(|(at, origin)| (origin.weight, at)).collect();
    while chosen.len() < count
        && let Some((weight, at)) = heaviest.pop()
        && weight > keeps
    {
        let origin = &mut origins[at];
        if let Some((kind, _, id)) = origin.may_leave.pop_if(|(kind, ..)| *kind <= up_to) {
            chosen.push((kind, id));
            origin.weight -= 1;
            heaviest.push((origin.weight, at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(connections: &[(&str, Doing)], count: usize) -> Vec<usize> {
        let connections = connections.iter().enumerate();
        let connections = connections
            .map(|(id, (address, doing))| (id, origin(address.parse().unwrap()), *doing));
        leave(connections, Surplus { count, share: 5, few: 1, now_ms: 10_000 })
    }

    fn moved(bytes: u64) -> Moved {
        Moved { since_ms: 0, bytes }
    }

    #[test]
    fn exchanges_leave_when_nothing_else_can_bodies_first_and_the_slowest_of_them() {
        let connections = [
            ("10.0.0.1", Doing::Tunnel(moved(0))),
            ("10.0.0.1", Doing::Answer(moved(1))),
            ("10.0.0.1", Doing::Body(moved(9_000))),
            ("10.0.0.1", Doing::Body(moved(7))),
            ("10.0.0.1", Doing::Body(Moved { since_ms: 9_001, bytes: 0 })),
            ("10.0.0.2", Doing::Body(moved(0))),
            ("10.0.0.3", Doing::Idle(0)),
            ("10.0.0.3", Doing::Busy),
        ];
        assert_eq!(chosen(&connections, 1), [6], "what is idle leaves first");
        assert_eq!(chosen(&connections, 3), [6, 3, 2]);
        let all = chosen(&connections, 9);
        assert_eq!(all, [6, 3, 2, 1, 0], "not the young one, nor the only one of its origin");
    }

    #[test]
    fn an_origin_above_its_share_gives_before_anybody_else() {
        let mut connections = vec![("10.0.0.1", Doing::Body(moved(5))); 7];
        connections.push(("10.0.0.2", Doing::Idle(0)));
        assert_eq!(chosen(&connections, 2).len(), 2);
        assert!(!chosen(&connections, 2).contains(&7));
        assert_eq!(chosen(&connections, 3)[2], 7, "down to its share");
    }

    #[test]
    fn the_heaviest_loses_its_longest_idle_first_then_its_slowest_heads() {
        let connections = [
            ("10.0.0.1", Doing::Head(1)),
            ("10.0.0.1", Doing::Idle(9)),
            ("10.0.0.1", Doing::Idle(3)),
            ("10.0.0.1", Doing::Busy),
            ("10.0.0.2", Doing::Idle(0)),
            ("10.0.0.2", Doing::Head(0)),
        ];
        assert_eq!(chosen(&connections, 2), [2, 1]);
        let all = chosen(&connections, 9);
        assert_eq!(all.len(), 5);
        assert!(!all.contains(&3), "it is being served");
    }

    #[test]
    fn nobody_leaves_for_the_fresh_ones_of_a_heavier_origin() {
        let connections = [
            ("10.0.0.1", Doing::Fresh),
            ("10.0.0.1", Doing::Fresh),
            ("10.0.0.1", Doing::Idle(5)),
            ("10.0.0.2", Doing::Idle(0)),
        ];
        assert_eq!(chosen(&connections, 2), [2]);
    }

    #[test]
    fn a_network_of_64_bits_counts_as_one() {
        let connections = [
            ("10.0.0.1", Doing::Idle(0)),
            ("2001:db8::1", Doing::Idle(7)),
            ("2001:db8::ffff:1", Doing::Idle(8)),
        ];
        assert_eq!(chosen(&connections, 1), [1]);
        assert_eq!(chosen(&[], 1), [0; 0]);
    }
}
