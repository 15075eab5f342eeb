//! What users ask for: one app as its `segue.toml` describes it, checked and with units.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{AppName, Digest, Invalid, Listen, ListenerRule, Millis, ResourceLimits, Route, Share};

/// One app, as asked for by one deploy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppSpec {
    /// The app's name.
    pub app: AppName,
    /// How an instance is run. Belongs to the release.
    pub run: Run,
    /// How an instance shows that it is well. Belongs to the release.
    pub health: HealthCheck,
    /// Which requests are the app's. Belongs to the live release and moves with it.
    pub route: Route,
    /// How an instance is let go. Belongs to the release.
    pub drain: Drain,
    /// How this release comes in. Belongs to the incoming rollout.
    pub strategy: Strategy,
}

/// How an instance is run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Program and arguments; the program is looked up in the release's folder when it has a `/`,
    /// else in `PATH`. Never empty.
    pub command: Vec<String>,
    /// How many instances; at least 1.
    pub replicas: u16,
    /// Environment variables by name, with the keyed digest of the value: values never come here.
    pub env: BTreeMap<String, Digest>,
    /// The user to run as, when segue runs as root.
    pub user: Option<String>,
    /// The group to run as, when segue runs as root.
    pub group: Option<String>,
    /// Who may read the release's files.
    #[serde(default, skip_serializing_if = "Files::is_private")]
    pub files: Files,
    /// What an instance listens on.
    #[serde(default, skip_serializing_if = "Listen::is_port")]
    pub listen: Listen,
    /// Who may listen at an instance's address.
    #[serde(default, skip_serializing_if = "ListenerRule::is_own")]
    pub listener: ListenerRule,
    /// The most that an instance may use of its host.
    #[serde(flatten)]
    pub limits: ResourceLimits,
}

impl Run {
    /// One instance of a command, with every other setting at its default.
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

/// Who may read a release's files on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Files {
    /// The app's user, and its group if one is named.
    #[default]
    Private,
    /// Every user of the host: for programs whose workers run as yet another user.
    World,
}

impl Files {
    /// The default.
    pub fn is_private(&self) -> bool {
        *self == Self::Private
    }
}

/// How an instance shows that it is well: it answers an HTTP GET with 2xx, or a command exits with 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// Path and query of the request.
    pub path: String,
    /// The `Host` of the request, instead of the route's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Fields of the request's head by their names in lower case: they replace segue's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The port that the request goes to.
    #[serde(default, skip_serializing_if = "ProbePort::is_same")]
    pub port: ProbePort,
    /// Program and arguments to run instead of the request; never empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// An instance that gives no answer while it is busy with requests is not called Down before it has
    /// made no progress for so long.
    #[serde(
        default = "HealthCheck::default_busy",
        skip_serializing_if = "HealthCheck::is_busy_default"
    )]
    pub busy: Millis,
    /// Time from one probe to the next.
    pub interval: Millis,
    /// An answer that takes longer counts as bad.
    pub timeout: Millis,
    /// Good probes in a row that make an instance Up.
    pub rise: u32,
    /// Bad probes in a row that make an instance Down.
    pub fall: u32,
    /// An instance that is not Up so long after its start is given up.
    pub start_deadline: Millis,
}

impl HealthCheck {
    /// What `busy` is unless said otherwise.
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
    /// The one that users are sent to.
    #[default]
    Same,
    /// One of its own, which the instance gets as `HEALTH_PORT`.
    Own,
}

impl ProbePort {
    fn is_same(&self) -> bool {
        *self == Self::Same
    }
}

/// How an instance is let go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Requests in flight get so long to finish; what is left then is cut off.
    pub deadline: Millis,
}

/// How a release comes in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strategy {
    /// The kind and its own settings.
    pub kind: StrategyKind,
    /// What becomes of the release that was live before.
    pub standby: Standby,
    /// How long the new release is watched after the switch, with the old one whole beside it.
    pub watch: Millis,
}

