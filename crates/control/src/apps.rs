//! The apps under control, and which of them a step has to look at. An app at rest costs a step nothing.

use std::collections::{BTreeMap, BTreeSet};

use model::{AppName, Timestamp};
use rollout::App;

use crate::managed::Managed;

/// All apps. One is changed through [`Apps::change`] alone, which keeps the sets below true.
#[derive(Clone, Debug, Default)]
pub(crate) struct Apps {
    managed: BTreeMap<AppName, Managed>,
    /// Apps of which something was seen or has happened since their last decision.
    dirty: BTreeSet<AppName>,
    /// When to decide on each app again at the latest; an app that waits for nothing has no entry.
    wakes: BTreeSet<(Timestamp, AppName)>,
    /// Apps whose state follows the clock and the counts: with a rollout, or with a busy instance.
    restless: BTreeSet<AppName>,
    /// Apps that were changed since they were last taken.
    touched: BTreeSet<AppName>,
}

impl Apps {
    /// The apps of a recovered journal. All of them are to be looked at.
    pub fn new(apps: impl IntoIterator<Item = App>) -> Self {
        let mut all = Self::default();
        apps.into_iter().for_each(|app| all.insert(app));
        all
    }

    /// Takes in a new app.
    pub fn insert(&mut self, app: App) {
        let name = app.name.clone();
        self.managed.insert(name.clone(), Managed::new(app));
        self.change(&name, |_| ());
    }

    /// Forgets an app.
    pub fn remove(&mut self, name: &AppName) {
        if let Some(wake) = self.managed.remove(name).and_then(|managed| managed.wake_at) {
            self.wakes.remove(&(wake, name.clone()));
        }
        for set in [&mut self.dirty, &mut self.restless, &mut self.touched] {
            set.remove(name);
        }
    }

    /// One app.
    pub fn get(&self, name: &AppName) -> Option<&Managed> {
        self.managed.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&AppName, &Managed)> {
        self.managed.iter()
    }

    /// Their states.
    pub fn states(&self) -> impl Iterator<Item = &App> {
        self.managed.values().map(|managed| &managed.app)
    }

    /// Changes one app, if it is there.
    pub fn change<T>(
        &mut self,
        name: &AppName,
        change: impl FnOnce(&mut Managed) -> T,
    ) -> Option<T> {
        let managed = self.managed.get_mut(name)?;
        let before = managed.wake_at;
        let changed = change(managed);
        if managed.wake_at != before {
            before.map(|wake| self.wakes.remove(&(wake, name.clone())));
            managed.wake_at.map(|wake| self.wakes.insert((wake, name.clone())));
        }
        let (is_dirty, is_restless) = (managed.dirty, managed.is_restless());
        put(&mut self.dirty, name, is_dirty);
        put(&mut self.restless, name, is_restless);
        put(&mut self.touched, name, true);
        Some(changed)
    }

    /// Has a decision made on every app.
    pub fn dirty_all(&mut self) {
        self.managed.values_mut().for_each(|managed| managed.dirty = true);
        self.dirty.extend(self.managed.keys().cloned());
    }

    /// The apps to decide on now: something has happened, or their time has come.
    pub fn due(&self, now: Timestamp) -> BTreeSet<AppName> {
        let woken = self.wakes.iter().take_while(|(wake, _)| *wake <= now).map(|(_, name)| name);
        self.dirty.iter().chain(woken).cloned().collect()
    }

    /// When the time of the next app comes.
    pub fn wake_at(&self) -> Option<Timestamp> {
        self.wakes.first().map(|(wake, _)| *wake)
    }

    /// The apps that may change with every report of a proxy, whatever it says.
    pub fn restless(&self) -> &BTreeSet<AppName> {
        &self.restless
    }

    /// Takes the apps that were changed since this was last called.
    pub fn take_touched(&mut self) -> BTreeSet<AppName> {
        std::mem::take(&mut self.touched)
    }
}

fn put(set: &mut BTreeSet<AppName>, name: &AppName, is_in: bool) {
    if !is_in {
        set.remove(name);
    } else if !set.contains(name) {
        set.insert(name.clone());
    }
}
