//! The connections to members, agents of other hosts and proxies: which are heard, since when others are not, and
//! whether the server has to suspect its own network.

use std::collections::{BTreeMap, BTreeSet};

use model::{MemberName, Reach, Timestamp};
use rollout::Suspicion;

/// The connections to all members.
#[derive(Clone, Debug, Default)]
pub(crate) struct Links {
    /// Time since which members are not heard.
    silent: BTreeMap<MemberName, Timestamp>,
    /// Members not heard since control started. They are not known to have fallen silent at once.
    never_heard: BTreeSet<MemberName>,
    /// Time at which members were heard again.
    back: BTreeMap<MemberName, Timestamp>,
    suspicion: Option<Suspicion>,
    /// Time of the last look at the clock.
    looked: Timestamp,
}

impl Links {
    /// Starts at `now` with members that have not connected yet.
    pub fn begin(&mut self, unheard: impl Iterator<Item = MemberName>, now: Timestamp) {
        for member in unheard {
            self.silent.insert(member.clone(), now);
            self.never_heard.insert(member);
        }
    }

    /// Records that a member has connected.
    pub fn up(&mut self, member: &MemberName, now: Timestamp) {
        self.never_heard.remove(member);
        if self.silent.remove(member).is_some() {
            self.back.insert(member.clone(), now);
        }
    }

    /// Records that a member is not heard any more.
    pub fn silent(&mut self, member: &MemberName, now: Timestamp) {
        self.silent.entry(member.clone()).or_insert(now);
    }

    /// Forgets a member that was removed.
    pub fn forget(&mut self, member: &MemberName) {
        self.never_heard.remove(member);
        self.silent.remove(member);
        self.back.remove(member);
    }

    /// Returns whether a member is heard.
    pub fn reach(&self, member: &MemberName, now: Timestamp) -> Reach {
        self.silent.get(member).map_or(Reach::Here, |since| Reach::of_silent(*since, now))
    }

    /// Returns the time at which a member was last heard again.
    pub fn back_since(&self, member: &MemberName) -> Option<Timestamp> {
        self.back.get(member).copied()
    }

    /// Returns whether a member is doubted or lost since the last look.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.wake_at().is_some_and(|at| now >= at)
    }

    /// Returns the time at which the next member is doubted or lost.
    pub fn wake_at(&self) -> Option<Timestamp> {
        let silent = self.silent.values();
        let times = silent
            .flat_map(|since| [Reach::DOUBTED_AFTER, Reach::LOST_AFTER].map(|it| since.after(it)));
        times.filter(|at| *at > self.looked).min()
    }

    /// Returns the suspicion, if there is one.
    pub fn suspicion(&self) -> Option<Suspicion> {
        self.suspicion
    }

    /// Decides at `now` whether the server has to suspect its own network, with so many members.
    /// It does when more than half of them, and at least two, have fallen silent within
    /// [`Reach::LOST_AFTER`], until half of them are heard again.
    pub fn suspect(&mut self, members: usize, now: Timestamp) {
        self.looked = now;
        let silent = self.silent.len();
        let count = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
        let since = match self.suspicion {
            Some(_) if silent * 2 <= members => {
                // Until now their silence was not held against them.
                self.silent.values_mut().for_each(|since| *since = now);
                None
            }
            Some(suspicion) => Some(suspicion.since),
            None => self.have_fallen_silent(members, now).then_some(now),
        };
        self.suspicion =
            since.map(|since| Suspicion { since, silent: count(silent), of: count(members) });
    }

    fn have_fallen_silent(&self, members: usize, now: Timestamp) -> bool {
        // A member that was never heard may have been lost before control started. It counts once its time to
        // connect is over.
        let counts = |(member, since): &(&MemberName, &Timestamp)| {
            !self.never_heard.contains(*member) || now >= since.after(Reach::LOST_AFTER)
        };
        let mut times: Vec<Timestamp> =
            self.silent.iter().filter(counts).map(|(_, since)| *since).collect();
        times.sort_unstable();
        let most = times.iter().enumerate().map(|(first, at)| {
            let within =
                times.iter().skip(first).take_while(|t| **t <= at.after(Reach::LOST_AFTER));
            within.count()
        });
        most.max().is_some_and(|most| most >= 2 && most * 2 > members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(number: usize) -> MemberName {
        format!("h{number}").parse().expect("it is a name")
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp(1_000_000 + seconds * 1_000)
    }

    /// Lets these hosts fall silent, each at its second, and looks after each. Returns the seconds at which
    /// the server suspected itself.
    fn suspected(hosts: usize, silent: &[u64]) -> Vec<u64> {
        let mut links = Links::default();
        let suspects = silent.iter().enumerate().filter(|(number, second)| {
            links.silent(&host(*number), at(**second));
            links.suspect(hosts, at(**second));
            links.suspicion().is_some()
        });
        suspects.map(|(_, second)| *second).collect()
    }

    #[test]
    fn more_than_half_and_at_least_two_have_to_fall_silent_at_once() {
        let nobody: [u64; 0] = [];
        assert_eq!(suspected(1, &[0]), nobody);
        assert_eq!(suspected(2, &[0, 3]), [3]);
        assert_eq!(suspected(4, &[0, 1]), nobody);
        assert_eq!(suspected(4, &[0, 1, 10]), [10]);
        assert_eq!(suspected(4, &[0, 1, 11]), nobody, "the first was lost before");
        assert_eq!(suspected(5, &[0, 20, 22, 29, 31]), [29, 31]);
    }

    #[test]
    fn the_suspicion_ends_when_half_are_heard_again_and_does_not_arise_from_those_left() {
        let mut links = Links::default();
        (0..3).for_each(|number| links.silent(&host(number), at(0)));
        links.suspect(4, at(1));
        let suspicion = links.suspicion().expect("three of four are silent");
        assert_eq!((suspicion.silent, suspicion.of), (3, 4));
        links.up(&host(0), at(5));
        links.suspect(4, at(5));
        assert_eq!(links.suspicion(), None);
        assert_eq!(links.back_since(&host(0)), Some(at(5)));
        assert_eq!(links.reach(&host(1), at(14)), Reach::Silent { since: at(5) });
        links.suspect(4, at(100));
        assert_eq!(links.suspicion(), None);
    }

    #[test]
    fn hosts_have_time_to_connect_after_a_start() {
        let mut links = Links::default();
        links.begin([host(1), host(2)].into_iter(), at(0));
        links.suspect(2, at(0));
        assert_eq!(links.suspicion(), None);
        assert_eq!(links.reach(&host(1), at(9)), Reach::Silent { since: at(0) });
        assert_eq!(links.wake_at(), Some(at(1)), "then they are doubted");
        links.suspect(2, at(1));
        assert_eq!(links.wake_at(), Some(at(10)));
        assert!(!links.is_due(at(9)) && links.is_due(at(10)));
        links.suspect(2, at(10));
        assert_eq!(links.reach(&host(1), at(10)), Reach::Lost { since: at(10) });
        assert!(links.suspicion().is_some());
        assert_eq!(links.wake_at(), None);
    }
}
