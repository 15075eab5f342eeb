//! The vocabulary of segue, one meaning per term: ids, units, app specs, snapshots, messages, reasons.
//!
//! The crate has no IO, no clock, no randomness and no async: it is `no_std`, so it cannot name them. `cargo
//! xtask deps` checks that none of its dependencies brings them in.

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod abilities;
mod budget;
mod causes;
mod health;
mod health_counter;
mod health_request;
mod host;
mod host_selector;
mod id;
mod limits;
mod link;
mod listener;
mod member;
mod nearest;
mod planned_hosts;
mod proxy_limits;
mod reachable;
mod reason;
mod receipt;
mod release;
mod resources;
mod route;
mod snapshot;
mod sockets;
mod spec;
mod traffic;
mod units;
mod upstream;
mod variable;
mod view;

pub use abilities::{Abilities, HostAbilities, Shares};
pub use budget::{BudgetSpent, FailureBudget, HostAside, HostFault};
pub use causes::in_full;
pub use health::{Health, HealthTable};
pub use health_counter::{HealthCounter, HealthThresholds, ProbeOutcome};
pub use host::{
    Exit, Expect, FromHost, HostCommand, HostReport, Keep, Launch, NotStarted, Serving, ToHost,
};
pub use host_selector::HostSelector;
pub use id::{
    Address, AppName, Digest, FencingToken, HostId, InstanceId, Invalid, Label, MemberName,
    ProxyId, ReleaseNo, RolloutId,
};
pub use limits::AppLimits;
pub use link::{HostHello, Link, ProxyCommand, ProxyHello, ProxyLink, Reach, ToProxy};
pub use listener::{ListenerRule, Listeners};
pub use member::{
    FleetView, HostDuty, HostView, MemberView, ProxyDuty, ProxyPresence, ProxyView, Role,
};
pub use nearest::nearest;
pub use planned_hosts::{HostLeftOut, PlannedHosts};
pub use proxy_limits::{
    HeadSizes, LIMIT_TIMES, LONE_APP_LIMITS, LimitField, LimitRow, LoneLimits, PROXY_LIMITS,
    ProxyLimits, ProxySettings,
};
pub use reachable::{ReachTarget, Reached};
pub use reason::{NotReady, Reason, Waiting};
pub use receipt::{Outcome, Receipt};
pub use release::{Conventions, Release, Service, Stage};
pub use resources::{LimitObstacles, Obstacle, Resource, ResourceLimits};
pub use route::{Affinity, Balance, KeepAlive, Prefix, Redirect, Route};
pub use snapshot::{AppSection, Arm, Snapshot, Split, Target};
pub use sockets::{Listen, SocketFolders};
pub use spec::{
    AppSpec, Batch, Capacity, Cohort, Drain, Files, Gate, HealthCheck, Maintenance, Mark, Network,
    OnFailure, Order, Page, ProbePort, Run, Standby, Step, Strategy, StrategyKind, Switch,
};
pub use traffic::{Addresses, AppCounters, Askers, Gap, InFlight, TrafficReport};
pub use units::{Generation, Millis, Share, Timestamp};
pub use upstream::{Upstream, UpstreamPlace, Weight};
pub use variable::Variable;
pub use view::{AppView, ArmView, InstanceView, Readiness, ReleaseView, RolloutEvent, RolloutView};
