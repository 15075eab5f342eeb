//! The feed of the last events. All readers share one ring and read at their own pace. No reader has a queue.
//! A slow reader delays nobody, and is told how many events it missed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{AppName, RolloutEvent};
use tokio::sync::watch;

/// The number of events that the feed keeps for readers that reconnect.
const REMEMBERED: usize = 1_024;

/// The ring of events, and the number of the newest.
#[derive(Debug)]
pub struct Feed {
    ring: Arc<Mutex<Ring>>,
    newest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    newest: u64,
    events: VecDeque<(u64, Arc<RolloutEvent>)>,
}

impl Default for Feed {
    fn default() -> Self {
        Self { ring: Arc::default(), newest: watch::Sender::new(0) }
    }
}

impl Feed {
    /// Adds an event and wakes all readers. Returns the event's number; the first is 1.
    pub fn publish(&self, event: RolloutEvent) -> u64 {
        let mut ring = lock(&self.ring);
        ring.newest += 1;
        let newest = ring.newest;
        if ring.events.len() == REMEMBERED {
            ring.events.pop_front();
        }
        ring.events.push_back((newest, Arc::new(event)));
        drop(ring);
        self.newest.send_replace(newest);
        newest
    }

    /// Subscribes to the events of one app that come after the event number `after`. A number larger than any
    /// event's, from before a restart of the server, counts as 0.
    pub fn follow(&self, app: &AppName, after: u64) -> Subscription {
        let newest = lock(&self.ring).newest;
        Subscription {
            ring: self.ring.clone(),
            wake: self.newest.subscribe(),
            app: app.clone(),
            after: if after > newest { 0 } else { after },
        }
    }
}

/// The position of one reader in the ring.
#[derive(Debug)]
pub struct Subscription {
    ring: Arc<Mutex<Ring>>,
    wake: watch::Receiver<u64>,
    app: AppName,
    after: u64,
}

/// An item that a reader gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedItem {
    /// An event and its number.
    Event(u64, Arc<RolloutEvent>),
    /// The number of events, of any app, that were dropped before this reader read them.
    Lost(u64),
}

impl Subscription {
    /// Waits for the next event and returns it; `None` when the feed has ended. This method is cancel safe.
    pub async fn next(&mut self) -> Option<FeedItem> {
        loop {
            self.wake.mark_unchanged();
            if let Some(news) = self.take() {
                return Some(news);
            }
            self.wake.changed().await.ok()?;
        }
    }

    fn take(&mut self) -> Option<FeedItem> {
        let ring = lock(&self.ring);
        let oldest = ring.events.front()?.0;
        let forgotten = oldest.saturating_sub(self.after + 1);
        if forgotten > 0 && self.after > 0 {
            self.after += forgotten;
            return Some(FeedItem::Lost(forgotten));
        }
        let start = self.after.saturating_sub(oldest - 1);
        let rest = ring.events.iter().skip(usize::try_from(start).unwrap_or(usize::MAX));
        for (number, event) in rest {
            self.after = *number;
            if event.app == self.app {
                return Some(FeedItem::Event(*number, event.clone()));
            }
        }
        None
    }
}

/// Locks the ring. The ring is consistent after every line that holds the lock, so a panic elsewhere does not
/// spoil it.
fn lock(ring: &Mutex<Ring>) -> MutexGuard<'_, Ring> {
    ring.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Timestamp;

    fn event(app: &str, text: &str) -> RolloutEvent {
        let app = app.parse().unwrap();
        RolloutEvent { at: Timestamp(0), app, rollout: None, text: text.into(), outcome: None }
    }

    async fn text(reader: &mut Subscription) -> String {
        match reader.next().await {
            Some(FeedItem::Event(number, event)) => format!("{number} {}", event.text),
            Some(FeedItem::Lost(count)) => format!("lost {count}"),
            None => "end".into(),
        }
    }

    #[tokio::test]
    async fn a_reader_gets_its_own_apps_events_old_and_new() {
        let feed = Feed::default();
        let web: AppName = "web".parse().unwrap();
        feed.publish(event("web", "a"));
        feed.publish(event("db", "b"));
        let mut reader = feed.follow(&web, 0);
        assert_eq!(text(&mut reader).await, "1 a");
        let (later, ()) = tokio::join!(text(&mut reader), async {
            feed.publish(event("db", "c"));
            feed.publish(event("web", "d"));
        });
        assert_eq!(later, "4 d");
        drop(feed);
        assert_eq!(text(&mut reader).await, "end");
    }

    #[tokio::test]
    async fn a_reader_that_is_too_slow_is_told_how_much_it_missed() {
        let feed = Feed::default();
        let web: AppName = "web".parse().unwrap();
        feed.publish(event("web", "first"));
        let mut reader = feed.follow(&web, 1);
        for n in 0..REMEMBERED + 5 {
            feed.publish(event("web", &n.to_string()));
        }
        assert_eq!(text(&mut reader).await, "lost 5");
        assert_eq!(text(&mut reader).await, "7 5");
    }

    #[tokio::test]
    async fn a_number_from_before_a_restart_starts_from_the_beginning() {
        let feed = Feed::default();
        feed.publish(event("web", "new"));
        let mut reader = feed.follow(&"web".parse().unwrap(), 900);
        assert_eq!(text(&mut reader).await, "1 new");
    }
}
