//! Limits the connections to the API. A connection that has shown the token may stay for any time. A
//! connection without the token gets a short time and a share of the connections; the oldest one is closed to
//! make room for the next. Decides nothing about what a connection may request.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, sleep_until};

/// The limit of connections that have shown the token.
const KNOWN: usize = 192;
/// The limit of connections that have not shown the token.
const STRANGERS: usize = 64;
/// The time from the start of a connection until it has to show the token.
const TIME: Duration = Duration::from_secs(20);
/// The least time that a connection without the token is kept. The next connection waits to be accepted
/// meanwhile.
const LEAST: Duration = Duration::from_millis(50);

/// One connection.
#[derive(Clone, Debug)]
pub(crate) struct ApiConnection(Arc<State>);

#[derive(Debug)]
struct State {
    room: Arc<Semaphore>,
    known: OnceLock<OwnedSemaphorePermit>,
    evicted: Notify,
    came: Instant,
}

/// The limit of connections that have shown the token is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl ApiConnection {
    /// Counts the connection among those that have shown the token.
    pub(crate) fn is_known_now(&self) -> Result<(), Full> {
        if self.is_known() {
            return Ok(());
        }
        let permit = self.0.room.clone().try_acquire_owned().map_err(|_| Full)?;
        // The requests of one connection come one after the other, so no other request has set the permit.
        let _ = self.0.known.set(permit);
        Ok(())
    }

    /// Returns when the connection's time is over. Never returns for a connection that has shown the token.
    pub(crate) async fn has_to_leave(&self) {
        tokio::select! {
            () = sleep_until(self.0.came + TIME) => {}
            () = self.0.evicted.notified() => {}
        }
        if self.is_known() {
            pending::<()>().await;
        }
    }

    fn is_known(&self) -> bool {
        self.0.known.get().is_some()
    }
}

/// The connections of one socket.
#[derive(Debug)]
pub(crate) struct ConnectionLimit {
    room: Arc<Semaphore>,
    /// The connections without the token, oldest first.
    strangers: VecDeque<Weak<State>>,
}

impl ConnectionLimit {
    pub(crate) fn new() -> Self {
        Self { room: Arc::new(Semaphore::new(KNOWN)), strangers: VecDeque::new() }
    }

    /// Adds a connection.
    pub(crate) fn enter(&mut self) -> ApiConnection {
        let state = Arc::new(State {
            room: self.room.clone(),
            known: OnceLock::new(),
            evicted: Notify::new(),
            came: Instant::now(),
        });
        self.strangers.push_back(Arc::downgrade(&state));
        ApiConnection(state)
    }

    /// Waits until another connection may be added, and closes the oldest one without the token if there are
    /// too many.
    pub(crate) async fn make_room(&mut self) {
        self.strangers
            .retain(|stranger| stranger.upgrade().is_some_and(|state| state.known.get().is_none()));
        if self.strangers.len() < STRANGERS {
            return;
        }
        let Some(oldest) = self.strangers.pop_front() else { return };
        let Some(oldest) = oldest.upgrade() else { return };
        sleep(LEAST.saturating_sub(oldest.came.elapsed())).await;
        oldest.evicted.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn leaves(connection: &ApiConnection, within: Duration) -> bool {
        tokio::time::timeout(within, connection.has_to_leave()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stranger_has_a_short_time_and_makes_room_for_the_next() {
        let mut limit = ConnectionLimit::new();
        let mut inside = Vec::new();
        for _ in 0..STRANGERS {
            limit.make_room().await;
            inside.push(limit.enter());
        }
        inside[0].is_known_now().unwrap();
        // One connection has shown the token, so there is room for another one without.
        limit.make_room().await;
        inside.push(limit.enter());
        assert!(!leaves(&inside[1], Duration::ZERO).await);
        let came = Instant::now();
        limit.make_room().await;
        assert_eq!(came.elapsed(), LEAST, "even in a crowd it has time to say something");
        inside.push(limit.enter());
        assert!(leaves(&inside[1], Duration::ZERO).await);
        assert!(!leaves(&inside[2], Duration::ZERO).await);
        assert!(leaves(&inside[2], TIME).await);
        assert!(!leaves(&inside[0], Duration::from_secs(3_600)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn those_with_the_token_are_bounded_too() {
        let mut limit = ConnectionLimit::new();
        let mut inside = Vec::new();
        for _ in 0..KNOWN {
            limit.make_room().await;
            let connection = limit.enter();
            connection.is_known_now().unwrap();
            inside.push(connection);
        }
        assert_eq!(limit.enter().is_known_now(), Err(Full));
        inside.pop();
        assert_eq!(limit.enter().is_known_now(), Ok(()));
    }
}
