//! Work that several tasks want done and that is done once: the first one does it, and the others wait for its
//! outcome. If the first one gives up, the next one takes over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

/// The work under way, by key. An entry lives as long as somebody has it.
pub(crate) struct SingleFlight<K, S = ()>(Mutex<BTreeMap<K, Arc<Call<S>>>>);

/// Work under way.
pub(crate) struct Call<S> {
    outcome: OnceCell<Result<(), String>>,
    /// What those who wait may see of the work.
    pub state: S,
}

impl<K, S> Default for SingleFlight<K, S> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord + Clone, S: Default> SingleFlight<K, S> {
    /// Returns the work with this key, which is new if nobody has it.
    pub fn join(&self, key: K) -> Arc<Call<S>> {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.retain(|_, call| Arc::strong_count(call) > 1);
        let new = || Arc::new(Call { outcome: OnceCell::new(), state: S::default() });
        Arc::clone(calls.entry(key).or_insert_with(new))
    }

    /// Returns the work that somebody has.
    pub fn under_way(&self) -> Vec<(K, Arc<Call<S>>)> {
        let calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = calls.iter().filter(|(_, call)| Arc::strong_count(call) > 1);
        held.map(|(key, call)| (key.clone(), Arc::clone(call))).collect()
    }
}

impl<S> Call<S> {
    /// Does the work, or waits until somebody has done it, and returns its outcome.
    pub async fn outcome<F: Future<Output = Result<(), String>>>(
        &self,
        work: impl FnOnce() -> F,
    ) -> Result<(), String> {
        self.outcome.get_or_init(work).await.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn one_works_and_another_takes_over_when_it_gives_up() {
        let flights = SingleFlight::<u8>::default();
        let begun = AtomicU32::new(0);
        let works = async || {
            begun.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Err("it failed".to_owned())
        };
        let never = async || {
            begun.fetch_add(1, Ordering::SeqCst);
            std::future::pending().await
        };
        let calls = [(); 4].map(|()| flights.join(7));
        let mut first = Box::pin(calls[0].outcome(never));
        tokio::select! {
            biased;
            _ = &mut first => unreachable!("it never ends"),
            () = tokio::task::yield_now() => {}
        }
        let others = [&calls[1], &calls[2], &calls[3]].map(|call| call.outcome(works));
        drop(first);
        for other in others {
            assert_eq!(other.await, Err("it failed".to_owned()));
        }
        assert_eq!(begun.load(Ordering::SeqCst), 2);
        // Nobody has it any more: the failure is forgotten.
        assert_eq!(flights.under_way().len(), 1);
        drop(calls);
        assert!(flights.under_way().is_empty());
        assert!(flights.join(7).outcome(works).await.is_err());
        assert_eq!(begun.load(Ordering::SeqCst), 3);
    }
}
