//! The routing table: whole, numbered, and the only thing a proxy decides by.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::{
    Address, AppName, Cohort, Generation, InstanceId, Label, Listeners, Maintenance, Millis,
    ReleaseNo, RolloutId, Route, Share, Weight,
};

/// One whole routing table of all apps. A receiver refuses one with a lower generation.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its number.
    pub generation: Generation,
    /// One section per app, in order of their names.
    pub apps: Vec<AppSection>,
}

/// One app's part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppSection {
    /// The app.
    pub app: AppName,
    /// The live release's route.
    pub route: Route,
    /// How long tunnels and requests in flight may go on once their instance has left.
    pub drain_deadline: Millis,
    /// Set while a candidate has a part of the traffic, or may get users by its cohort: who gets
    /// it, and by what.
    pub split: Option<Split>,
    /// Set while the app is closed for its users.
    pub maintenance: Option<Maintenance>,
    /// The releases on offer. The shares add up to [`Share::ALL`], unless no release is live yet.
    pub arms: Vec<Arm>,
}

/// How users are divided between the live release and the candidate. A user's bucket is a keyed hash
/// of the user key and the rollout, from 0 to 9 999; the candidate gets those below its share. So
/// raising the share moves nobody back (I8), and the next rollout divides anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Divides the users.
    pub rollout: RolloutId,
    /// The release whose share counts.
    pub candidate: ReleaseNo,
    /// Users that get the candidate whatever the share.
    pub cohort: Option<Cohort>,
}

/// A release with its share and its instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arm {
    /// The release.
    pub release: ReleaseNo,
    /// Its label, for logs and headers.
    pub label: Label,
    /// The part of the app's traffic that it gets.
    pub share: Share,
    /// Its Serving instances, and no others: standing here is what Serving means to a proxy (I1).
    pub instances: Vec<Target>,
}

/// Where one instance listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The instance.
    pub id: InstanceId,
    /// Its address.
    pub address: Address,
    /// How much it gets, compared with the others of its arm.
    #[serde(default, skip_serializing_if = "Weight::is_one")]
    pub weight: Weight,
    /// The sockets at its address when it became Serving: a proxy that starts from a saved snapshot
    /// compares them with those it finds.
    #[serde(default, skip_serializing_if = "Listeners::is_unknown")]
    pub listeners: Listeners,
}

impl Target {
    /// One that weighs as much as any other.
    pub const fn new(id: InstanceId, address: Address) -> Self {
        Self { id, address, weight: Weight::ONE, listeners: Listeners::Unknown }
    }
}
