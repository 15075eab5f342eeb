//! Holds back that an instance on another host is up until every proxy that is heard reaches it. Its agent finds
//! an instance healthy on its own machine; a firewall between may be of another opinion.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use control::Inbox;
use model::{FromHost, Health, HostId, HostReport, InstanceId, ProxyId, Reached};
use tokio::sync::Notify;

/// What a proxy has found of each instance.
type Found = BTreeMap<InstanceId, Reached>;

/// Passes reports of hosts on to control.
#[derive(Debug)]
pub struct Reachability {
    inbox: Inbox,
    known: Mutex<Known>,
    /// Wakes whoever judges when a report is held back.
    holds: Notify,
}

#[derive(Debug, Default)]
struct Known {
    /// Instances that are healthy for their agent, and that some proxy has not reached yet.
    held: BTreeMap<InstanceId, HeldReport>,
    /// Instances that every proxy has reached. One that joins later is not waited for.
    reached: BTreeSet<InstanceId>,
    /// What each proxy on another machine has found; those that are heard, and no others.
    proxies: BTreeMap<ProxyId, Found>,
}

/// A report that is held back.
#[derive(Debug)]
struct HeldReport {
    host: HostId,
    /// The agent's last report of the instance's health.
    report: HostReport,
    /// The reason that control was told last.
    told: Option<String>,
}

impl Reachability {
    pub fn new(inbox: Inbox) -> Self {
        Self { inbox, known: Mutex::default(), holds: Notify::new() }
    }

    /// Passes a report on, or holds back that an instance is up.
    pub fn pass(&self, host: HostId, report: HostReport) {
        let report = match &report {
            HostReport::Health { id, health, .. } => {
                let mut known = self.known();
                let is_waited_for = !known.reached.contains(id)
                    && (known.held.contains_key(id) || *health == Health::Up);
                if is_waited_for {
                    let told = known.held.remove(id).and_then(|held| held.told);
                    // What control knows of the proxies does not change by a word of the host.
                    let passed = held_back(report.clone(), told.as_deref());
                    let held = HeldReport { host: host.clone(), report: report.clone(), told };
                    known.held.insert(id.clone(), held);
                    self.holds.notify_one();
                    passed
                } else {
                    report
                }
            }
            HostReport::Exited { id, .. } | HostReport::NotStarted { id, .. } => {
                let mut known = self.known();
                known.held.remove(id);
                known.reached.remove(id);
                drop(known);
                report
            }
            HostReport::Fetching { .. }
            | HostReport::Running { .. }
            | HostReport::Kept(_)
            | HostReport::Ports { .. } => report,
        };
        self.inbox.host(FromHost { host, report });
    }

    /// Records that a proxy on another machine is heard. It is waited for from now on.
    pub fn proxy_is_here(&self, proxy: ProxyId) {
        self.known().proxies.entry(proxy).or_default();
    }

    /// Records what a proxy on another machine has found, if it is heard.
    pub fn proxy_found(&self, proxy: &ProxyId, found: &Found) {
        if let Some(known) = self.known().proxies.get_mut(proxy)
            && known != found
        {
            known.clone_from(found);
        }
    }

    /// Records that a proxy is not heard any more. It is not waited for.
    pub fn proxy_is_gone(&self, proxy: &ProxyId) {
        self.known().proxies.remove(proxy);
    }

    /// Returns whether a report is held back.
    pub fn holds_any(&self) -> bool {
        !self.known().held.is_empty()
    }

    /// Waits until a report is held back.
    pub async fn begins_to_hold(&self) {
        self.holds.notified().await;
    }

    /// Passes on what every proxy reaches by now, and tells control why others are not reached. `own` is what the
    /// server's own proxy has found, and `addresses` are those of the instances that are asked.
    pub fn judge(&self, own: &Found, addresses: &BTreeMap<InstanceId, SocketAddr>) {
        let mut known = self.known();
        let Known { held, reached, proxies } = &mut *known;
        let mut passed = Vec::new();
        held.retain(|id, held| {
            // One that is not asked yet will be in a moment.
            let Some(address) = addresses.get(id) else { return true };
            match obstacle(id, *address, own, proxies) {
                None => {
                    reached.insert(id.clone());
                    passed.push((held.host.clone(), held.report.clone()));
                    false
                }
                Some(why) if held.told.as_ref() != Some(&why) => {
                    passed.push((held.host.clone(), held_back(held.report.clone(), Some(&why))));
                    held.told = Some(why);
                    true
                }
                Some(_) => true,
            }
        });
        drop(known);
        for (host, report) in passed {
            self.inbox.host(FromHost { host, report });
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns why an instance does not count as up yet, if so: which proxy does not reach it.
fn obstacle(
    id: &InstanceId,
    address: SocketAddr,
    own: &Found,
    proxies: &BTreeMap<ProxyId, Found>,
) -> Option<String> {
    let remote = proxies.iter().map(|(name, found)| (name.as_str(), found));
    let mut waits = None;
    for (name, found) in [("the server", own)].into_iter().chain(remote) {
        match found.get(id) {
            Some(Reached::Yes) => {}
            Some(Reached::No(why)) => {
                return Some(format!(
                    "it is healthy on its host, and {name} cannot reach {address}: {why}"
                ));
            }
            None => waits = Some(format!("{name} has not tried yet to reach {address}")),
        }
    }
    waits
}

/// Returns a report of health as control hears it before the instance is reached.
fn held_back(report: HostReport, why: Option<&str>) -> HostReport {
    let HostReport::Health { id, health, streak, note, unanswered, listeners } = report else {
        return report;
    };
    let (health, note) = match health {
        Health::Up => (Health::Unknown, why.map(str::to_owned)),
        Health::Unknown | Health::Down => (health, note),
    };
    HostReport::Health { id, health, streak, note, unanswered, listeners }
}
