//! Watches the sockets at the addresses of instances. The machine's listening sockets are listed once a
//! second, and each instance compares the list with the previous one. Owners are looked up only for changes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::{Address, InstanceId, Launch, ListenerRule, Listeners, Serving};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::disk::on_disk;
use crate::layout::InstanceLayout;
use crate::listener_owner::{ListenerOwner, find_listening, find_owner, unreadable};
use crate::sockets::{Listening, SockDiag, SocketTable};

/// The time between two lists.
const EVERY: Duration = Duration::from_secs(1);

/// A list of sockets, and the time when it was requested.
#[derive(Clone, Debug)]
struct SocketList {
    at: Instant,
    table: Result<Arc<SocketTable>, String>,
}

/// The list of the machine's listening sockets, shared by all instances.
#[derive(Debug, Default)]
pub(crate) struct SocketMonitor {
    sock_diag: Arc<Mutex<SockDiag>>,
    /// Held by the one caller that asks the kernel. Other callers wait and use its answer.
    asking: tokio::sync::Mutex<()>,
    latest: watch::Sender<Option<SocketList>>,
}

impl SocketMonitor {
    /// Lists the sockets once a second while any [`ListenerMonitor`] exists.
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

    /// Returns a list that was requested at `moment` or later.
    async fn since(&self, moment: Instant) -> Result<Arc<SocketTable>, String> {
        let _asking = self.asking.lock().await;
        if let Some(list) = self.latest.borrow().as_ref().filter(|list| list.at >= moment) {
            return list.table.clone();
        }
        let (at, sock_diag) = (Instant::now(), Arc::clone(&self.sock_diag));
        let asked = on_disk(move || {
            let mut sock_diag = sock_diag.lock().unwrap_or_else(PoisonError::into_inner);
            sock_diag.read_table().map(Arc::new).map_err(|e| unreadable(&e))
        });
        let broken = || Err("segue broke off while it listed sockets".to_owned());
        let table = asked.await.unwrap_or_else(broken);
        self.latest.send_replace(Some(SocketList { at, table: table.clone() }));
        table
    }
}

/// The required freshness of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// The newest existing list, at most about a second old.
    Latest,
    /// A list requested after the call.
    Now,
}

/// Watches the addresses of one instance: its address for users, and its address for probes if that is
/// another.
pub(crate) struct ListenerMonitor {
    sockets: Arc<SocketMonitor>,
    layout: InstanceLayout,
    id: InstanceId,
    /// `None` if any process may listen, and if no other process can.
    watch: Option<Watched>,
}

struct Watched {
    latest: watch::Receiver<Option<SocketList>>,
    addresses: Vec<WatchedAddress>,
    /// True if the last check found a foreign listener.
    is_foreign: bool,
    /// The addresses at which the instance listens, and the list of all sockets at the last check for that.
    listening: Option<(Vec<Listening>, Vec<SocketAddr>)>,
}

/// An address at which only the instance may listen.
struct WatchedAddress {
    address: SocketAddr,
    /// The sockets at the last check, and their owner.
    seen: Option<(Vec<Listening>, ListenerOwner)>,
}

impl ListenerMonitor {
    /// Creates the monitor of the instance's addresses. A unix socket is protected by its folder and needs no
    /// watching.
    pub fn new(
        sockets: &Arc<SocketMonitor>,
        layout: &InstanceLayout,
        launch: &Launch,
        serving: &Serving,
    ) -> Self {
        let addresses = std::iter::once(&serving.address).chain(&serving.health_address);
        let tcp = addresses.filter_map(|address| match address {
            Address::Tcp(address) => Some(WatchedAddress { address: *address, seen: None }),
            Address::Unix(_) => None,
        });
        let addresses: Vec<WatchedAddress> = tcp.collect();
        let watch = match serving.listener(&launch.run) {
            ListenerRule::Own if !addresses.is_empty() => Some(Watched {
                latest: sockets.latest.subscribe(),
                addresses,
                is_foreign: false,
                listening: None,
            }),
            ListenerRule::Own | ListenerRule::Any => None,
        };
        let (sockets, layout) = (Arc::clone(sockets), layout.clone());
        Self { sockets, layout, id: launch.id.clone(), watch }
    }

