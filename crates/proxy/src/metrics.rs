//! The counters as Prometheus text. Labels are app names, release numbers and instance ids, which
//! are safe by their types; never anything a client sent.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use model::Health;

use crate::shared::Shared;
use crate::stats::{AppCells, Cell};

type AppCounter = (&'static str, &'static str, fn(&AppCells) -> &Cell);

const APP_COUNTERS: [AppCounter; 6] = [
    ("segue_failed_total", "Answers made by the proxy (502, 503, 504) or broken off.", |c| {
        &c.failed
    }),
    ("segue_client_aborted_total", "Requests whose client went away first.", |c| &c.client_aborted),
    ("segue_retries_total", "Attempts made again.", |c| &c.retried),
    ("segue_held_total", "Requests that had to wait for an instance.", |c| &c.held),
    ("segue_diverted_total", "Requests sent to another release: theirs was down.", |c| &c.diverted),
    ("segue_failed_open_total", "Requests sent to an instance that is down.", |c| &c.failed_open),
];

/// Renders all metrics of a proxy.
pub(crate) fn render(shared: &Shared) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(shared, &mut out);
    out
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

fn write(shared: &Shared, out: &mut String) -> std::fmt::Result {
    let report = shared.report();
    let ledger = shared.ledger();
    let directory = &ledger.directory;
    family(out, "segue_requests_total", "counter", "Requests answered or broken off.")?;
    for (app, stats) in &directory.apps {
        writeln!(out, "segue_requests_total{{app=\"{app}\"}} {}", stats.sum(|c| &c.requests))?;
    }
    family(out, "segue_responses_total", "counter", "Answers of instances, by release.")?;
    for ((app, release), stats) in &directory.releases {
        for class in 1..=5 {
            let (count, release) = (stats.sum_class(class), release.0);
            let labels = format!("app=\"{app}\",release=\"{release}\",code_class=\"{class}xx\"");
            writeln!(out, "segue_responses_total{{{labels}}} {count}")?;
        }
    }
    family(
        out,
        "segue_faults_total",
        "counter",
        "Requests that failed on an instance, by release.",
    )?;
    for ((app, release), stats) in &directory.releases {
        let (faults, release) = (stats.sum(|cells| &cells.faults), release.0);
        writeln!(out, "segue_faults_total{{app=\"{app}\",release=\"{release}\"}} {faults}")?;
    }
    for (name, help, counter) in APP_COUNTERS {
        family(out, name, "counter", help)?;
        for (app, stats) in &directory.apps {
            writeln!(out, "{name}{{app=\"{app}\"}} {}", stats.sum(counter))?;
        }
    }
    family(out, "segue_holding", "gauge", "Requests held now.")?;
    for (app, stats) in &directory.apps {
        writeln!(out, "segue_holding{{app=\"{app}\"}} {}", stats.held_now.load(Ordering::Relaxed))?;
    }
    family(out, "segue_in_flight", "gauge", "Requests and tunnels in flight on an instance.")?;
    for (id, instance) in &directory.instances {
        writeln!(out, "segue_in_flight{{instance=\"{id}\"}} {}", instance.in_flight())?;
    }
    family(out, "segue_instance_up", "gauge", "Whether an instance is up.")?;
    for (id, instance) in &directory.instances {
        let up = u8::from(instance.health() == Health::Up);
        writeln!(out, "segue_instance_up{{instance=\"{id}\"}} {up}")?;
    }
    family(out, "segue_connections", "gauge", "Connections of clients.")?;
    writeln!(out, "segue_connections {}", shared.connections.load(Ordering::Relaxed))?;
    family(out, "segue_worker_connections", "gauge", "Connections of clients, by worker.")?;
    for (worker, desk) in shared.desks.iter().enumerate() {
        writeln!(out, "segue_worker_connections{{worker=\"{worker}\"}} {}", desk.inbox.open())?;
    }
    family(out, "segue_handed_over_total", "counter", "Connections moved to another worker.")?;
    writeln!(out, "segue_handed_over_total {}", shared.handed_over.load(Ordering::Relaxed))?;
    family(out, "segue_evicted_total", "counter", "Connections that had to make room.")?;
    writeln!(out, "segue_evicted_total {}", shared.evicted.load(Ordering::Relaxed))?;
    family(out, "segue_snapshot_generation", "gauge", "The snapshot every worker acknowledged.")?;
    writeln!(out, "segue_snapshot_generation {}", report.acknowledged.counter)?;
    if let Some(log) = &shared.access_log {
        family(
            out,
            "segue_access_log_dropped_total",
            "counter",
            "Lines the disk was too slow for.",
        )?;
        writeln!(out, "segue_access_log_dropped_total {}", log.dropped())?;
    }
    Ok(())
}
