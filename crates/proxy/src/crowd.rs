//! Who has to leave when there are nearly too many connections: the idle, then the slowest heads, of
//! whichever address has most. Never one whose request is being served.

use std::collections::{BinaryHeap, HashMap};
use std::net::{IpAddr, Ipv6Addr};

/// What a connection is doing, as far as it may be asked to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Doing {
    /// Nothing, since then.
    Idle(u64),
    /// It sends a head, since then.
    Head(u64),
    /// It came so lately that its request may be on its way: not yet.
    Fresh,
    /// Its request is being served, or it is being closed anyway.
    Busy,
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

/// Chooses at most `count` of these connections. Busy ones only make their origin heavier.
pub(crate) fn leave(
    connections: impl Iterator<Item = (usize, IpAddr, Doing)>,
    count: usize,
) -> Vec<usize> {
    #[derive(Default)]
    struct Origin {
        weight: usize,
        may_leave: Vec<(Doing, usize)>,
    }
    let mut origins: HashMap<IpAddr, Origin> = HashMap::new();
    for (id, origin, doing) in connections {
        let origin = origins.entry(origin).or_default();
        origin.weight += 1;
        match doing {
            Doing::Idle(_) | Doing::Head(_) | Doing::Fresh => origin.may_leave.push((doing, id)),
            Doing::Busy => {}
        }
    }
    let mut origins: Vec<Origin> = origins.into_values().collect();
    for origin in &mut origins {
        // The first to leave stands last.
        origin.may_leave.sort_unstable_by(|left, right| right.cmp(left));
    }
    let mut heaviest: BinaryHeap<_> =
        origins.iter().enumerate().map(|(at, origin)| (origin.weight, at)).collect();
    let mut chosen = Vec::new();
    while let Some((weight, at)) = heaviest.pop()
        && chosen.len() < count
    {
        if let Some(next) = origins[at].may_leave.pop() {
            chosen.push(next);
            heaviest.push((weight - 1, at));
        }
    }
    // The fresh ones of a heavy origin stay for now, but nobody lighter leaves in their place.
    chosen.retain(|(doing, _)| *doing != Doing::Fresh);
    chosen.into_iter().map(|(_, id)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(connections: &[(&str, Doing)], count: usize) -> Vec<usize> {
        let connections = connections.iter().enumerate();
        let connections = connections
            .map(|(id, (address, doing))| (id, origin(address.parse().unwrap()), *doing));
        leave(connections, count)
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
