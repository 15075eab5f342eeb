//! The proxies of a world: requests, tables, reports. The first is in the server; the others are told over a
//! network.

use std::sync::Arc;

use control::Event;
use model::{AppName, Generation, InstanceId, Millis, ProxyId, Snapshot};

use super::{WORKERS, World};
use crate::happening::{At, Happening};
use crate::proxy::Proxy;

impl World {
    /// One more proxy, on a machine of its own. Control is started again to know it.
    pub fn add_proxy(&mut self) {
        let number = u32::try_from(self.proxies.len()).unwrap_or(u32::MAX);
        self.proxies.push(Proxy::new(ProxyId(number), WORKERS));
        self.crash(true, 0);
        self.run_for(0);
    }

    /// A proxy apart dies, and is there again after so many milliseconds: another process, which begins from
    /// what was saved.
    pub fn kill_proxy(&mut self, number: usize, back_in: u64) {
        let alive = self.proxies.get_mut(number).filter(|proxy| number > 0 && !proxy.is_dead);
        if let Some(proxy) = alive {
            proxy.is_dead = true;
            proxy.crash();
            self.coverage.fault("dead-proxy", self.views.values().map(|view| &**view));
            self.at(back_in, Happening::ProxyComesBack(number));
        }
    }

    pub(super) fn proxy_comes_back(&mut self, number: usize) {
        self.proxies[number].is_dead = false;
        self.report_traffic(number);
    }

    /// A request for `app` that lasts so long.
    pub fn request(&mut self, app: &AppName, lasts: u64) {
        let is_down = |number: usize| number == 0 && self.is_down;
        let up = self.proxies.iter().enumerate();
        let up = up.filter(|(number, proxy)| !is_down(*number) && !proxy.is_dead);
        let up: Vec<usize> = up.map(|(number, _)| number).collect();
        // Where there is no choice, none is drawn.
        let proxy = match up[..] {
            [] => return,
            [one] => one,
            [_, ..] => self.rng.pick(&up).copied().unwrap_or(0),
        };
        let worker = self.rng.between(0, WORKERS as u64 - 1) as usize;
        let at = At { proxy, epoch: self.proxies[proxy].epoch, worker };
        if let Some(id) = self.proxies[proxy].request(app, worker, &mut self.rng) {
            let now = self.clock.now(Millis(self.now));
            self.checker.picked(&id, self.engine.as_ref(), now, self.now);
            self.at(lasts, Happening::Done(at, id));
        }
    }

    pub(super) fn tell_to_prepare(&mut self, snapshot: &Arc<Snapshot>) {
        if let [proxy] = &mut self.proxies[..] {
            proxy.prepare(snapshot);
            return;
        }
        for number in 0..self.proxies.len() {
            self.tell(number, Happening::Prepare(number, snapshot.clone()));
        }
    }

    pub(super) fn tell_to_commit(&mut self, generation: Generation) {
        self.checker.committed(generation, &self.proxies, self.now);
        if self.proxies.len() == 1 {
            return self.commit(0, generation);
        }
        for number in 0..self.proxies.len() {
            self.tell(number, Happening::Commit(number, generation));
        }
    }

    /// A message to a proxy of several.
    fn tell(&mut self, number: usize, message: Happening) {
        if number > 0 && self.strikes(self.faults.lose) {
            return;
        }
        let takes = if number == 0 { 0 } else { self.rng.between(0, 5) };
        let proxy = &mut self.proxies[number];
        proxy.arrives = proxy.arrives.max(self.now + takes);
        let after = proxy.arrives - self.now;
        self.at(after, message);
    }

    pub(super) fn prepare(&mut self, number: usize, snapshot: &Arc<Snapshot>) {
        let proxy = &mut self.proxies[number];
        if !proxy.is_dead && proxy.prepare(snapshot) {
            self.report_traffic(number);
        }
    }

    pub(super) fn commit(&mut self, proxy: usize, generation: Generation) {
        if self.proxies[proxy].is_dead {
            return;
        }
        let Some(snapshot) = self.proxies[proxy].commit(generation) else { return };
        let epoch = self.proxies[proxy].epoch;
        for worker in 0..WORKERS {
            let slow = self.strikes(self.faults.slow_swap);
            let takes = if slow { self.rng.between(500, 4_000) } else { self.rng.between(0, 3) };
            let at = At { proxy, epoch, worker };
            self.at(takes, Happening::Swap(at, snapshot.clone()));
        }
    }

    pub(super) fn swap(&mut self, at: At, snapshot: Arc<Snapshot>) {
        let proxy = &mut self.proxies[at.proxy];
        if proxy.epoch != at.epoch {
            return;
        }
        let before = proxy.acknowledged();
        proxy.swap(at.worker, snapshot);
        if proxy.acknowledged() > before {
            self.report_traffic(at.proxy);
        }
    }

    pub(super) fn done(&mut self, at: At, id: &InstanceId) {
        let proxy = &mut self.proxies[at.proxy];
        if proxy.epoch != at.epoch {
            return;
        }
        proxy.done(at.worker, id);
        if proxy.in_flight(id) == 0 {
            self.report_traffic(at.proxy);
        }
    }

    pub(super) fn report_traffic(&mut self, proxy: usize) {
        if self.proxies[proxy].is_dead {
            return;
        }
        let report = self.proxies[proxy].report();
        if !self.strikes(self.faults.lose) {
            self.report(Event::Traffic(report));
        }
    }
}