    /// Compares the lists and checks the owners of changed sockets. Returns the reason why no request may go
    /// to the instance, or `None` if requests may.
    pub async fn look(&mut self, freshness: Freshness) -> Option<String> {
        let watch = self.watch.as_mut()?;
        let latest = watch.latest.borrow_and_update().clone();
        let list = match latest.filter(|_| freshness == Freshness::Latest) {
            Some(list) => list.table,
            None => self.sockets.since(Instant::now()).await,
        };
        let mut why = None;
        for address in &mut watch.addresses {
            if why.is_none() {
                why = address.look(&self.layout, &self.id, &list).await;
            }
        }
        watch.is_foreign = why.is_some();
        why
    }

    /// Returns who listens at the address for users, as found by the last check. A socket that could not be
    /// checked counts as foreign.
    pub fn listeners(&self) -> Listeners {
        let Some(watch) = &self.watch else { return Listeners::Any };
        if watch.is_foreign {
            return Listeners::Foreign;
        }
        let seen = watch.addresses.first().and_then(|address| address.seen.as_ref());
        seen.map_or(Listeners::Unknown, |(_, owner)| owner.listeners())
    }

    /// Returns where the instance listens, for an instance that refuses connections at its address. The
    /// instance's processes are read only when the machine's sockets have changed.
    pub async fn listening(&mut self) -> Vec<SocketAddr> {
        let Some(watch) = &mut self.watch else { return Vec::new() };
        let latest = watch.latest.borrow().clone();
        let Some(Ok(table)) = latest.map(|list| list.table) else { return Vec::new() };
        let all: Vec<Listening> = table.all().copied().collect();
        if let Some((_, own)) = watch.listening.as_ref().filter(|(before, _)| *before == all) {
            return own.clone();
        }
        let (layout, id, looked_at) = (self.layout.clone(), self.id.clone(), all.clone());
        let found = on_disk(move || find_listening(&layout, &id, &looked_at)).await;
        let own = found.unwrap_or_default();
        watch.listening = Some((all, own.clone()));
        own
    }

    /// Returns when the sockets at the addresses are no longer those of the last look.
    pub async fn changed(&mut self) {
        let Some(watch) = self.watch.as_mut() else { return std::future::pending().await };
        loop {
            if watch.latest.changed().await.is_err() {
                return std::future::pending().await;
            }
            let latest = watch.latest.borrow_and_update();
            let Some(Ok(table)) = latest.as_ref().map(|list| &list.table) else { continue };
            if watch.addresses.iter().any(|address| address.differs(table)) {
                return;
            }
        }
    }
}

impl WatchedAddress {
    fn differs(&self, table: &SocketTable) -> bool {
        self.seen.as_ref().is_none_or(|(before, _)| *before != table.at(self.address))
    }

    async fn look(
        &mut self,
        layout: &InstanceLayout,
        id: &InstanceId,
        list: &Result<Arc<SocketTable>, String>,
    ) -> Option<String> {
        let table = match (list, &self.seen) {
            (Ok(table), _) => table,
            // Nothing new is known, so the last result stands.
            (Err(_), Some((_, owner))) => return why(owner),
            (Err(unreadable), None) => return Some(unreadable.clone()),
        };
        if let Some((_, owner)) = self.seen.as_ref().filter(|_| !self.differs(table)) {
            return why(owner);
        }
        let sockets = table.at(self.address);
        let (layout, id, looked_at) = (layout.clone(), id.clone(), sockets.clone());
        let owner = on_disk(move || find_owner(&layout, &id, &looked_at)).await?;
        let why = why(&owner);
        self.seen = Some((sockets, owner));
        why
    }
}

fn why(owner: &ListenerOwner) -> Option<String> {
    match owner {
        ListenerOwner::Own(_) => None,
        ListenerOwner::Foreign(why) => Some(why.clone()),
    }
}
