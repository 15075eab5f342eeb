//! The instances of fixed upstreams: one for each address, and for a name one for each of its addresses.
//! Names are resolved again and again, off the workers; the last good answer is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{
    Address, AppName, AppSection, Arm, Generation, InstanceId, Label, Millis, ReleaseNo, Route,
    Share, Snapshot, Target, Upstream, UpstreamPlace, Weight,
};

use crate::circle::Own;
use crate::handle::Proxy;

/// Interval between two look-ups of a name. The resolver does not tell how long an answer is valid.
const ASKED_EVERY: Duration = Duration::from_secs(5);
/// Interval between two look-ups of a name that has not been resolved yet.
const UNKNOWN_EVERY: Duration = Duration::from_secs(1);
/// The largest number of addresses of one name.
const ADDRESSES: usize = 64;

/// The fixed upstreams and their addresses.
#[derive(Debug)]
pub(crate) struct Resolver {
    app: AppName,
    label: Label,
    route: Route,
    drain_deadline: Millis,
    /// The instances of each upstream, in the order of the upstreams.
    found: Vec<BTreeMap<Address, u64>>,
    weights: Vec<Weight>,
    /// The number of the next instance.
    next: u64,
    generation: Generation,
}

impl Resolver {
    /// Returns a resolver that knows the upstreams given by address. Those given by name are unknown yet.
    pub(crate) fn new(
        (app, label): (AppName, Label),
        upstreams: &[Upstream],
        route: Route,
        drain_deadline: Millis,
    ) -> Self {
        let mut resolver = Self {
            app,
            label,
            route,
            drain_deadline,
            found: vec![BTreeMap::new(); upstreams.len()],
            weights: upstreams.iter().map(|upstream| upstream.weight).collect(),
            next: 1,
            generation: Generation { term: 1, counter: 1 },
        };
        for (at, upstream) in upstreams.iter().enumerate() {
            if let UpstreamPlace::Fixed(address) = &upstream.place {
                resolver.set(at, [address.clone()]);
            }
        }
        resolver
    }

    /// Sets the addresses of an upstream. An address that it had before stays the same instance.
    fn set(&mut self, at: usize, addresses: impl IntoIterator<Item = Address>) {
        let before = std::mem::take(&mut self.found[at]);
        for address in addresses {
            let number = before.get(&address).copied().unwrap_or_else(|| {
                self.next += 1;
                self.next - 1
            });
            self.found[at].insert(address, number);
        }
    }

    /// Returns all instances.
    pub(crate) fn targets(&self) -> Vec<Target> {
        let all = self.found.iter().zip(&self.weights);
        let targets = all.flat_map(|(found, weight)| {
            found.iter().map(|(address, number)| {
                let id = InstanceId { app: self.app.clone(), number: *number };
                Target { weight: *weight, ..Target::new(id, address.clone()) }
            })
        });
        targets.collect()
    }

    /// Returns a snapshot of one app with one release and all instances.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let arm = Arm {
            release: ReleaseNo(1),
            label: self.label.clone(),
            share: Share::ALL,
            instances: self.targets(),
        };
        let section = AppSection {
            app: self.app.clone(),
            route: self.route.clone(),
            drain_deadline: self.drain_deadline,
            split: None,
            maintenance: None,
            arms: vec![arm],
        };
        Snapshot { generation: self.generation, apps: vec![section] }
    }
}

/// Returns the resolver as it is now.
pub(crate) fn known(resolver: &Mutex<Resolver>) -> MutexGuard<'_, Resolver> {
    resolver.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Resolves one upstream's name for ever, and publishes its addresses to the proxy.
pub(crate) async fn follow(
    at: usize,
    (host, port): (String, u16),
    own: Own,
    resolver: Arc<Mutex<Resolver>>,
    proxy: Proxy,
) {
    loop {
        match tokio::net::lookup_host((host.as_str(), port)).await {
            Ok(addresses) => {
                let addresses = addresses.take(ADDRESSES).map(Address::Tcp);
                let (circle, addresses): (BTreeSet<_>, _) = addresses.partition(|it| own.is(it));
                if !circle.is_empty() {
                    tracing::error!(host, ?circle, "a name leads to the proxy itself");
                }
                moved(at, &host, addresses, &resolver, &proxy);
            }
            Err(error) => tracing::warn!(host, %error, "a name leads nowhere for the moment"),
        }
        let known = !known(&resolver).found[at].is_empty();
        tokio::time::sleep(if known { ASKED_EVERY } else { UNKNOWN_EVERY }).await;
    }
}

/// Handles an answer. An answer without any address counts as none.
fn moved(
    at: usize,
    host: &str,
    addresses: BTreeSet<Address>,
    resolver: &Mutex<Resolver>,
    proxy: &Proxy,
) {
    let mut resolver = known(resolver);
    let same = resolver.found[at].len() == addresses.len()
        && addresses.iter().all(|address| resolver.found[at].contains_key(address));
    if addresses.is_empty() || same {
        return;
    }
    tracing::info!(host, ?addresses, "a name leads elsewhere");
    resolver.set(at, addresses);
    resolver.generation.counter += 1;
    if let Err(stale) = proxy.publish(&resolver.snapshot()) {
        tracing::error!(%stale, "where a name leads was not taken over");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_stays_is_the_same_instance_and_one_that_returns_is_another() {
        let upstreams = ["127.0.0.1:9,weight=2", "app.internal:9"].map(|it| it.parse().unwrap());
        let whose = ("web".parse().unwrap(), "fixed".parse().unwrap());
        let mut resolver =
            Resolver::new(whose, &upstreams, Route::everything(Millis(0)), Millis(0));
        let seen = |resolver: &Resolver| -> Vec<(u64, String, u16)> {
            let all = resolver.snapshot().apps.remove(0).arms.remove(0).instances;
            all.iter().map(|it| (it.id.number, it.address.to_string(), it.weight.get())).collect()
        };
        let fixed = (1, "127.0.0.1:9".to_owned(), 2);
        assert_eq!(seen(&resolver), std::slice::from_ref(&fixed));
        let address = |text: &str| text.parse::<Address>().unwrap();
        let known = |number, text: &str| (number, text.to_owned(), 1);
        resolver.set(1, [address("10.0.0.1:9"), address("10.0.0.2:9")]);
        let both = [fixed.clone(), known(2, "10.0.0.1:9"), known(3, "10.0.0.2:9")];
        assert_eq!(seen(&resolver), both);
        resolver.set(1, [address("10.0.0.2:9")]);
        assert_eq!(seen(&resolver), [fixed.clone(), known(3, "10.0.0.2:9")]);
        resolver.set(1, [address("10.0.0.2:9"), address("10.0.0.1:9")]);
        assert_eq!(seen(&resolver), [fixed, known(4, "10.0.0.1:9"), known(3, "10.0.0.2:9")]);
    }
}
