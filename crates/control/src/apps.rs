//! The apps under control, and which of them a step has to look at. Apps without changes cost a step
//! nothing.

use std::collections::{BTreeMap, BTreeSet};

use model::{AppName, Timestamp};
use rollout::App;

use crate::managed::Managed;

/// All apps. Apps are changed only through [`Apps::change`], which keeps the sets below consistent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Apps {
    managed: BTreeMap<AppName, Managed>,
    /// Apps with observations or events since their last decision.
    dirty: BTreeSet<AppName>,
    /// Time of the next decision on each app at the latest. An app that waits for nothing has no entry.
    wakes: BTreeSet<(Timestamp, AppName)>,
    /// Apps whose state depends on the clock and the counts: with a rollout, or with a busy instance.
    restless: BTreeSet<AppName>,
    /// Apps whose requests in flight may have changed since they were last taken.
    moved: BTreeSet<AppName>,
    /// Apps changed since they were last taken.
    touched: BTreeSet<AppName>,
}

impl Apps {
    /// Returns the apps of a recovered journal. All of them are due.
    pub fn new(apps: impl IntoIterator<Item = App>) -> Self {
        let mut all = Self::default();
        apps.into_iter().for_each(|app| all.insert(app));
        all
    }

    /// Adds a new app.
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
        for set in [&mut self.dirty, &mut self.restless, &mut self.moved, &mut self.touched] {
            set.remove(name);
        }
    }

    /// Returns one app.
    pub fn get(&self, name: &AppName) -> Option<&Managed> {
        self.managed.get(name)
    }

    /// Returns all apps, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&AppName, &Managed)> {
        self.managed.iter()
    }

    /// Returns the states of all apps.
    pub fn states(&self) -> impl Iterator<Item = &App> {
        self.managed.values().map(|managed| &managed.app)
    }

    /// Changes one app, if it exists.
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

    /// Makes every app due for a decision.
    pub fn dirty_all(&mut self) {
        self.managed.values_mut().for_each(|managed| managed.dirty = true);
        self.dirty.extend(self.managed.keys().cloned());
    }

    /// Returns the apps to decide on now: something has happened, or their time has come.
    pub fn due(&self, now: Timestamp) -> BTreeSet<AppName> {
        let woken = self.wakes.iter().take_while(|(wake, _)| *wake <= now).map(|(_, name)| name);
        self.dirty.iter().chain(woken).cloned().collect()
    }

    /// Returns the time of the next decision.
    pub fn wake_at(&self) -> Option<Timestamp> {
        self.wakes.first().map(|(wake, _)| *wake)
    }

    /// Notes that a proxy has reported other requests in flight on these apps; `None` stands for all. Those that
    /// change with the clock may have changed with any report.
    pub fn moved(&mut self, apps: Option<BTreeSet<AppName>>) {
        match apps {
            Some(apps) => self.moved.extend(apps),
            None => self.moved.extend(self.managed.keys().cloned()),
        }
        self.moved.extend(self.restless.iter().cloned());
    }

    /// Takes the apps whose requests in flight may have changed since the last call.
    pub fn take_moved(&mut self) -> BTreeSet<AppName> {
        std::mem::take(&mut self.moved)
    }

    /// Takes the apps changed since the last call.
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
