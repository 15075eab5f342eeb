//! The thread that reports to control: at once when an event that control waits for has happened, and
//! otherwise once a second. Never decides anything.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use model::TrafficReport;

use crate::error::Error;
use crate::shared::ProxyState;

/// Interval between two reports if no event comes.
const INTERVAL: Duration = Duration::from_secs(1);

/// The receiver of the reports. Called on a thread of its own. It may block: later reports are newer.
pub type OnReport = Box<dyn Fn(TrafficReport) + Send>;

/// Starts the thread. It ends when all workers have ended.
pub(crate) fn start(shared: Arc<ProxyState>, on_report: OnReport) -> Result<(), Error> {
    let run = move || {
        shared.signal.listen(thread::current());
        let mut due = Instant::now();
        loop {
            if shared.signal.take() || Instant::now() >= due {
                due = Instant::now() + INTERVAL;
                on_report(shared.report());
                shared.warn();
            }
            if shared.workers.iter().all(|worker| worker.ended.load(Ordering::Acquire)) {
                on_report(shared.report());
                break;
            }
            thread::park_timeout(due.saturating_duration_since(Instant::now()));
        }
    };
    let spawned = thread::Builder::new().name("proxy-report".to_owned()).spawn(run);
    spawned
        .map(|_| ())
        .map_err(|source| Error::System { act: "start the reporting thread", source })
}
