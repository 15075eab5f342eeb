//! How the apps look, and what has happened to them: written by control, read by the API, and left as it
//! is when control ends.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use control::Outbox;
use model::{AppName, AppView, RolloutEvent};

use crate::Feed;

/// Where people look.
#[derive(Debug, Default)]
pub struct AppViews {
    feed: Feed,
    views: RwLock<BTreeMap<AppName, Arc<AppView>>>,
}

impl AppViews {
    /// The events of all apps.
    pub(crate) fn feed(&self) -> &Feed {
        &self.feed
    }

    /// One app.
    pub(crate) fn view(&self, app: &AppName) -> Option<Arc<AppView>> {
        self.views.read().unwrap_or_else(PoisonError::into_inner).get(app).cloned()
    }

    /// All apps, in order of their names.
    pub(crate) fn views(&self) -> Vec<Arc<AppView>> {
        let views = self.views.read().unwrap_or_else(PoisonError::into_inner);
        views.values().cloned().collect()
    }
}

/// Control's end of a board.
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
    }

    fn hide(&mut self, app: &AppName) {
        self.0.views.write().unwrap_or_else(PoisonError::into_inner).remove(app);
    }
}
