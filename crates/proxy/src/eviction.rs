//! Who has to leave when there are nearly too many connections: the idle and the slowest heads of
//! whichever address has most, then exchanges whose clients move least. Never one that waits for its
//! instance.

use std::collections::{BinaryHeap, HashMap};
use std::net::{IpAddr, Ipv6Addr};

/// An exchange that began so lately has had no time to move anything: not yet, in milliseconds.
const YOUNG_MS: u64 = 1_000;

/// What a connection is doing, as far as it may be asked to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Nothing, since then.
    Idle(u64),
    /// The client sends a head, since then.
    Head(u64),
    /// The connection came so lately that its request may be on its way: not yet.
    Fresh,
    /// Its client is waited for: for more of its body.
    Body(Moved),
    /// Its client is waited for: to take more of its answer.
    Answer(Moved),
    Tunnel(Moved),
    /// Its request is being served.
    Busy,
    /// The connection is being closed, and what still comes is discarded.
    Closing,
}

/// What a client has moved since its exchange began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) since_ms: u64,
    pub(crate) bytes: u64,
}

/// Who leaves first, within one origin: by kind, then the one with the smallest number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Idle,
    Head,
    Fresh,
    Body,
    Answer,
    Tunnel,
}

/// How many have to leave, and how many connections of one origin are left alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surplus {
    pub(crate) count: usize,
    /// Above so many an origin is the first to give, and gives anything.
    pub(crate) share: usize,
    /// Down to so many an origin keeps what is being served.
    pub(crate) few: usize,
    pub(crate) now_ms: u64,
}

/// Connections of one origin count together: of IPv6 a network of 64 bits is one user's.
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
    /// The first to leave stands last.
    may_leave: Vec<(Kind, u64, usize)>,
}

/// Chooses at most so many of these connections.
///
/// An origin with more than its share gives first, whatever it has. Then the heaviest give what is idle
/// or slow with its head, and last the exchanges that have moved least. Busy connections only make their
/// origin heavier.
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
    // The fresh ones of a heavy origin stay for now, but nobody lighter leaves in their place.
    chosen.retain(|(kind, _)| *kind != Kind::Fresh);
    chosen.into_iter().map(|(_, id)| id).collect()
}

/// Where a connection stands among those of its origin; `None` if it may not be asked to leave.
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

/// Takes connections up to this kind from the heaviest origins, until enough are chosen or each origin
/// has no more than it may keep.
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
