//! What a proxy on a machine of its own is used for: it takes users' requests, or it leaves service in order while it
//! goes on running.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use link::{FromMember, ToServer};
use model::{Millis, ProxyDuty};
use proxy::{Proxy, ServiceMode};
use tokio::sync::watch;
use tokio::time::Instant;
use wire::ProxyDrain;

use crate::floating::{FloatingAddress, Leaving};

/// The time between two looks at the connections that are left.
const LOOK: Duration = Duration::from_millis(100);
/// The time between two looks at something that happens in the next moments.
const SOON: Duration = Duration::from_millis(20);
/// Time for the answers under way when no new clients are taken any more, who wait as long.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
/// Time within which another proxy takes the floating address over.
const TAKEN_OVER: Duration = Duration::from_secs(3);
/// Time for the clients' connections if the process ends while it has the floating address.
const ENDING: Millis = Millis::from_secs(10);

/// The duty of a proxy, and how far it is with it.
#[derive(Debug)]
pub struct ServiceDuty {
    proxy: Proxy,
    duty: watch::Sender<ProxyDuty>,
    /// How far the proxy is if it is drained.
    progress: Mutex<Option<ProxyDrain>>,
    /// The way to the server, once there is one.
    to_server: Arc<OnceLock<ToServer>>,
    floating: Option<Arc<FloatingAddress>>,
}

impl ServiceDuty {
    /// Returns the duty with which a proxy starts.
    pub fn new(
        proxy: Proxy,
        duty: ProxyDuty,
        to_server: Arc<OnceLock<ToServer>>,
        floating: Option<Arc<FloatingAddress>>,
    ) -> Self {
        let (duty, progress) = (watch::Sender::new(duty), Mutex::default());
        Self { proxy, duty, progress, to_server, floating }
    }

    /// Changes the duty, and tells the server how far the proxy is with it: one that has not heard the proxy for a
    /// while has forgotten that, even if the duty is not new.
    pub fn set(&self, duty: ProxyDuty) {
        let is_new = self.duty.send_if_modified(|now| std::mem::replace(now, duty) != duty);
        if is_new {
            // What was done for the duty before says nothing about this one.
            *self.progress() = None;
        }
        self.tell();
    }

    /// Returns the duty, for those who look at it by themselves.
    pub fn watch(&self) -> watch::Receiver<ProxyDuty> {
        self.duty.subscribe()
    }

    /// Tells the server how far the proxy is. A server that has just begun to listen does not know it.
    pub fn tell(&self) {
        let progress = *self.progress();
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
                // A new duty first: the one before must say nothing more. The sender lives as long as this.
                biased;
                _ = duty.changed() => {}
                never = self.do_as(now) => match never {},
            }
        }
    }

    async fn do_as(&self, duty: ProxyDuty) -> Infallible {
        match duty {
            ProxyDuty::Active => {
                self.proxy.set_service(ServiceMode::Full);
                self.floating.iter().for_each(|it| it.leaves(Leaving::Stays));
                self.is_at(None);
            }
            ProxyDuty::Draining { within } => self.drain(within).await,
        }
        std::future::pending().await
    }

    async fn drain(&self, within: Millis) {
        tracing::info!("draining: connections are closed after their next answer");
        let cut_before = self.proxy.cut();
        let progress = |open| ProxyDrain {
            open,
            cut: self.proxy.cut().saturating_sub(cut_before),
            ..ProxyDrain::default()
        };
        if let Some(floating) = self.floating.as_ref().filter(|it| !it.is_here()) {
            // Nobody gives the address to a proxy that is about to leave.
            floating.leaves(Leaving::Drained);
        }
        let until = Instant::now() + within.to_duration();
        self.close_connections(until, |open| self.is_at(Some(progress(open)))).await;
        let holds_address = self.hand_over(Leaving::Drained, until).await;
        let drained = ProxyDrain { done: true, holds_address, ..progress(0) };
        self.is_at(Some(drained));
        tracing::info!(cut = drained.cut, holds_address, "drained");
    }

    /// Leaves service because the process ends. If the proxy has the floating address, its clients' connections end
    /// first, within [`ENDING`].
    pub async fn end(&self) {
        let until = Instant::now() + ENDING.to_duration();
        if self.floating.as_ref().is_some_and(|it| it.is_here()) {
            self.close_connections(until, |_| {}).await;
        }
        self.hand_over(Leaving::Ends, until).await;
    }

    /// Closes each connection after its next answer, and cuts those of before that are left when the time is over.
    /// Others may come all the while, since somebody may not know yet that the proxy leaves.
    async fn close_connections(&self, until: Instant, left: impl Fn(usize)) {
        self.proxy.set_service(ServiceMode::ClosesConnections);
        loop {
            match self.proxy.leaving_connections().map(|it| it.left_over) {
                Some(0) => return,
                Some(_) | None if Instant::now() >= until => break,
                Some(open) => left(open),
                None => left(self.proxy.connections()),
            }
            tokio::time::sleep(LOOK).await;
        }
        self.proxy.cut_left_over();
        // The workers need a moment for it.
        tokio::time::sleep(LOOK).await;
    }

    /// Hands the floating address over, if the proxy has it. Waits until then for a moment without long requests. New
    /// clients get no answer after that: their systems try again after a second, and then find the next proxy. Returns whether the address is still here.
    async fn hand_over(&self, leaving: Leaving, until: Instant) -> bool {
        let Some(floating) = &self.floating else { return false };
        if !floating.is_here() {
            floating.leaves(leaving);
            return false;
        }
        tracing::info!("handing the floating address over");
        let is_settled = || self.proxy.leaving_connections().is_some_and(|it| it.settled == 0);
        happens_within(until.saturating_duration_since(Instant::now()), is_settled).await;
        self.proxy.set_service(ServiceMode::TakesNoMore);
        // Those whose connection was just made send their request now.
        tokio::time::sleep(LOOK).await;
        let is_quiet = || self.proxy.connections() == 0;
        if !happens_within(LAST_ANSWERS, is_quiet).await {
            self.proxy.cut_connections();
            tokio::time::sleep(LOOK).await;
        }
        floating.leaves(leaving);
        let is_gone = happens_within(TAKEN_OVER, || !floating.is_here()).await;
        // Whoever comes now was sent to this proxy by something else than the address.
        self.proxy.set_service(ServiceMode::ClosesConnections);
        !is_gone
    }

    /// Notes how far the proxy is, and tells the server what is new.
    fn is_at(&self, progress: Option<ProxyDrain>) {
        let before = std::mem::replace(&mut *self.progress(), progress);
        if before != progress {
            self.tell();
        }
    }

    fn progress(&self) -> MutexGuard<'_, Option<ProxyDrain>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until something is so. Returns false if it is not so within that time.
async fn happens_within(time: Duration, so: impl Fn() -> bool) -> bool {
    let until = Instant::now() + time;
    while !so() {
        if Instant::now() >= until {
            return false;
        }
        tokio::time::sleep(SOON).await;
    }
    true
}
