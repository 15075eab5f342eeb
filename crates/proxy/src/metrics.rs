//! The counters as Prometheus text. Labels are app names, release numbers and instance ids, which are
//! safe by their types. No label contains text from a client.

use std::fmt::{Display, Formatter, Write};
use std::sync::atomic::Ordering;

use model::{AppName, Health};

use crate::counted::Counted;
use crate::counter::Counter;
use crate::shared::ProxyState;
use crate::stats::{AppCells, DURATIONS_MS};

type AppCounter = (&'static str, &'static str, fn(&AppCells) -> &Counter);

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

/// Writes the durations of requests, from the end of their head to the end of their answer.
fn durations(counted: &Counted, out: &mut String) -> std::fmt::Result {
    let name = "segue_request_duration_seconds";
    family(out, name, "histogram", "From a request's head to the end of its answer.")?;
    for (app, stats) in &counted.apps {
        let mut count = 0;
        for (step, bound) in DURATIONS_MS.iter().enumerate() {
            count += stats.sum_duration(step);
            let bound = Seconds(*bound);
            writeln!(out, "{name}_bucket{{app=\"{app}\",le=\"{bound}\"}} {count}")?;
        }
        count += stats.sum_duration(DURATIONS_MS.len());
        writeln!(out, "{name}_bucket{{app=\"{app}\",le=\"+Inf\"}} {count}")?;
        writeln!(out, "{name}_sum{{app=\"{app}\"}} {}", Seconds(stats.sum(|c| &c.total_ms)))?;
        writeln!(out, "{name}_count{{app=\"{app}\"}} {count}")?;
    }
    Ok(())
}

/// Milliseconds, formatted as seconds.
struct Seconds(u64);

impl Display for Seconds {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1_000, self.0 % 1_000)
    }
}

/// Renders all metrics of a proxy.
pub(crate) fn render(shared: &ProxyState) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(shared, &mut out);
    out
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

fn write(shared: &ProxyState, out: &mut String) -> std::fmt::Result {
    let (counted, acknowledged) = shared.seen();
    let help = "Answers, by the release that gave them; `none` are the proxy's own.";
    family(out, "segue_requests_total", "counter", help)?;
    let requests = |out: &mut String, app: &AppName, release: &str, class: usize, count: u64| {
        let labels = format!("app=\"{app}\",release=\"{release}\",code_class=\"{class}xx\"");
        writeln!(out, "segue_requests_total{{{labels}}} {count}")
    };
    for ((app, release), stats) in &counted.releases {
        for class in 1..=5 {
            requests(out, app, &release.0.to_string(), class, stats.sum_class(class))?;
        }
    }
    for (app, stats) in &counted.apps {
        for class in 3..=5 {
            requests(out, app, "none", class, stats.sum_own_class(class))?;
        }
    }
    durations(&counted, out)?;
    family(
        out,
        "segue_faults_total",
        "counter",
        "Requests that failed on an instance, by release.",
    )?;
    for ((app, release), stats) in &counted.releases {
        let (faults, release) = (stats.sum(|cells| &cells.faults), release.0);
        writeln!(out, "segue_faults_total{{app=\"{app}\",release=\"{release}\"}} {faults}")?;
    }
    for (name, help, counter) in APP_COUNTERS {
        family(out, name, "counter", help)?;
        for (app, stats) in &counted.apps {
            writeln!(out, "{name}{{app=\"{app}\"}} {}", stats.sum(counter))?;
        }
    }
    family(out, "segue_holding", "gauge", "Requests held now.")?;
    for (app, stats) in &counted.apps {
        writeln!(out, "segue_holding{{app=\"{app}\"}} {}", stats.held_now.load(Ordering::Relaxed))?;
    }
    family(out, "segue_in_flight", "gauge", "Requests and tunnels in flight on an instance.")?;
    for (id, instance) in &counted.instances {
        writeln!(out, "segue_in_flight{{instance=\"{id}\"}} {}", instance.in_flight())?;
    }
    family(out, "segue_instance_up", "gauge", "Whether an instance is up.")?;
    for (id, instance) in &counted.instances {
        let up = u8::from(instance.health() == Health::Up);
        writeln!(out, "segue_instance_up{{instance=\"{id}\"}} {up}")?;
    }
    family(out, "segue_connections", "gauge", "Connections of clients.")?;
    writeln!(out, "segue_connections {}", shared.connections.load(Ordering::Relaxed))?;
    family(out, "segue_resting_connections", "gauge", "Those of them that are idle.")?;
    writeln!(out, "segue_resting_connections {}", shared.resting.load(Ordering::Relaxed))?;
    family(out, "segue_worker_connections", "gauge", "Connections of clients, by worker.")?;
    for (number, worker) in shared.workers.iter().enumerate() {
        writeln!(
            out,
            "segue_worker_connections{{worker=\"{number}\"}} {}",
            worker.arrivals.open()
        )?;
    }
    family(out, "segue_handed_over_total", "counter", "Connections moved to another worker.")?;
    writeln!(out, "segue_handed_over_total {}", shared.handed_over.load(Ordering::Relaxed))?;
    family(out, "segue_evicted_total", "counter", "Connections that had to make room.")?;
    writeln!(out, "segue_evicted_total {}", shared.evicted.load(Ordering::Relaxed))?;
    family(out, "segue_snapshot_generation", "gauge", "The snapshot every worker acknowledged.")?;
    writeln!(out, "segue_snapshot_generation {}", acknowledged.counter)?;
    if let Some(log) = &shared.access_log {
        family(
            out,
            "segue_access_log_dropped_total",
            "counter",
            "HoldQueues the disk was too slow for.",
        )?;
        writeln!(out, "segue_access_log_dropped_total {}", log.dropped())?;
    }
    Ok(())
}
