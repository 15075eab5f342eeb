//! Whether the server's proxy reaches instances on other hosts. An agent finds an instance healthy on its own
//! machine; a firewall between may be of another opinion. Control hears that an instance is up once a
//! connection to it has been made from here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use control::Inbox;
use model::{Address, FromHost, Health, HostId, HostReport, InstanceId};
use server::AppViews;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// The time for one connection.
const CONNECT: Duration = Duration::from_secs(2);
/// The time between two attempts.
const AGAIN: Duration = Duration::from_millis(500);
/// The time after which an instance that is shown nowhere is gone.
const GONE: Duration = Duration::from_secs(60);

/// Passes reports of hosts on to control, and holds back that an instance is up until it is reached.
#[derive(Clone)]
pub struct Reachability(Arc<Parts>);

struct Parts {
    inbox: Inbox,
    board: Arc<AppViews>,
    instances: Mutex<BTreeMap<InstanceId, Reached>>,
}

/// What is known of an instance that its host has found healthy.
enum Reached {
    /// A connection was made.
    Yes,
    /// No connection was made yet. This is the host's last report of its health.
    NotYet(HostReport),
}

impl Reachability {
    pub fn new(inbox: Inbox, board: Arc<AppViews>) -> Self {
        Self(Arc::new(Parts { inbox, board, instances: Mutex::default() }))
    }

    /// Passes a report on. Must be called on a runtime.
    pub fn pass(&self, host: HostId, report: HostReport) {
        match &report {
            HostReport::Health { id, health, .. } => {
                let id = id.clone();
                let mut instances = self.instances();
                let held = match (instances.get_mut(&id), health) {
                    (Some(Reached::Yes), _) | (None, Health::Down | Health::Unknown) => false,
                    (Some(Reached::NotYet(last)), _) => {
                        last.clone_from(&report);
                        true
                    }
                    (None, Health::Up) => {
                        instances.insert(id.clone(), Reached::NotYet(report.clone()));
                        let (this, host) = (self.clone(), host.clone());
                        tokio::spawn(async move { this.reach(host, id).await });
                        true
                    }
                };
                drop(instances);
                let report = if held { held_back(report, None) } else { report };
                self.0.inbox.host(FromHost { host, report });
            }
            HostReport::Exited { id, .. } | HostReport::NotStarted { id, .. } => {
                self.instances().remove(id);
                self.0.inbox.host(FromHost { host, report });
            }
            HostReport::Fetching { .. }
            | HostReport::Running { .. }
            | HostReport::Kept(_)
            | HostReport::Ports { .. } => self.0.inbox.host(FromHost { host, report }),
        }
    }

    /// Tries to reach an instance until it is reached or has ended.
    async fn reach(self, host: HostId, id: InstanceId) {
        let mut told = None;
        let mut seen = Instant::now();
        loop {
            let reached = match self.address(&id) {
                Some(address) => {
                    seen = Instant::now();
                    connect(address).await
                }
                // It is shown in a moment, unless it is gone for good.
                None if seen.elapsed() > GONE => {
                    self.instances().remove(&id);
                    return;
                }
                None => Err(format!("{id} is not known here")),
            };
            let Some(last) = self.last_report(&id, reached.is_ok()) else { return };
            match reached {
                Ok(()) => return self.0.inbox.host(FromHost { host, report: last }),
                Err(why) if told.as_ref() != Some(&why) => {
                    let report = held_back(last, Some(&why));
                    self.0.inbox.host(FromHost { host: host.clone(), report });
                    told = Some(why);
                }
                Err(_) => {}
            }
            sleep(AGAIN).await;
        }
    }

    /// Returns the last report of the health of an instance that was not reached so far; `None` if it has ended.
    /// Records whether it is reached now.
    fn last_report(&self, id: &InstanceId, is_reached: bool) -> Option<HostReport> {
        let mut instances = self.instances();
        let Reached::NotYet(last) = instances.get(id)? else { return None };
        let last = last.clone();
        if is_reached {
            instances.insert(id.clone(), Reached::Yes);
        }
        Some(last)
    }

    /// Returns the address of an instance, from what observers are shown.
    fn address(&self, id: &InstanceId) -> Option<SocketAddr> {
        let view = self.0.board.view(&id.app)?;
        match &view.instances().find(|instance| instance.id == *id)?.address {
            Address::Tcp(address) => Some(*address),
            Address::Unix(_) => None,
        }
    }

    fn instances(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Reached>> {
        self.0.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

async fn connect(address: SocketAddr) -> Result<(), String> {
    let why = match timeout(CONNECT, TcpStream::connect(address)).await {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", CONNECT.as_secs()),
    };
    Err(format!("it is healthy on its host, and the server cannot reach {address}: {why}"))
}
