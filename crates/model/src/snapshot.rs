//! The routing table: complete, numbered, and the only input of a proxy's decisions.

use alloc::sync::Arc;
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

impl Snapshot {
    /// Returns this snapshot as proxies on other machines than the server get it: without the instances that they
    /// cannot reach.
    #[must_use]
    pub fn for_other_machines(self: &Arc<Self>) -> Arc<Self> {
        let is_in_reach = |target: &Target| target.address.beyond_its_machine().is_some();
        let arms = self.apps.iter().flat_map(|app| &app.arms);
        if arms.flat_map(|arm| &arm.instances).all(is_in_reach) {
            return self.clone();
        }
        let mut made = Self::clone(self);
        for arm in made.apps.iter_mut().flat_map(|app| &mut app.arms) {
            arm.instances.retain(is_in_reach);
        }
        Arc::new(made)
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn other_machines_get_the_table_without_what_they_cannot_reach() {
        let target = |number: u64, address: &str| {
            let app = "web".parse().expect("it is a name");
            Target::new(InstanceId { app, number }, address.parse().expect("it is an address"))
        };
        let instances = vec![
            target(1, "127.0.0.1:20001"),
            target(2, "10.0.0.2:20001"),
            target(3, "unix:/run/web-3"),
            target(4, "[::1]:20001"),
            target(5, "[fd00::5]:20001"),
        ];
        let label = "v1".parse().expect("it is a label");
        let arm = Arm { release: ReleaseNo(1), label, share: Share::ALL, instances };
        let section = AppSection {
            app: "web".parse().expect("it is a name"),
            route: Route::everything(Millis(0)),
            drain_deadline: Millis(0),
            split: None,
            maintenance: None,
            arms: vec![arm],
        };
        let generation = Generation { term: 1, counter: 7 };
        let snapshot = Arc::new(Snapshot { generation, apps: vec![section] });
        let made = snapshot.for_other_machines();
        let kept: Vec<_> = made.apps[0].arms[0].instances.iter().map(|it| it.id.number).collect();
        assert_eq!((made.generation, kept), (generation, vec![2, 5]));
        assert!(Arc::ptr_eq(&made.for_other_machines(), &made), "there is nothing to leave out");
    }
}
