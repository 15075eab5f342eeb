//! What a proxy on a machine of its own is used for: it takes users' requests, or it leaves service in order while it
//! goes on running.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use link::{FromMember, ToServer};
use model::{Millis, ProxyDuty};
use proxy::{Proxy, ServiceMode};
use tokio::sync::watch;
use tokio::time::Instant;
use wire::ProxyDrain;

/// The time between two looks at the connections that are left.
const LOOK: Duration = Duration::from_millis(100);

/// The duty of a proxy, and how far it is with it.
#[derive(Debug)]
pub struct ServiceDuty {
    proxy: Proxy,
    duty: watch::Sender<ProxyDuty>,
    /// How far the proxy is if it is drained.
    progress: Mutex<Option<ProxyDrain>>,
    /// The way to the server, once there is one.
    to_server: Arc<OnceLock<ToServer>>,
}

impl ServiceDuty {
    /// Returns the duty with which a proxy starts.
    pub fn new(proxy: Proxy, duty: ProxyDuty, to_server: Arc<OnceLock<ToServer>>) -> Self {
        let (duty, progress) = (watch::Sender::new(duty), Mutex::default());
        Self { proxy, duty, progress, to_server }
    }

    /// Changes the duty.
    pub fn set(&self, duty: ProxyDuty) {
        self.duty.send_if_modified(|now| std::mem::replace(now, duty) != duty);
    }

    /// Returns the duty, for those who look at it by themselves.
    pub fn watch(&self) -> watch::Receiver<ProxyDuty> {
        self.duty.subscribe()
    }

    /// Tells the server how far the proxy is. A server that has just begun to listen does not know it.
    pub fn tell(&self) {
        let progress = *self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(to_server) = self.to_server.get() {
            to_server.send(FromMember::Drain { progress });
        }
    }

    /// Does what the duty says, and whatever it says later. Never returns.
    pub async fn follow(&self) -> Infallible {
        let mut duty = self.duty.subscribe();
        loop {
            let now = *duty.borrow_and_update();
            tokio::select! {
                never = self.do_as(now) => match never {},
                // The sender lives as long as this.
                _ = duty.changed() => {}
            }
        }
    }

    async fn do_as(&self, duty: ProxyDuty) -> Infallible {
        match duty {
            ProxyDuty::Active => {
                self.proxy.set_service(ServiceMode::Full);
                self.is_at(None);
            }
            ProxyDuty::Draining { within } => self.drain(within).await,
        }
        std::future::pending().await
    }

    /// Closes each connection after its next answer, and cuts those that are left when the time is over. Others may
    /// come all the while, since somebody may not know yet that the proxy leaves.
    async fn drain(&self, within: Millis) {
        tracing::info!("draining: connections are closed after their next answer");
        let (cut_before, until) = (self.proxy.cut(), Instant::now() + within.to_duration());
        let progress = |open, done| {
            let cut = self.proxy.cut().saturating_sub(cut_before);
            self.is_at(Some(ProxyDrain { open, cut, done }));
        };
        self.proxy.set_service(ServiceMode::ClosesConnections);
        loop {
            match self.proxy.left_over() {
                Some(0) => break,
                Some(_) | None if Instant::now() >= until => {
                    self.proxy.cut_connections();
                    // The workers need a moment for it.
                    tokio::time::sleep(LOOK).await;
                    break;
                }
                Some(open) => progress(open, false),
                None => progress(self.proxy.connections(), false),
            }
            tokio::time::sleep(LOOK).await;
        }
        progress(0, true);
        tracing::info!(cut = self.proxy.cut().saturating_sub(cut_before), "drained");
    }

    /// Notes how far the proxy is, and tells the server what is new.
    fn is_at(&self, progress: Option<ProxyDrain>) {
        let before = {
            let mut known = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *known, progress)
        };
        if before != progress {
            self.tell();
        }
    }
}
