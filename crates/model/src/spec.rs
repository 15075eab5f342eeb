//! The settings of one app as its `segue.toml` describes them, checked and with units.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{
    AppName, Digest, FailureBudget, HostSelector, Invalid, Listen, ListenerRule, Millis,
    ResourceLimits, Route, Share,
};

/// The settings of one app, as requested by one deploy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppSpec {
    /// The app's name.
    pub app: AppName,
    /// Settings to run an instance. They belong to the release.
    pub run: Run,
    /// Settings to check an instance's health. They belong to the release.
    pub health: HealthCheck,
    /// The requests that belong to the app. The route belongs to the live release and moves with it.
    pub route: Route,
    /// Settings to drain an instance. They belong to the release.
    pub drain: Drain,
    /// The strategy to bring this release in. It belongs to the incoming rollout.
    pub strategy: Strategy,
    /// The hosts that its instances may run on; `None` for all. It belongs to the release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<HostSelector>,
}

/// Settings to run an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Program and arguments; never empty. A program with a `/` is looked up in the release's folder, any
    /// other in `PATH`.
    pub command: Vec<String>,
    /// Number of instances, at least 1.
    pub replicas: u16,
    /// Environment variables by name, with the keyed digest of the value. The values themselves are never
    /// stored here.
    pub env: BTreeMap<String, Digest>,
    /// The user to run as, when segue runs as root.
    pub user: Option<String>,
    /// The group to run as, when segue runs as root.
    pub group: Option<String>,
    /// The users that may read the release's files.
    #[serde(default, skip_serializing_if = "Files::is_private")]
    pub files: Files,
    /// The kind of address that an instance listens on.
    #[serde(default, skip_serializing_if = "Listen::is_port")]
    pub listen: Listen,
    /// The processes that may listen at an instance's address.
    #[serde(default, skip_serializing_if = "ListenerRule::is_own")]
    pub listener: ListenerRule,
    /// The resources of its host that an instance may use.
    #[serde(flatten)]
    pub limits: ResourceLimits,
}

impl Run {
    /// Returns settings for one instance of a command, with every other setting at its default.
    pub fn of_command(command: impl IntoIterator<Item = String>) -> Self {
        Self {
            command: command.into_iter().collect(),
            replicas: 1,
            env: BTreeMap::new(),
            user: None,
            group: None,
            files: Files::Private,
            listen: Listen::Port,
            listener: ListenerRule::Own,
            limits: ResourceLimits::default(),
        }
    }
}

/// The users that may read a release's files on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Files {
    /// The app's user, and its group if one is set.
    #[default]
    Private,
    /// Every user of the host, for programs whose workers run as yet another user.
    World,
}

impl Files {
    /// Returns whether this is the default.
    pub fn is_private(&self) -> bool {
        *self == Self::Private
    }
}

/// The health check of an instance. It is good if an HTTP GET is answered with 2xx, or if a command exits
/// with 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// Path and query of the request.
    pub path: String,
    /// The `Host` of the request, in place of the route's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Header fields of the request by their names in lower case. They replace segue's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The port of the request.
    #[serde(default, skip_serializing_if = "ProbePort::is_same")]
    pub port: ProbePort,
    /// Program and arguments to run instead of the request. Never empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// An instance that does not answer because it is busy with requests counts as Down only after this time
    /// without progress.
    #[serde(
        default = "HealthCheck::default_busy",
        skip_serializing_if = "HealthCheck::is_busy_default"
    )]
    pub busy: Millis,
    /// Time from one probe to the next.
    pub interval: Millis,
    /// Time limit of a probe. A later answer counts as bad.
    pub timeout: Millis,
    /// Number of consecutive good probes that make an instance Up.
    pub rise: u32,
    /// Number of consecutive bad probes that make an instance Down.
    pub fall: u32,
    /// Time after its start at which an instance that is not Up is given up.
    pub start_deadline: Millis,
}

impl HealthCheck {
    /// Default of `busy`.
    pub const BUSY: Millis = Millis::from_secs(30);

