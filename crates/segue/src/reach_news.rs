//! What a proxy has found of the instances that it asks, on its way to the server: only what has changed since it
//! was said last in this session. A fleet has thousands of instances, and each report would name them all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use link::{FromMember, ToServer};
use model::{InstanceId, Reached, TrafficReport};

/// The largest number of instances of which a server remembers what one proxy has found.
const MOST: usize = 16_384;
/// The most characters of a reason that a server remembers.
const LONGEST_REASON: usize = 200;

/// A proxy's reports on their way to the server.
#[derive(Debug)]
pub struct ProxyReports {
    /// Set once the proxy is a member.
    to_server: Arc<OnceLock<ToServer>>,
    /// What the server knows; `None` if a session has begun and nothing was said yet.
    known: Mutex<Option<BTreeMap<InstanceId, Reached>>>,
}

impl ProxyReports {
    pub fn new(to_server: Arc<OnceLock<ToServer>>) -> Self {
        Self { to_server, known: Mutex::default() }
    }

    /// Notes that the server knows nothing: a session has begun.
    pub fn begin_anew(&self) {
        *self.known() = None;
    }

    /// Sends a report, after what is new of the instances.
    pub fn send(&self, mut report: TrafficReport) {
        let Some(to_server) = self.to_server.get() else { return };
        let reached = std::mem::take(&mut report.reached);
        // Held until both are on their way, so that they keep their order.
        let mut known = self.known();
        let before = known.take();
        let anew = before.is_none();
        let news = news(&before.unwrap_or_default(), &reached);
        *known = Some(reached);
        if anew || !news.is_empty() {
            to_server.send(FromMember::Reached { anew, news });
        }
        to_server.send(FromMember::Traffic { report: Box::new(report) });
    }

    fn known(&self) -> MutexGuard<'_, Option<BTreeMap<InstanceId, Reached>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns what has changed; `None` for an instance that is not asked any more.
fn news(
    known: &BTreeMap<InstanceId, Reached>,
    reached: &BTreeMap<InstanceId, Reached>,
) -> BTreeMap<InstanceId, Option<Reached>> {
    let gone = known.keys().filter(|id| !reached.contains_key(*id)).map(|id| (id.clone(), None));
    let found = reached.iter().filter(|(id, found)| known.get(*id) != Some(*found));
    gone.chain(found.map(|(id, found)| (id.clone(), Some(found.clone())))).collect()
}

/// Adds what a proxy says to what the server knows of it.
pub fn learn(
    known: &mut BTreeMap<InstanceId, Reached>,
    anew: bool,
    news: BTreeMap<InstanceId, Option<Reached>>,
) {
    if anew {
        known.clear();
    }
    for (id, found) in news {
        match found {
            Some(found) if known.len() < MOST || known.contains_key(&id) => {
                known.insert(id, shortened(found));
            }
            Some(_) => {}
            None => {
                known.remove(&id);
            }
        }
    }
}

/// Returns what was found without the end of a reason that is too long.
fn shortened(found: Reached) -> Reached {
    match found {
        Reached::No(why) if why.len() > LONGEST_REASON => {
            Reached::No(why.chars().take(LONGEST_REASON).collect())
        }
        Reached::No(_) | Reached::Yes => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(of: &[(u64, Reached)]) -> BTreeMap<InstanceId, Reached> {
        let id = |number: &u64| format!("web-{number}").parse().unwrap();
        of.iter().map(|(number, found)| (id(number), found.clone())).collect()
    }

    #[test]
    fn a_server_that_learns_the_news_knows_what_the_proxy_has_found() {
        let no = || Reached::No("connection refused".to_owned());
        let states = [
            found(&[(1, Reached::Yes), (2, no())]),
            found(&[(1, Reached::Yes), (2, Reached::Yes), (3, no())]),
            found(&[(2, no())]),
            found(&[(2, no())]),
        ];
        let (mut said, mut known) = (BTreeMap::new(), BTreeMap::new());
        let counts = states.map(|state| {
            let news = news(&said, &state);
            let count = news.len();
            learn(&mut known, false, news);
            assert_eq!(known, state);
            said = state;
            count
        });
        assert_eq!(counts, [2, 2, 3, 0]);
    }

    #[test]
    fn a_proxy_cannot_fill_the_memory_of_the_server() {
        let mut known = BTreeMap::new();
        let id = |number: usize| -> InstanceId { format!("web-{number}").parse().unwrap() };
        let why = "x".repeat(10_000);
        let news = (1..=2 * MOST).map(|number| (id(number), Some(Reached::No(why.clone()))));
        learn(&mut known, false, news.collect());
        assert_eq!(known.len(), MOST);
        let is_short = |found: &Reached| matches!(found, Reached::No(why) if why.len() == 200);
        assert!(known.values().all(is_short));
        learn(&mut known, true, BTreeMap::new());
        assert_eq!(known.len(), 0);
    }
}
