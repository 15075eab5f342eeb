//! Whether proxies reach instances. An agent finds an instance healthy on its own machine. Before it gets users,
//! every proxy that is here and not drained has to reach it there, too.

use alloc::format;
use alloc::string::String;
use core::net::SocketAddr;

use model::{Health, Reached, Stage};

use crate::cause::name_of;
use crate::planted::Bug;
use crate::{App, AskedProxy, Instance, Observed, Phase, RolloutKind};

/// A proxy that does not reach an instance, or has not said yet whether it does.
pub(crate) struct Unreached<'a> {
    pub proxy: &'a AskedProxy,
    address: SocketAddr,
    why: Option<&'a str>,
}

/// Returns a proxy that does not reach the instance; `None` if all do that have to. One that cannot reach it is
/// named before one that has not tried yet. Nobody is asked about an instance that only its own machine reaches.
pub(crate) fn unreached<'a>(
    app: &App,
    seen: &Observed<'a>,
    (number, instance): (u64, &Instance),
) -> Option<Unreached<'a>> {
    let address = instance.address.beyond_its_machine()?;
    if Bug::ForgetsReach.is_planted() {
        return None;
    }
    let id = app.id(number);
    let unreached = seen.proxies.asked.iter().filter_map(|proxy| match proxy.reached.get(&id) {
        Some(Reached::Yes) => None,
        Some(Reached::No(why)) => Some(Unreached { proxy, address, why: Some(why) }),
        None => Some(Unreached { proxy, address, why: None }),
    });
    unreached.max_by_key(|unreached| unreached.why.is_some())
}

/// Returns whether the rollout is judged by whether proxies reach this instance: it is one of the candidate, or of a
/// restart. Any other serves after the time of a start, whoever reaches it.
pub(crate) fn is_judged(app: &App, instance: &Instance) -> bool {
    let rollout = app.rollout.as_ref().filter(|rollout| rollout.to == instance.release);
    rollout.is_some_and(|rollout| match (&rollout.phase, rollout.kind) {
        (_, RolloutKind::Rollback) => false,
        (Phase::Starting | Phase::Ready | Phase::Switching | Phase::Holding, _) => true,
        (Phase::Watching | Phase::Settling | Phase::Reverting { .. }, _) => false,
    })
}

/// Returns what keeps a healthy instance from its users, if proxies do.
pub(crate) fn note(app: &App, seen: &Observed, it: (u64, &Instance)) -> Option<String> {
    let is_up = seen.instance(it.0).health == Health::Up && it.1.stage < Stage::Draining;
    unreached(app, seen, it).filter(|_| is_up).map(|unreached| unreached.sentence())
}

impl Unreached<'_> {
    /// Says it for people.
    pub fn sentence(&self) -> String {
        let (name, address) = (name_of(&self.proxy.name), self.address);
        match self.why {
            Some(why) => {
                format!("it is healthy on its host, and {name} cannot reach {address}: {why}")
            }
            None => format!("{name} has not tried yet to reach {address}"),
        }
    }
}