    fn default_busy() -> Millis {
        Self::BUSY
    }

    fn is_busy_default(busy: &Millis) -> bool {
        *busy == Self::BUSY
    }
}

/// The port that probes go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProbePort {
    /// The port that users' requests go to.
    #[default]
    Same,
    /// A separate port, which the instance gets as `HEALTH_PORT`.
    Own,
}

impl ProbePort {
    fn is_same(&self) -> bool {
        *self == Self::Same
    }
}

/// Settings to drain an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Time for requests in flight to finish. The remaining ones are cut off.
    pub deadline: Millis,
}

/// The way in which a release comes in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strategy {
    /// The kind of rollout and its own settings.
    pub kind: StrategyKind,
    /// The treatment of the release that was live before.
    pub standby: Standby,
    /// Time for which the new release is watched after the switch, with the old one complete beside it.
    pub watch: Millis,
    /// Number of hosts that the rollout may do without.
    #[serde(default, skip_serializing_if = "FailureBudget::is_default")]
    pub failure_budget: FailureBudget,
}

/// The kinds of rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StrategyKind {
    /// A second set of instances beside the live one, then one switch.
    BlueGreen {
        /// The time of the switch.
        switch: Switch,
    },
    /// One instance after the other, or some at a time.
    Rolling {
        /// Number of instances replaced at a time.
        batch: Batch,
        /// The order in which new instances start and old ones leave.
        order: Order,
        /// Time between two batches.
        pause: Millis,
        /// The reaction to a failed instance of the new release.
        on_failure: OnFailure,
    },
    /// First a share of the users, then more, then all.
    Canary {
        /// The shares before all: at least one, strictly growing, below all.
        steps: Vec<Step>,
        /// Users that get the new release from the first step on, regardless of the share.
        cohort: Option<Cohort>,
        /// Number of instances of the new release before it gets all of the traffic.
        capacity: Capacity,
    },
    /// The old release stops before the new one starts. Requests are held, then get a page.
    Recreate {
        /// The page that users see meanwhile.
        page: Page,
    },
}

impl StrategyKind {
    /// Returns the name that users write.
    pub fn name(&self) -> &'static str {
        match self {
            Self::BlueGreen { .. } => "blue-green",
            Self::Rolling { .. } => "rolling",
            Self::Canary { .. } => "canary",
            Self::Recreate { .. } => "recreate",
        }
    }
}

/// The time at which a blue/green rollout switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Switch {
    /// As soon as the candidate is ready.
    Auto,
    /// When a person runs `segue promote`.
    Manual,
}

/// Number of instances that a rolling rollout moves at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Batch {
    /// A number of instances.
    Count(u16),
    /// A percentage of the replicas, 1 to 100; at least one instance.
    Percent(u8),
}

impl Batch {
    /// Returns the number of instances, at least 1 and at most all.
    pub fn of(self, replicas: u16) -> u16 {
        let count = match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                let part = u32::from(replicas) * u32::from(percent) / 100;
                u16::try_from(part).unwrap_or(replicas)
            }
        };
        count.clamp(1, replicas.max(1))
    }
}

/// The order in which a rolling rollout starts new instances and lets old ones leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Old instances leave first: there are never more instances than replicas.
    InPlace,
    /// New instances start first: there are up to a batch more instances than replicas.
    Surge,
}

/// The reaction of a rolling rollout to a failed instance of the new release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// The rollout goes back: the old release is made complete again, then gets all of the traffic.
    Revert,
    /// The rollout pauses until a person runs `segue resume` or `segue abort`.
    Hold,
}

/// One step of a canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The new release's share.
    pub share: Share,
    /// The gate before the next step.
    pub gate: Gate,
}

/// The condition for leaving a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// The step lasts this time.
    After(Millis),
    /// A person runs `segue promote`.
    Manual,
}

/// Number of instances of a canary's new release before it gets all of the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capacity {
    /// A part of the replicas equal to its share of the traffic, rounded up.
    Share,
    /// A fixed number, until it gets all traffic.
    Fixed(u16),
}

