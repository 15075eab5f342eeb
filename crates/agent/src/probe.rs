//! Probes one instance, again and again, by HTTP or by a command, and reports what follows. Decides
//! nothing: whether an instance that gives no answer is busy or down is control's to say.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::{Expect, HostReport, Launch, Listeners};
use tokio::task::JoinHandle;

use crate::command_probe::CommandProbe;
use crate::http_probe::HttpProbe;
use crate::lookout::{Freshness, Guard};
use crate::tally::{Seen, Tally};
use crate::world::World;

/// What the last probe said, for whoever asks again.
pub(crate) type LastHealth = Arc<Mutex<Option<HostReport>>>;

/// The task that probes an instance.
pub(crate) struct Prober {
    task: JoinHandle<()>,
}

impl Prober {
    /// No further probe; what is already reported stands.
    pub fn abort(&self) {
        self.task.abort();
    }

    /// After this nothing is reported any more.
    pub async fn end(mut self) {
        self.task.abort();
        // Cancelled, or broken off by a panic that was logged: over in any case.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Probes until it is told to end; reports every change of the health or of the note.
pub(crate) fn start(world: Arc<World>, launch: Launch, expect: Expect, last: LastHealth) -> Prober {
    let task = tokio::spawn(async move {
        let mut tally = Tally::new(&launch.health, expect);
        let mut guard = Guard::new(&world.lookout, &world.layout, &launch);
        let probe = Probe::new(&world, &launch);
        let mut told = Listeners::Unknown;
        loop {
            let changed = look(&probe, &mut tally, &mut guard).await;
            let listeners = guard.listeners();
            if changed || listeners != told {
                let report = HostReport::Health {
                    id: launch.id.clone(),
                    health: tally.health(),
                    streak: tally.streak(),
                    note: tally.note(),
                    unanswered: tally.is_unanswered(),
                    listeners: listeners.clone(),
                };
                told = listeners;
                *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(report.clone());
                (world.report)(report);
            }
            tokio::select! {
                () = tokio::time::sleep(with_jitter(tally.gap())) => {}
                () = guard.changed() => {}
            }
        }
    });
    Prober { task }
}

/// How an instance is asked.
enum Probe {
    Http(HttpProbe),
    Command(Box<CommandProbe>),
}

impl Probe {
    fn new(world: &Arc<World>, launch: &Launch) -> Self {
        match &launch.health.command {
            None => Self::Http(HttpProbe::new(launch)),
            Some(command) => Self::Command(Box::new(CommandProbe::new(world, launch, command))),
        }
    }

    async fn once(&self) -> Seen {
        match self {
            Self::Http(probe) => probe.ask().await,
            Self::Command(probe) => probe.run().await,
        }
    }
}

/// One probe, unless somebody else would answer it. Whether the health or the note is another now.
async fn look(probe: &Probe, tally: &mut Tally, guard: &mut Guard) -> bool {
    if let Some(why) = guard.look(Freshness::Latest).await {
        return tally.is_not_itself(why);
    }
    let seen = probe.once().await;
    // Nobody is called Up by what listened a moment ago.
    let rises = seen == Seen::Good && tally.is_about_to_rise();
    let freshness = if rises { Freshness::Now } else { Freshness::Latest };
    match guard.look(freshness).await {
        Some(why) => tally.is_not_itself(why),
        None => tally.count(seen),
    }
}

/// Up to a tenth more or less, so that instances are not probed in step.
fn with_jitter(gap: Duration) -> Duration {
    let mut byte = [128];
    // Without randomness there is no jitter, which does no harm.
    let _ = getrandom::fill(&mut byte);
    gap.mul_f64(0.9 + 0.2 * f64::from(byte[0]) / 255.0)
}
