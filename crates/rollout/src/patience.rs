//! How long a joining instance may take, and from when on that is counted. Decides nothing.

use model::{Millis, ReleaseNo, Stage, Timestamp};

use crate::{App, Instance, Observed};

/// What a joining instance is given now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// What its time is for.
    pub of: Part,
    /// From when on.
    pub since: Timestamp,
    /// How long.
    pub given: Millis,
}

/// The two parts of a start. Copying many files is no part of how quickly an app starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Its files are laid out, and its process is started.
    LayingOut,
    /// Its process runs and becomes healthy.
    Starting,
}

impl Patience {
    /// The longest that laying out the files of a release may take.
    pub const LAYING_OUT: Millis = Millis::from_secs(600);

    /// What this instance is given. A restart of control begins the part anew.
    pub fn with(app: &App, seen: &Observed, number: u64, instance: &Instance) -> Self {
        let release = app.releases.get(&instance.release);
        match seen.instance(number).running_since {
            Some(since) => Self {
                of: Part::Starting,
                since: since.max(seen.recovered),
                given: release.map(|r| r.spec.health.start_deadline).unwrap_or_default(),
            },
            None => Self {
                of: Part::LayingOut,
                since: instance.minted.max(seen.recovered),
                given: Self::LAYING_OUT,
            },
        }
    }

    /// Of a release's joining instances the one whose files are still being laid out, else the one whose
    /// time is up first.
    pub fn first(app: &App, seen: &Observed, release: ReleaseNo) -> Option<Self> {
        let joining = app.instances_of(release).filter(|(_, i)| i.stage == Stage::Joining);
        let all = joining.map(|(number, instance)| Self::with(app, seen, number, instance));
        all.min_by_key(|patience| (patience.of != Part::LayingOut, patience.until()))
    }

    /// When it is over.
    pub fn until(self) -> Timestamp {
        self.since.after(self.given)
    }
}
