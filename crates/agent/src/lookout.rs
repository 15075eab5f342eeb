//! Watches the sockets at the addresses of instances: once a second the machine's listening sockets
//! are listed, and each instance compares. Only what has changed is looked into.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::{Address, InstanceId, Launch, ListenerRule, Listeners};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::disk::on_disk;
use crate::layout::Layout;
use crate::listener::{Verdict, judge, unseen};
use crate::sockets::{Census, Kernel, Listening};

/// Time between two lists.
const EVERY: Duration = Duration::from_secs(1);

/// One list of sockets, and when it was asked for.
#[derive(Clone, Debug)]
struct Listed {
    at: Instant,
    census: Result<Arc<Census>, String>,
}

/// The machine's list, for all instances.
#[derive(Debug, Default)]
pub(crate) struct Lookout {
    kernel: Arc<Mutex<Kernel>>,
    /// Held by the one caller that asks the kernel; the others wait and use its answer.
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

    /// Returns a list that was asked for at that moment or later.
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

/// How new a list has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// At most about a second old: the newest list there is.
    Latest,
    /// Made after the call.
    Now,
}

/// Guards the addresses of one instance: that of its users, and that of its probes if that is another.
pub(crate) struct Guard {
    lookout: Arc<Lookout>,
    layout: Layout,
    id: InstanceId,
    /// `None` where anybody may listen, and where nobody else can.
    watch: Option<Watch>,
}

struct Watch {
    latest: watch::Receiver<Option<Listed>>,
    spots: Vec<Spot>,
    /// By the last look nobody may be sent there.
    is_barred: bool,
}

/// An address at which only the instance may listen.
struct Spot {
    address: SocketAddr,
    /// The sockets that were looked into last, and what was found.
    seen: Option<(Vec<Listening>, Verdict)>,
}

impl Guard {
    /// Makes the guard of the instance's addresses. A unix socket is guarded by its folder.
    pub fn new(lookout: &Arc<Lookout>, layout: &Layout, launch: &Launch) -> Self {
        let addresses = std::iter::once(&launch.address).chain(&launch.health_address);
        let tcp = addresses.filter_map(|address| match address {
            Address::Tcp(address) => Some(Spot { address: *address, seen: None }),
            Address::Unix(_) => None,
        });
        let spots: Vec<Spot> = tcp.collect();
        let watch = match launch.listener() {
            ListenerRule::Own if !spots.is_empty() => {
                Some(Watch { latest: lookout.latest.subscribe(), spots, is_barred: false })
            }
            ListenerRule::Own | ListenerRule::Any => None,
        };
        let (lookout, layout) = (Arc::clone(lookout), layout.clone());
        Self { lookout, layout, id: launch.id.clone(), watch }
    }

    /// Compares the lists and looks into what has changed. Returns why nobody may be sent there, if nobody may.
    pub async fn look(&mut self, freshness: Freshness) -> Option<String> {
        let watch = self.watch.as_mut()?;
        let latest = watch.latest.borrow_and_update().clone();
        let listed = match latest.filter(|_| freshness == Freshness::Latest) {
            Some(listed) => listed.census,
            None => self.lookout.since(Instant::now()).await,
        };
        let mut why = None;
        for spot in &mut watch.spots {
            if why.is_none() {
                why = spot.look(&self.layout, &self.id, &listed).await;
            }
        }
        watch.is_barred = why.is_some();
        why
    }

    /// Returns who listens where users are sent, as found by the last look. What could not be looked at
    /// counts as somebody else.
    pub fn listeners(&self) -> Listeners {
        let Some(watch) = &self.watch else { return Listeners::Any };
        if watch.is_barred {
            return Listeners::Foreign;
        }
        let seen = watch.spots.first().and_then(|spot| spot.seen.as_ref());
        seen.map_or(Listeners::Unknown, |(_, verdict)| verdict.listeners())
    }

    /// Returns when the sockets there are others than those that were looked into.
    pub async fn changed(&mut self) {
        let Some(watch) = self.watch.as_mut() else { return std::future::pending().await };
        loop {
            if watch.latest.changed().await.is_err() {
                return std::future::pending().await;
            }
            let latest = watch.latest.borrow_and_update();
            let Some(Ok(census)) = latest.as_ref().map(|listed| &listed.census) else { continue };
            if watch.spots.iter().any(|spot| spot.differs(census)) {
                return;
            }
        }
    }
}

impl Spot {
    fn differs(&self, census: &Census) -> bool {
        self.seen.as_ref().is_none_or(|(before, _)| *before != census.at(self.address))
    }

    async fn look(
        &mut self,
        layout: &Layout,
        id: &InstanceId,
        listed: &Result<Arc<Census>, String>,
    ) -> Option<String> {
        let census = match (listed, &self.seen) {
            (Ok(census), _) => census,
            // Nothing new is known: what was found last stands.
            (Err(_), Some((_, verdict))) => return why(verdict),
            (Err(unseen), None) => return Some(unseen.clone()),
        };
        if let Some((_, verdict)) = self.seen.as_ref().filter(|_| !self.differs(census)) {
            return why(verdict);
        }
        let sockets = census.at(self.address);
        let (layout, id, looked_at) = (layout.clone(), id.clone(), sockets.clone());
        let verdict = on_disk(move || judge(&layout, &id, &looked_at)).await?;
        let why = why(&verdict);
        self.seen = Some((sockets, verdict));
        why
    }
}

fn why(verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Own(_) => None,
        Verdict::Foreign(why) => Some(why.clone()),
    }
}
