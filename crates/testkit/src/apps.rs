//! Apps of the simulation, and the behaviour of their instances.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use model::{
    AppName, AppSpec, Batch, Capacity, Digest, Drain, Exit, FailureBudget, Gate, HealthCheck,
    HostAbilities, HostDuty, HostId, Millis, OnFailure, Order, Page, Reach, Route, Run, Share,
    Standby, Step, Strategy, StrategyKind, Switch,
};
use rollout::{HostSeen, NewRelease, ProxiesSeen, Task};

use crate::rng::Rng;

/// The behaviour of a release's instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Healthy after this many milliseconds, for good.
    Good(u64),
    /// Exits after this many milliseconds.
    Exits(u64),
    /// Runs and never answers a probe.
    NeverHealthy,
    /// Healthy after 200 ms, exits after this many milliseconds.
    DiesLater(u64),
    /// Healthy after 200 ms, then fails probes for five seconds out of every fifteen.
    Flaps,
    /// Serves no requests, and ends after this many milliseconds, if ever.
    Works(Option<u64>),
}

impl Behaviour {
    /// Returns whether a probe succeeds at that age of the process, in milliseconds.
    pub fn is_healthy(self, age: u64) -> bool {
        match self {
            Self::Good(after) => age >= after,
            Self::Exits(_) | Self::NeverHealthy | Self::Works(_) => false,
            Self::DiesLater(_) => age >= 200,
            Self::Flaps => age >= 200 && age % 15_000 < 10_000,
        }
    }

    /// Returns when and how the process ends by itself.
    pub fn end(self) -> Option<(u64, Exit)> {
        match self {
            Self::Exits(after) | Self::DiesLater(after) => Some((after, Exit::Code(1))),
            Self::Works(after) => after.map(|after| (after, Exit::Code(0))),
            Self::Good(_) | Self::NeverHealthy | Self::Flaps => None,
        }
    }

    /// Returns the behaviour of a task of [`task`].
    pub fn of_task(command: &[String]) -> Self {
        Self::Works(command.get(1).and_then(|milliseconds| milliseconds.parse().ok()))
    }

    /// Returns whether a rollout to it can succeed and stay.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Good(_))
    }
}

/// Returns an app that suits most scenarios: two instances, short deadlines.
pub fn spec(app: &AppName) -> AppSpec {
    AppSpec {
        app: app.clone(),
        run: Run { replicas: 2, ..Run::of_command(["./server".into()]) },
        health: HealthCheck {
            path: "/up".into(),
            interval: Millis(1_000),
            timeout: Millis(500),
            rise: 2,
            fall: 3,
            start_deadline: Millis::from_secs(10),
            host: None,
            headers: BTreeMap::new(),
            port: model::ProbePort::Same,
            command: None,
            busy: HealthCheck::BUSY,
        },
        // Each app has its own host, since two apps may not share a place.
        route: Route {
            hosts: vec![format!("{app}.example")],
            ..Route::everything(Millis::from_secs(5))
        },
        drain: Drain { deadline: Millis::from_secs(8) },
        strategy: Strategy {
            kind: StrategyKind::BlueGreen { switch: Switch::Auto },
            standby: Standby::Keep,
            watch: Millis::from_secs(10),
            failure_budget: FailureBudget::default(),
        },
        on: None,
    }
}

/// Returns a task that takes this many milliseconds, or runs until it is ended.
pub fn task(name: &str, takes: Option<u64>, needs_lease: bool) -> Task {
    let takes = takes.map(|milliseconds| milliseconds.to_string());
    Task {
        name: name.parse().expect("scenarios use valid names"),
        command: ["work".into()].into_iter().chain(takes).collect(),
        time_limit: None,
        needs_lease,
    }
}

/// The proxies of a server alone.
pub static ONE_PROXY: ProxiesSeen = ProxiesSeen { here: 1, asked: Vec::new(), remote: Vec::new() };

/// Returns one host with these abilities and without free ports.
pub fn local_host(abilities: HostAbilities) -> BTreeMap<HostId, HostSeen> {
    let address = Ipv4Addr::LOCALHOST.into();
    let (free_ports, reach, duty) = (Vec::new(), Reach::Here, HostDuty::Active);
    let labels = BTreeMap::new();
    let seen = HostSeen { address, free_ports, abilities, reach, labels, duty, back_since: None };
    BTreeMap::from([(HostId::local(), seen)])
}

/// Returns a release of `spec`. The world looks up its behaviour by the digest.
pub fn release(spec: AppSpec, label: &str, serial: u64) -> NewRelease {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&serial.to_be_bytes());
    let content = Some(Digest::from_bytes(bytes));
    // As in the product, a release of other values is another release.
    for (byte, of_value) in
        bytes[8..].iter_mut().zip(spec.run.env.values().flat_map(|v| v.as_bytes()))
    {
        *byte = *of_value;
    }
    let digest = Digest::from_bytes(bytes);
    let label = Some(label.parse().expect("scenarios use valid labels"));
    NewRelease { label, digest, content, spec: Arc::new(spec) }
}

/// Returns a random strategy with random settings.
pub fn random_strategy(rng: &mut Rng) -> StrategyKind {
    let some = |rng: &mut Rng, most| Millis(rng.between(0, most));
    match rng.between(0, 5) {
        0..=1 => {
            let switch = if rng.once_in(3) { Switch::Manual } else { Switch::Auto };
            StrategyKind::BlueGreen { switch }
        }
        2..=3 => StrategyKind::Rolling {
            batch: if rng.once_in(3) { Batch::Percent(50) } else { Batch::Count(1) },
            order: if rng.once_in(2) { Order::InPlace } else { Order::Surge },
            pause: some(rng, 3_000),
            on_failure: if rng.once_in(3) { OnFailure::Hold } else { OnFailure::Revert },
        },
        4 => {
            let share = |n| Share::from_ten_thousandths(n).unwrap_or(Share::NONE);
            let gate = |rng: &mut Rng| {
                if rng.once_in(3) { Gate::Manual } else { Gate::After(some(rng, 8_000)) }
            };
            let steps = [500, 2_500, 5_000].map(|n| Step { share: share(n), gate: gate(rng) });
            let capacity = if rng.once_in(3) { Capacity::Fixed(1) } else { Capacity::Share };
            StrategyKind::Canary { steps: steps.to_vec(), cohort: None, capacity }
        }
        _ => StrategyKind::Recreate { page: Page::default() },
    }
}
