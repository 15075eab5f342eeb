//! The time that a joining instance may take, and the start of that time. Decides nothing.

use model::{Millis, ReleaseNo, Stage, Timestamp};

use crate::reach::heard_from;
use crate::{App, Instance, Observed};

/// The time limit of a joining instance at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// The part of the start that the limit applies to.
    pub of: Part,
    /// The beginning of this part.
    pub since: Timestamp,
    /// The length of the limit.
    pub given: Millis,
}

/// The two parts of a start. The time to copy files does not count as time that the app takes to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Its files are laid out, and its process is started.
    LayingOut,
    /// Its process runs and becomes healthy.
    Starting,
}

impl Patience {
    /// Maximum time to lay out the files of a release. The time begins anew whenever some of them have come
    /// from the server.
    pub const LAYING_OUT: Millis = Millis::from_secs(600);

    /// Returns the time limit of this instance. A restart of control begins the part anew, and so does the
    /// return of a host that was not heard.
    pub fn with(app: &App, seen: &Observed, number: u64, instance: &Instance) -> Self {
        let release = app.releases.get(&instance.release);
        let instance_seen = seen.instance(number);
        match instance_seen.running_since {
            Some(since) => Self {
                of: Part::Starting,
                since: since.max(heard_from(seen, instance)),
                given: release.map(|r| r.spec.health.start_deadline).unwrap_or_default(),
            },
            None => Self {
                of: Part::LayingOut,
                since: instance
                    .minted
                    .max(heard_from(seen, instance))
                    .max(instance_seen.fetch.came_at.unwrap_or_default()),
                given: Self::LAYING_OUT,
            },
        }
    }

    /// Returns the limit of the release's joining instance whose files are still being laid out. If
    /// there is none, returns the limit that is over first.
    pub fn first(app: &App, seen: &Observed, release: ReleaseNo) -> Option<Self> {
        let joining = app.instances_of(release).filter(|(_, i)| i.stage == Stage::Joining);
        let all = joining.map(|(number, instance)| Self::with(app, seen, number, instance));
        all.min_by_key(|patience| (patience.of != Part::LayingOut, patience.until()))
    }

    /// Returns the end of the limit.
    pub fn until(self) -> Timestamp {
        self.since.after(self.given)
    }
}
