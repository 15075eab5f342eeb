//! Watches the sockets at the addresses of instances: once a second the machine's listening sockets
//! are listed, and each instance compares. Only what has changed is looked into.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::{Address, InstanceId, Launch, ListenerRule, Listeners};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::agent::World;
use crate::life::on_disk;
use crate::listener::{Verdict, judge, unseen};
use crate::sockets::{Census, Kernel, Listening};

/// Between two lists.
const EVERY: Duration = Duration::from_secs(1);

/// One list, and when it was asked for.
#[derive(Clone, Debug)]
struct Listed {
    at: Instant,
    census: Result<Arc<Census>, String>,
}

/// The machine's list, for all instances.
#[derive(Debug, Default)]
pub(crate) struct Lookout {
    kernel: Arc<Mutex<Kernel>>,
    /// One asks at a time, the others use its answer.
    turn: tokio::sync::Mutex<()>,
    latest: watch::Sender<Option<Listed>>,
}

impl Lookout {
    /// Lists the sockets once a second while anybody compares.
    pub async fn run(&self) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.latest.receiver_count() > 0 {
                let _ = self.since(Instant::now()).await;
            }
        }
    }

    /// A list that was asked for at that moment or later.
    async fn since(&self, moment: Instant) -> Result<Arc<Census>, String> {
        let _turn = self.turn.lock().await;
        if let Some(listed) = self.latest.borrow().as_ref().filter(|listed| listed.at >= moment) {
            return listed.census.clone();
        }
        let (at, kernel) = (Instant::now(), Arc::clone(&self.kernel));
        let asked = on_disk(move || {
            let mut kernel = kernel.lock().unwrap_or_else(PoisonError::into_inner);
            kernel.census().map(Arc::new).map_err(|e| unseen(&e))
        });
        let broken = || Err("segue broke off while it listed sockets".to_owned());
        let census = asked.await.unwrap_or_else(broken);
        self.latest.send_replace(Some(Listed { at, census: census.clone() }));
        census
    }
}

/// Which list is good enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// The newest there is, at most about a second old.
    Latest,
    /// One made after this call.
    Now,
}

/// Guards the address of one instance.
pub(crate) struct Guard {
    world: Arc<World>,
    id: InstanceId,
    watched: Option<Watched>,
}

/// An address at which only the instance may listen.
struct Watched {
    address: SocketAddr,
    latest: watch::Receiver<Option<Listed>>,
    /// The sockets that were looked into last, and what was found.
    seen: Option<(Vec<Listening>, Verdict)>,
}

impl Guard {
    /// Of the instance's address. Where anybody may listen there is nothing to guard, and a unix socket
    /// is guarded by its folder.
    pub fn new(world: &Arc<World>, launch: &Launch) -> Self {
        let watched = match (&launch.address, launch.listener()) {
            (Address::Tcp(address), ListenerRule::Own) => {
                let latest = world.lookout.latest.subscribe();
                Some(Watched { address: *address, latest, seen: None })
            }
            (Address::Tcp(_), ListenerRule::Any) | (Address::Unix(_), _) => None,
        };
        Self { world: Arc::clone(world), id: launch.id.clone(), watched }
    }

    /// Compares, and looks into what has changed. Why nobody may be sent there, if nobody may.
    pub async fn look(&mut self, freshness: Freshness) -> Option<String> {
        let watched = self.watched.as_mut()?;
        let latest = watched.latest.borrow_and_update().clone();
        let listed = match latest.filter(|_| freshness == Freshness::Latest) {
            Some(listed) => listed.census,
            None => self.world.lookout.since(Instant::now()).await,
        };
        let census = match (listed, &watched.seen) {
            (Ok(census), _) => census,
            // Nothing new is known: what was found last stands.
            (Err(_), Some((_, verdict))) => return why(verdict),
            (Err(unseen), None) => return Some(unseen),
        };
        let sockets = census.at(watched.address);
        if let Some((before, verdict)) = &watched.seen
            && *before == sockets
        {
            return why(verdict);
        }
        let (world, id, looked_at) = (Arc::clone(&self.world), self.id.clone(), sockets.clone());
        let verdict = on_disk(move || judge(&world.layout, &id, &looked_at)).await?;
        let why = why(&verdict);
        watched.seen = Some((sockets, verdict));
        why
    }

    /// Who listens there, as far as was looked.
    pub fn listeners(&self) -> Listeners {
        match &self.watched {
            None => Listeners::Any,
            Some(Watched { seen: None, .. }) => Listeners::Unknown,
            Some(Watched { seen: Some((_, verdict)), .. }) => verdict.listeners(),
        }
    }

    /// Returns when the sockets there are others than those that were looked into.
    pub async fn changed(&mut self) {
        let Some(watched) = self.watched.as_mut() else { return std::future::pending().await };
        loop {
            if watched.latest.changed().await.is_err() {
                return std::future::pending().await;
            }
            let latest = watched.latest.borrow_and_update();
            let census = latest.as_ref().and_then(|listed| listed.census.as_ref().ok());
            let sockets = census.map(|census| census.at(watched.address));
            let before = watched.seen.as_ref().map(|(sockets, _)| sockets);
            if sockets.is_some() && sockets.as_ref() != before {
                return;
            }
        }
    }
}

fn why(verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Own(_) => None,
        Verdict::Foreign(why) => Some(why.clone()),
    }
}
