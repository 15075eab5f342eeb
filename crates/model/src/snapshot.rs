//! The routing table: complete, numbered, and the only input of a proxy's decisions.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::{
    Address, AppName, Cohort, Generation, InstanceId, Label, Listeners, Maintenance, Millis,
    ReleaseNo, RolloutId, Route, Share, Weight,
};

/// One complete routing table of all apps. A receiver refuses one with a lower generation.
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
    /// Time for which tunnels and requests in flight may continue once their instance has left.
    pub drain_deadline: Millis,
    /// Set while a candidate has a part of the traffic, or may get users by its cohort. It determines who
    /// gets the candidate.
    pub split: Option<Split>,
    /// Set while the app is closed for its users.
    pub maintenance: Option<Maintenance>,
    /// The releases on offer. The shares add up to [`Share::ALL`], unless no release is live yet.
    pub arms: Vec<Arm>,
}

/// The division of users between the live release and the candidate. A user's bucket is a keyed hash of the
/// user key and the rollout, from 0 to 9 999. The candidate gets the buckets below its share. Raising the
/// share thus moves nobody back (I8), and the next rollout divides the users anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// The rollout, which is part of the hash.
    pub rollout: RolloutId,
    /// The release whose share counts.
    pub candidate: ReleaseNo,
    /// Users that get the candidate regardless of the share.
    pub cohort: Option<Cohort>,
}

/// A release with its share and its instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arm {
    /// The release.
    pub release: ReleaseNo,
    /// Its label, for logs and headers.
    pub label: Label,
    /// Its share of the app's traffic.
    pub share: Share,
    /// Its Serving instances, and no others. For a proxy, an instance is Serving if and only if it is listed
    /// here (I1).
    pub instances: Vec<Target>,
}

/// The address of one instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The instance.
    pub id: InstanceId,
    /// Its address.
    pub address: Address,
    /// Its traffic relative to the others of its arm.
    #[serde(default, skip_serializing_if = "Weight::is_one")]
    pub weight: Weight,
    /// The sockets at its address when it became Serving. A proxy that starts from a saved snapshot compares
    /// them with the sockets it finds.
    #[serde(default, skip_serializing_if = "Listeners::is_unknown")]
    pub listeners: Listeners,
}

impl Target {
    /// Returns a target with the default weight.
    pub const fn new(id: InstanceId, address: Address) -> Self {
        Self { id, address, weight: Weight::ONE, listeners: Listeners::Unknown }
    }
}
