//! Probes one instance periodically, by HTTP or by a command, and reports its health. Control decides whether
//! an instance that gives no answer is busy or down.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::{Address, Expect, HostReport, Launch, Listeners, Serving};
use tokio::task::JoinHandle;

use crate::command_probe::CommandProbe;
use crate::context::Context;
use crate::http_probe::HttpProbe;
use crate::listener_monitor::{Freshness, ListenerMonitor};
use crate::probe_history::{ProbeHistory, ProbeResult};

/// The largest number of addresses in the note about an instance that listens elsewhere.
const TOLD: usize = 3;

/// The last health report, which is sent again when control repeats its command.
pub(crate) type LastHealth = Arc<Mutex<Option<HostReport>>>;

/// The task that probes an instance.
pub(crate) struct Prober {
    task: JoinHandle<()>,
}

impl Prober {
    /// Stops probing without waiting for the task to end.
    pub fn abort(&self) {
        self.task.abort();
    }

    /// Stops probing. Nothing is reported after this returns.
    pub async fn end(mut self) {
        self.task.abort();
        // The task was cancelled, or ended by a panic that was logged.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts the task that probes the instance and reports every change of its health, note or listeners.
pub(crate) fn start(
    context: Arc<Context>,
    launch: Launch,
    serving: Serving,
    expect: Expect,
    last: LastHealth,
) -> Prober {
    let task = tokio::spawn(async move {
        let mut history = ProbeHistory::new(&serving.health, expect);
        let mut monitor =
            ListenerMonitor::new(&context.sockets, &context.layout, &launch, &serving);
        let probe = Probe::new(&context, &launch, &serving);
        let mut told = Listeners::Unknown;
        loop {
            let changed = look(&probe, &serving, &mut history, &mut monitor).await;
            let listeners = monitor.listeners();
            if changed || listeners != told {
                let report = HostReport::Health {
                    id: launch.id.clone(),
                    health: history.health(),
                    streak: history.streak(),
                    note: history.note(),
                    unanswered: history.is_unanswered(),
                    listeners: listeners.clone(),
                };
                told = listeners;
                *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(report.clone());
                (context.report)(report);
            }
            tokio::select! {
                () = tokio::time::sleep(with_jitter(history.gap())) => {}
                () = monitor.changed() => {}
            }
        }
    });
    Prober { task }
}

/// The kind of an instance's probe.
enum Probe {
    Http(HttpProbe),
    Command(Box<CommandProbe>),
}

impl Probe {
    fn new(context: &Arc<Context>, launch: &Launch, serving: &Serving) -> Self {
        let check = &serving.health;
        match &check.command {
            None => Self::Http(HttpProbe::new(serving)),
            Some(command) => {
                let probe = CommandProbe::new(context, launch, command, check.timeout);
                Self::Command(Box::new(probe))
            }
        }
    }

    async fn once(&self) -> ProbeResult {
        match self {
            Self::Http(probe) => probe.ask().await,
            Self::Command(probe) => probe.run().await,
        }
    }
}

/// Probes once, unless a foreign listener would answer. Returns whether the health or the note has changed.
async fn look(
    probe: &Probe,
    serving: &Serving,
    history: &mut ProbeHistory,
    monitor: &mut ListenerMonitor,
) -> bool {
    if let Some(why) = monitor.look(Freshness::Latest).await {
        return history.found_foreign_listener(why);
    }
    let result = match probe.once().await {
        ProbeResult::Refused(why) => ProbeResult::Refused(why + &elsewhere(monitor, serving).await),
        result @ (ProbeResult::Good | ProbeResult::Silent(_) | ProbeResult::Bad(_)) => result,
    };
    // An outdated list of sockets must not make an instance Up.
    let rises = result == ProbeResult::Good && history.is_about_to_rise();
    let freshness = if rises { Freshness::Now } else { Freshness::Latest };
    match monitor.look(freshness).await {
        Some(why) => history.found_foreign_listener(why),
        None => history.add(result),
    }
}

/// Returns a sentence about where an instance listens that refuses connections at its assigned address. Often
/// it listens at a port of its own choice.
async fn elsewhere(monitor: &mut ListenerMonitor, serving: &Serving) -> String {
    let (address, names) = match &serving.health_address {
        Some(address) => (address, "HEALTH_PORT names"),
        None => (&serving.address, "HOST and PORT name"),
    };
    let Address::Tcp(address) = address else { return String::new() };
    let listening = monitor.listening().await;
    let listening: Vec<String> = listening.iter().take(TOLD).map(ToString::to_string).collect();
    if listening.is_empty() {
        return String::new();
    }
    format!("; it listens at {} and not at {address}, which {names}", listening.join(", "))
}

/// Adds or subtracts up to a tenth, so that instances are not probed at the same moments.
fn with_jitter(gap: Duration) -> Duration {
    let mut byte = [128];
    // Without randomness there is no jitter, which does no harm.
    let _ = getrandom::fill(&mut byte);
    gap.mul_f64(0.9 + 0.2 * f64::from(byte[0]) / 255.0)
}
