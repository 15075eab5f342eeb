//! New users who send one request each. They show which part of new users gets the new release at each step
//! of a canary. Bounded in time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use model::{AppName, Share};
use wire::ApiClient;

use super::browser::{Browser, Told};

/// The number of requests between two checks of the share.
const BATCH: usize = 100;
/// The time after which the thread ends by itself.
const LONGEST: Duration = Duration::from_secs(60);
/// The time between two batches, and between two checks while there is nothing to count.
const PACE: Duration = Duration::from_millis(20);

/// New users by the release that answered them, for each share.
pub(super) type SharesSeen = BTreeMap<Share, ReleaseShare>;

/// The number of new users who got the new release, of all in a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ReleaseShare {
    pub(super) new: u64,
    pub(super) all: u64,
}

impl ReleaseShare {
    /// Returns the new release's part.
    pub(super) fn fraction(self) -> f64 {
        // Counts of one demo are far below 2^52.
        if self.all == 0 { 0.0 } else { self.new as f64 / self.all as f64 }
    }
}

/// Users who each send one request, until they are stopped.
#[derive(Debug)]
pub(super) struct NewUsers {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<SharesSeen>,
}

impl NewUsers {
    /// Starts the thread that sends requests to `address`. `client` returns the share of the release `new`.
    pub(super) fn start(address: SocketAddr, client: ApiClient, app: AppName, new: String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let over = stop.clone();
        let thread = thread::spawn(move || count(address, &client, &app, &new, &over));
        Self { stop, thread }
    }

    /// Stops the thread and returns the counts.
    pub(super) fn stop(self) -> SharesSeen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

fn count(
    address: SocketAddr,
    client: &ApiClient,
    app: &AppName,
    new: &str,
    stop: &AtomicBool,
) -> SharesSeen {
    let started = Instant::now();
    let mut browser = Browser::new(address);
    let mut tally = SharesSeen::new();
    while !stop.load(Ordering::Relaxed) && started.elapsed() < LONGEST {
        if let Some(share) = share(client, app) {
            let split = ask(&mut browser, new);
            // A batch counts only if the share did not change during it.
            if self::share(client, app) == Some(share) {
                let sum = tally.entry(share).or_default();
                sum.new += split.new;
                sum.all += split.all;
            }
        }
        thread::sleep(PACE);
    }
    tally
}

/// Returns the current share, if it is more than nothing and less than all.
fn share(client: &ApiClient, app: &AppName) -> Option<Share> {
    let rollout = client.app(app).ok()?.status.rollout?;
    let part = rollout.share > 0.0 && rollout.share < 1.0;
    // The value is between 0 and 10 000, so nothing is cut off.
    let parts = (rollout.share * 10_000.0).round() as u16;
    part.then(|| Share::from_ten_thousandths(parts)).flatten()
}

fn ask(browser: &mut Browser, new: &str) -> ReleaseShare {
    let mut split = ReleaseShare::default();
    for _ in 0..BATCH {
        browser.forget();
        // Failures are counted by the load, which sends requests at the same time.
        let Ok(Told::Release(release)) = browser.ask() else { continue };
        split.all += 1;
        split.new += u64::from(release == new);
    }
    split
}