/// Users selected regardless of the share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cohort {
    /// The property that selects them.
    pub mark: Mark,
    /// True if the mark counts from any client. Otherwise a header, a cookie or a query parameter counts
    /// only from networks that the server trusts, since any client can send one.
    pub public: bool,
}

/// The property of a request that selects its user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// Requests with this header. Names are in lower case.
    Header {
        /// The header's name.
        name: String,
        /// The complete value.
        value: String,
    },
    /// Requests with this cookie.
    Cookie {
        /// The cookie's name.
        name: String,
        /// The complete value.
        value: String,
    },
    /// Requests with this query parameter. A cookie then keeps the user in the cohort.
    Query {
        /// The parameter's name.
        name: String,
        /// The complete value.
        value: String,
    },
    /// Clients in this network.
    Network(Network),
}

/// A network of addresses: `10.0.0.0/8`, `2001:db8::/32`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The first address of the network.
    pub address: IpAddr,
    /// Number of leading bits that count.
    pub bits: u8,
}

impl Network {
    /// Returns whether the address is in one of these networks.
    pub fn any_contains(networks: &[Self], address: IpAddr) -> bool {
        networks.iter().any(|network| network.contains(address))
    }

    /// Returns whether the address is in the network. An IPv4 address written as IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (left, right) = (self.address.to_canonical(), address.to_canonical());
        match (left, right) {
            (IpAddr::V4(net), IpAddr::V4(one)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits.min(32))).unwrap_or(0);
                u32::from(net) & mask == u32::from(one) & mask
            }
            (IpAddr::V6(net), IpAddr::V6(one)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits.min(128))).unwrap_or(0);
                u128::from(net) & mask == u128::from(one) & mask
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Network {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let why = "write an address, or an address and its bits as in 10.0.0.0/8";
        let wrong = || Invalid::new("network", text, why);
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= most).ok_or_else(wrong)?,
            None => most,
        };
        Ok(Self { address, bits })
    }
}

/// The page that users see while an app is closed.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Page {
    /// A complete HTML page of at most [`Page::MOST_BYTES`]. Without one, segue's own plain page is used.
    pub html: Option<Arc<str>>,
    /// One sentence for users, shown on segue's own page and in JSON.
    pub message: Option<String>,
    /// The value of `Retry-After`, in whole seconds.
    pub retry_after: Millis,
}

impl Page {
    /// Maximum size of a page, in bytes.
    pub const MOST_BYTES: usize = 64 * 1024;
}

/// Settings for an app that is closed for its users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    /// The page that users see.
    pub page: Page,
    /// Time for which requests wait before they get the page.
    pub hold: Millis,
    /// Clients that are not blocked.
    pub allow: Vec<Network>,
}

/// The treatment of the release that was live before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standby {
    /// The old release stays warm until the next switch. A rollback is one switch.
    Keep,
    /// The old release stays warm for this time.
    For(Millis),
    /// The old release is stopped at the end of the watch. There is no warm rollback after that.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_at_least_one_and_at_most_all() {
        assert_eq!(Batch::Percent(25).of(10), 2);
        assert_eq!(Batch::Percent(1).of(10), 1);
        assert_eq!(Batch::Percent(100).of(7), 7);
        assert_eq!(Batch::Count(9).of(4), 4);
    }

    #[test]
    fn a_network_contains_its_addresses() {
        let net: Network = "10.1.0.0/16".parse().unwrap();
        assert!(net.contains("10.1.2.3".parse().unwrap()));
        assert!(net.contains("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!net.contains("10.2.0.1".parse().unwrap()));
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains("8.8.8.8".parse().unwrap()));
        assert!("::/0".parse::<Network>().unwrap().contains("2001:db8::1".parse().unwrap()));
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "a/8", "10.0.0.0/-1"] {
            assert!(bad.parse::<Network>().is_err(), "{bad:?}");
        }
    }
}
