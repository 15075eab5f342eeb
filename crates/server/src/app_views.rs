//! The views of the apps with their events, and of the fleet. Control writes them and the API reads them. They keep their last
//! state when control stops.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use control::Outbox;
use model::{AppName, AppView, FleetView, RolloutEvent};
use tokio::sync::watch;

use crate::Feed;

/// The views of all apps, and the feed of their events.
#[derive(Debug, Default)]
pub struct AppViews {
    feed: Feed,
    views: RwLock<BTreeMap<AppName, Arc<AppView>>>,
    /// `None` until control has shown it.
    fleet: RwLock<Option<Arc<FleetView>>>,
    /// Tells that the views of apps have changed.
    changed: watch::Sender<()>,
}

impl AppViews {
    /// The events of all apps.
    pub(crate) fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Returns the view of one app.
    pub fn view(&self, app: &AppName) -> Option<Arc<AppView>> {
        self.views.read().unwrap_or_else(PoisonError::into_inner).get(app).cloned()
    }

    /// Returns the views of all apps, sorted by name.
    pub fn views(&self) -> Vec<Arc<AppView>> {
        let views = self.views.read().unwrap_or_else(PoisonError::into_inner);
        views.values().cloned().collect()
    }

    /// Returns a receiver that is told of every change of the views of apps.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Returns the members of the fleet; none until control has shown them.
    pub fn fleet(&self) -> Arc<FleetView> {
        self.known_fleet().unwrap_or_default()
    }

    /// Returns the members of the fleet; `None` until control has shown them.
    pub fn known_fleet(&self) -> Option<Arc<FleetView>> {
        self.fleet.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Control's side of the views: publishes into them.
#[derive(Clone, Debug)]
pub struct Notices(pub Arc<AppViews>);

impl Outbox for Notices {
    fn announce(&mut self, event: RolloutEvent) {
        tracing::info!(app = %event.app, "{}", event.text);
        self.0.feed.publish(event);
    }

    fn show(&mut self, view: Arc<AppView>) {
        let mut views = self.0.views.write().unwrap_or_else(PoisonError::into_inner);
        views.insert(view.app.clone(), view);
        self.0.changed.send_replace(());
    }

    fn hide(&mut self, app: &AppName) {
        self.0.views.write().unwrap_or_else(PoisonError::into_inner).remove(app);
        self.0.changed.send_replace(());
    }

    fn show_fleet(&mut self, view: Arc<FleetView>) {
        *self.0.fleet.write().unwrap_or_else(PoisonError::into_inner) = Some(view);
    }
}
