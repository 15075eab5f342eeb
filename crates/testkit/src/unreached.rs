//! Invariants of proxies that cannot send users to a release: no instance of a candidate serves that one does not
//! reach, and no share grows while none is here.

use control::Engine;
use model::ProxyId;
use rollout::{App, Fact, Phase, RolloutKind};

use crate::proxy::Proxy;
use crate::violation::Wrong;

/// Time within which control knows that a proxy does not reach an instance any more, in milliseconds. Reports may be
/// late or lost.
const KNOWN: u64 = 15_000;

/// Checks that nobody is moved forward while control hears no proxy.
pub fn moved((app, fact): (&App, &Fact), proxies: &[Proxy]) -> Option<Wrong> {
    let Fact::Shifted { .. } = fact else { return None };
    let rollout = app.rollout.as_ref().filter(|rollout| rollout.kind == RolloutKind::Deploy)?;
    let is_here = |proxy: &Proxy| match proxy.id == ProxyId::local() {
        true => !proxy.is_dead,
        false => proxy.connection.is_up,
    };
    let goes_back = matches!(rollout.phase, Phase::Reverting { .. });
    let is_wrong = !goes_back && !proxies.iter().any(is_here);
    is_wrong.then(|| ("no-proxy", format!("{} moves users, and no proxy is here", app.name)))
}

/// Checks that no instance of a candidate serves that a proxy, which has to reach it, has not reached for long.
pub fn check(
    (app, fact): (&App, &Fact),
    (engine, proxies): (&Engine, &[Proxy]),
    now: u64,
) -> Option<Wrong> {
    let Fact::Serving { instance: number, .. } = fact else { return None };
    let instance = app.instances.get(number)?;
    let rollout = app.rollout.as_ref().filter(|rollout| rollout.to == instance.release)?;
    if !matches!(rollout.phase, Phase::Starting) {
        return None;
    }
    let address = instance.address.beyond_its_machine()?.ip();
    let is_asked =
        |proxy: &&Proxy| engine.proxies().asked.iter().any(|asked| asked.name == proxy.id);
    let is_blocked =
        |proxy: &&Proxy| proxy.reach.blocked.get(&address).is_some_and(|since| since + KNOWN < now);
    let proxy = proxies.iter().filter(is_asked).find(is_blocked)?;
    let id = app.id(*number);
    Some(("unreached", format!("{id} serves, and {} does not reach it", proxy.id)))
}
