//! Ports of one host for new instances: offered by the host, assigned once, resting after use.

use std::collections::{BTreeSet, VecDeque};

use model::{Address, AppName, Millis, Timestamp};
use rollout::Bug;

/// The ports of a host that control may assign.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ports {
    offered: VecDeque<u16>,
    resting: Vec<Resting>,
    /// True if the host was asked and has not answered, or had so few ports that asking again at once
    /// is no use.
    asked: bool,
}

/// A port whose instance is Gone.
#[derive(Clone, Debug)]
struct Resting {
    port: u16,
    since: Timestamp,
    /// Set until the app's state of that version is acknowledged. Until then a worker may hold a
    /// snapshot with the port.
    held: Option<(AppName, u64)>,
}

impl Ports {
    /// If fewer ports than this are on offer, the host is asked for more.
    const LOW: usize = 32;
    /// Time that an unused port rests, unless few others are left. A program that waits to take over a
    /// freed port thus waits in vain.
    const REST: Millis = Millis::from_secs(60);

    /// Takes the ports that the host named, without those in use or resting. Returns whether there are
    /// more than before.
    pub fn offer(&mut self, free: &[u16], used: &BTreeSet<u16>) -> bool {
        let before = self.offered.len();
        let held = |port: &u16| {
            used.contains(port) || self.resting.iter().any(|r| r.port == *port && r.held.is_some())
        };
        let rests = |port: &&u16| self.resting.iter().any(|r| r.port == **port);
        let free: Vec<u16> = free.iter().filter(|port| !held(port)).copied().collect();
        let (tired, fresh): (Vec<&u16>, Vec<&u16>) = free.iter().partition(rests);
        let spare = Self::LOW.saturating_sub(fresh.len());
        self.offered = fresh.into_iter().chain(tired.into_iter().take(spare)).copied().collect();
        // If the host has few ports, it will not have more a moment later.
        self.asked = self.offered.len() < Self::LOW && !Bug::AsksAtOnce.is_planted();
        self.offered.len() > before
    }

    /// Returns the ports that may be assigned, the best first.
    pub fn free(&self) -> impl Iterator<Item = u16> {
        self.offered.iter().copied()
    }

    /// Returns the ports that rest after use.
    pub fn resting(&self) -> impl Iterator<Item = u16> {
        self.resting.iter().map(|resting| resting.port)
    }

    /// Records that a port was assigned.
    pub fn used(&mut self, address: &Address) {
        if let Address::Tcp(address) = address {
            self.offered.retain(|port| *port != address.port());
            if !Bug::RestsTwice.is_planted() {
                self.resting.retain(|r| r.port != address.port());
            }
        }
    }

    /// Lets the port of a Gone instance rest, at least until the app's state of `version` is
    /// acknowledged.
    pub fn rest(&mut self, address: &Address, app: &AppName, version: u64, now: Timestamp) {
        if let Address::Tcp(address) = address {
            let held = Some((app.clone(), version));
            self.resting.push(Resting { port: address.port(), since: now, held });
        }
    }

    /// Records that every worker acknowledged the app's state of that version.
    pub fn acknowledged(&mut self, app: &AppName, version: u64) {
        for resting in &mut self.resting {
            if resting.held.as_ref().is_some_and(|(of, held)| of == app && *held <= version) {
                resting.held = None;
            }
        }
    }

    /// Returns the ports to leave out when the host is asked for more; `None` if there are enough
    /// ports.
    pub fn want_more(
        &mut self,
        now: Timestamp,
        used: impl FnOnce() -> BTreeSet<u16>,
    ) -> Option<Vec<u16>> {
        if self.asked || self.offered.len() >= Self::LOW {
            return None;
        }
        self.asked = true;
        self.resting.retain(|r| r.held.is_some() || now < r.since.after(Self::REST));
        let mut except = used();
        except.extend(self.resting.iter().filter(|r| r.held.is_some()).map(|r| r.port));
        Some(except.into_iter().collect())
    }

    /// Lets the host be asked again if it did not answer or had few ports.
    pub fn forget_question(&mut self) {
        self.asked = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn at(port: u16) -> Address {
        Address::Tcp(([127, 0, 0, 1], port).into())
    }

    fn web() -> AppName {
        "web".parse().expect("a name")
    }

    fn asked(ports: &mut Ports, now: Timestamp) -> Option<Vec<u16>> {
        ports.want_more(now, BTreeSet::new)
    }

    #[test]
    fn a_host_with_few_ports_is_not_asked_again_at_once() {
        let mut ports = Ports::default();
        assert!(asked(&mut ports, NOW).is_some());
        assert!(ports.offer(&[20_001, 20_002], &BTreeSet::new()));
        assert_eq!(asked(&mut ports, NOW), None);
        ports.used(&at(20_001));
        assert_eq!(asked(&mut ports, NOW), None, "nor because one of them was taken");
        ports.forget_question();
        assert!(asked(&mut ports, NOW).is_some());
        assert!(!ports.offer(&[20_002], &BTreeSet::new()), "nobody need decide anew");
    }

    #[test]
    fn a_port_in_a_snapshot_that_somebody_may_hold_is_never_offered() {
        let mut ports = Ports::default();
        ports.rest(&at(20_001), &web(), 7, NOW);
        let later = NOW.after(Millis::from_secs(3_600));
        assert_eq!(asked(&mut ports, later), Some(vec![20_001]));
        ports.offer(&[20_001], &BTreeSet::new());
        assert_eq!(ports.free().count(), 0);
        ports.acknowledged(&web(), 6);
        ports.offer(&[20_001], &BTreeSet::new());
        assert_eq!(ports.free().count(), 0);
        ports.acknowledged(&web(), 7);
        ports.offer(&[20_001], &BTreeSet::new());
        assert_eq!(
            ports.free().collect::<Vec<_>>(),
            [20_001],
            "few are left: it is taken although it has just been used"
        );
    }

    #[test]
    fn a_port_rests_for_a_minute_while_there_are_others() {
        let mut ports = Ports::default();
        ports.rest(&at(20_001), &web(), 7, NOW);
        ports.acknowledged(&web(), 7);
        let free: Vec<u16> = (20_001..20_001 + 64).collect();
        ports.offer(&free, &BTreeSet::new());
        assert!(!ports.free().any(|port| port == 20_001));
        ports.offered.clear();
        let later = NOW.after(Ports::REST);
        assert_eq!(asked(&mut ports, later), Some(vec![]));
        ports.offer(&free, &BTreeSet::new());
        assert!(ports.free().any(|port| port == 20_001));
    }
}
