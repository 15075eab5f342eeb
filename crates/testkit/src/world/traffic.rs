//! The proxies of a world: requests, swaps, reports.

use std::sync::Arc;

use control::Event;
use model::{AppName, InstanceId, Millis, ProxyId, Snapshot};

use super::{WORKERS, World};
use crate::happening::Happening;
use crate::proxy::Proxy;

impl World {
    /// One more proxy, on a machine of its own. Control is started again to know it.
    pub fn add_proxy(&mut self) {
        let number = u32::try_from(self.proxies.len()).unwrap_or(u32::MAX);
        self.proxies.push(Proxy::new(ProxyId(number), WORKERS));
        self.crash(true, 0);
        self.run_for(0);
    }

    /// A request for `app` that lasts so long.
    pub fn request(&mut self, app: &AppName, lasts: u64) {
        let up = usize::from(self.is_down)..self.proxies.len();
        // Where there is no choice, none is drawn.
        let proxy = match up.len() {
            0 => return,
            1 => up.start,
            _ => usize::from(self.rng.once_in(2)),
        };
        let worker = self.rng.between(0, WORKERS as u64 - 1) as usize;
        if let Some(id) = self.proxies[proxy].request(app, worker, &mut self.rng) {
            let now = self.clock.now(Millis(self.now));
            self.checker.picked(&id, self.engine.as_ref(), now, self.now);
            self.at(lasts, Happening::Done(proxy, worker, id));
        }
    }

    pub(super) fn swap(&mut self, number: usize, worker: usize, snapshot: Arc<Snapshot>) {
        let proxy = &mut self.proxies[number];
        let before = proxy.acknowledged();
        proxy.swap(worker, snapshot);
        if proxy.acknowledged() > before {
            self.report_traffic(number);
        }
    }

    pub(super) fn done(&mut self, number: usize, worker: usize, id: &InstanceId) {
        let proxy = &mut self.proxies[number];
        proxy.done(worker, id);
        if proxy.in_flight(id) == 0 {
            self.report_traffic(number);
        }
    }

    pub(super) fn report_traffic(&mut self, proxy: usize) {
        let report = self.proxies[proxy].report();
        if !self.strikes(self.faults.lose) {
            self.report(Event::Traffic(report));
        }
    }

    /// Saved first, so that a new process never begins behind what a worker held.
    pub(super) fn publish(&mut self, snapshot: &Arc<Snapshot>) {
        for proxy in 0..self.proxies.len() {
            self.proxies[proxy].saved = snapshot.clone();
            for worker in 0..WORKERS {
                let slow = self.strikes(self.faults.slow_swap);
                let takes =
                    if slow { self.rng.between(500, 4_000) } else { self.rng.between(0, 3) };
                self.at(takes, Happening::Swap(proxy, worker, snapshot.clone()));
            }
        }
    }
}