/// The kinds of rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StrategyKind {
    /// A second set beside the live one, then one switch.
    BlueGreen {
        /// When to switch.
        switch: Switch,
    },
    /// Instance after instance, or some at a time.
    Rolling {
        /// How many instances are replaced at a time.
        batch: Batch,
        /// Whether new instances start before old ones leave.
        order: Order,
        /// Time between two batches.
        pause: Millis,
        /// What happens when an instance of the new release fails.
        on_failure: OnFailure,
    },
    /// A share of the users first, then more, then all.
    Canary {
        /// The shares on the way to all; at least one, strictly growing, below all.
        steps: Vec<Step>,
        /// Users that get the new release from the first step on, whatever the share.
        cohort: Option<Cohort>,
        /// How many instances the new release has on the way.
        capacity: Capacity,
    },
    /// The old release stops before the new one starts; requests are held, then get a page.
    Recreate {
        /// What users see meanwhile.
        page: Page,
    },
}

impl StrategyKind {
    /// The name users write.
    pub fn name(&self) -> &'static str {
        match self {
            Self::BlueGreen { .. } => "blue-green",
            Self::Rolling { .. } => "rolling",
            Self::Canary { .. } => "canary",
            Self::Recreate { .. } => "recreate",
        }
    }
}

/// When a blue/green rollout switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Switch {
    /// As soon as the candidate is ready.
    Auto,
    /// When somebody says `segue promote`.
    Manual,
}

/// How many instances a rolling rollout moves at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Batch {
    /// This many.
    Count(u16),
    /// This part of the replicas in percent, 1 to 100; at least one instance.
    Percent(u8),
}

impl Batch {
    /// How many instances that is; at least 1 and at most all.
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

/// Whether a rolling rollout starts new instances before old ones leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Old ones leave first: no more instances than replicas at any time.
    InPlace,
    /// New ones start first: up to a batch more than replicas.
    Surge,
}

/// What a rolling rollout does when an instance of the new release fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// The rollout goes back: the old release is made whole again, then gets all of the traffic.
    Revert,
    /// The rollout stays as it is until somebody says `segue resume` or `segue abort`.
    Hold,
}

/// One share of a canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The new release's share.
    pub share: Share,
    /// What it waits for before the next step.
    pub gate: Gate,
}

/// What a step waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// This time.
    After(Millis),
    /// Somebody to say `segue promote`.
    Manual,
}

/// How many instances a canary's new release has on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capacity {
    /// The part of the replicas that its share is of the traffic, rounded up.
    Share,
    /// This many, until it gets all traffic.
    Fixed(u16),
}

/// Users picked whatever the share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cohort {
    /// What picks them.
    pub mark: Mark,
    /// The mark counts whoever shows it. Otherwise a header, a cookie or a parameter, which anybody can send,
    /// counts only from networks that the server trusts.
    pub public: bool,
}

/// What is to be seen of a request whose user is picked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// Requests with this header; names in lower case.
    Header {
        /// Its name.
        name: String,
        /// Its whole value.
        value: String,
    },
    /// Requests with this cookie.
    Cookie {
        /// Its name.
        name: String,
        /// Its whole value.
        value: String,
    },
    /// Requests with this query parameter; a cookie keeps the user in the cohort.
    Query {
        /// Its name.
        name: String,
        /// Its whole value.
        value: String,
    },
    /// Clients in this network.
    Network(Network),
}

/// A network of addresses: `10.0.0.0/8`, `2001:db8::/32`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its first address.
    pub address: IpAddr,
    /// How many leading bits count.
    pub bits: u8,
}

impl Network {
    /// Whether the address is in one of these networks.
    pub fn any_contains(networks: &[Self], address: IpAddr) -> bool {
        networks.iter().any(|network| network.contains(address))
    }

    /// Whether the address is in the network. An IPv4 address written as IPv6 counts as IPv4.
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

/// What users see while an app is closed.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Page {
    /// A whole HTML page; a plain one of our own if there is none. At most [`Page::MOST_BYTES`].
    pub html: Option<Arc<str>>,
    /// One sentence for users, on our own page and in JSON.
    pub message: Option<String>,
    /// What `Retry-After` says, in whole seconds.
    pub retry_after: Millis,
}

impl Page {
    /// A page is at most so long.
    pub const MOST_BYTES: usize = 64 * 1024;
}

/// An app that is closed for its users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    /// What users see.
    pub page: Page,
    /// Requests wait so long before they get the page.
    pub hold: Millis,
    /// Clients that are let through.
    pub allow: Vec<Network>,
}

/// What becomes of the release that was live before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standby {
    /// The old release stays warm until the next switch: rollback is one switch.
    Keep,
    /// The old release stays warm for this time.
    For(Millis),
    /// The old release is stopped once the new one has been watched: no warm rollback after that.
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
