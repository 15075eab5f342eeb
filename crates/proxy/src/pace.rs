//! The least pace that clients have to keep while connections are scarce. Only the time in which the
//! proxy waits for the client counts. Does not decide who is evicted.

use model::{AppLimits, Millis};

use crate::config::Limits;
use crate::deadline::Deadline;

/// The least pace that is required of one client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeastPace {
    /// Bytes per second; 0 for no least pace.
    pub(crate) rate: u64,
    pub(crate) grace: Millis,
    /// The time since when connections are scarce. At other times open-ended bodies and readers may take
    /// their time.
    pub(crate) scarce_since_ms: Option<u64>,
}

impl LeastPace {
    /// Returns the pace for clients of an app, which may have a rate of its own.
    pub(crate) fn new(app: &AppLimits, all: &Limits, scarce_since_ms: Option<u64>) -> Self {
        let rate = app.body_rate.unwrap_or(all.body_rate);
        Self { rate, grace: all.body_grace, scarce_since_ms }
    }

    /// Returns how many bytes have to move in one grace period.
    fn least(self) -> u64 {
        self.rate.saturating_mul(self.grace.0) / 1000
    }
}

/// The progress of one client in one direction, measured in grace periods of waiting.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TransferProgress {
    /// The time and the number of bytes moved when the present grace period began.
    from_ms: u64,
    mark: u64,
    waited_ms: u64,
}

impl TransferProgress {
    /// Counts the time from `since_ms` to `now_ms` as time spent waiting for the client.
    pub(crate) fn waited(&mut self, since_ms: u64, now_ms: u64, pace: LeastPace) {
        if let Some(scarce_ms) = pace.scarce_since_ms {
            let since_ms = since_ms.max(scarce_ms).max(self.from_ms);
            self.waited_ms = self.waited_ms.saturating_add(now_ms.saturating_sub(since_ms));
        }
    }

    /// Returns when the present grace period is over, if the proxy has waited for the client since
    /// `since_ms`.
    pub(crate) fn due(&self, since_ms: u64, pace: LeastPace) -> Deadline {
        match (pace.scarce_since_ms, pace.rate) {
            (None, _) | (_, 0) => Deadline::never(),
            (Some(scarce_ms), _) => {
                let left_ms = pace.grace.0.saturating_sub(self.waited_ms);
                let since_ms = since_ms.max(scarce_ms).max(self.from_ms);
                Deadline::at(since_ms.saturating_add(left_ms))
            }
        }
    }

    /// Returns whether enough bytes have moved in the grace period that is over. `moved` is the number of
    /// all bytes so far. If enough have moved, the next period begins.
    pub(crate) fn suffices(&mut self, moved: u64, now_ms: u64, pace: LeastPace) -> bool {
        let enough = moved.saturating_sub(self.mark) >= pace.least();
        if enough {
            *self = Self { from_ms: now_ms, mark: moved, waited_ms: 0 };
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCARCE: LeastPace =
        LeastPace { rate: 256, grace: Millis::from_secs(30), scarce_since_ms: Some(5_000) };

    #[test]
    fn each_grace_has_to_bring_its_part() {
        let mut progress = TransferProgress::default();
        assert_eq!(
            progress.due(1_000, LeastPace { scarce_since_ms: None, ..SCARCE }),
            Deadline::never()
        );
        assert_eq!(progress.due(1_000, LeastPace { rate: 0, ..SCARCE }), Deadline::never());
        assert_eq!(
            progress.due(1_000, SCARCE),
            Deadline::at(35_000),
            "what was before does not count"
        );
        progress.waited(6_000, 16_000, SCARCE);
        assert_eq!(progress.due(20_000, SCARCE), Deadline::at(40_000));
        assert!(progress.suffices(7_680, 40_000, SCARCE));
        // A surplus of one period does not count for the next one.
        assert_eq!(progress.due(20_000, SCARCE), Deadline::at(70_000));
        assert!(!progress.suffices(7_680 + 7_679, 70_000, SCARCE));
        assert!(progress.suffices(7_680 + 7_680, 70_000, SCARCE));
    }
}
