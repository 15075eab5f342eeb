//! How much a client has to move at least while connections are scarce. Counts only the time in
//! which it is the client that is waited for; never decides who else has to leave.

use model::{AppLimits, Millis};

use crate::config::Limits;
use crate::deadline::Deadline;

/// What is asked of one client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeastPace {
    /// Bytes per second; 0 for none.
    pub(crate) rate: u64,
    pub(crate) grace: Millis,
    /// Since when connections are scarce. Open-ended bodies and readers may take their time else.
    pub(crate) scarce_since_ms: Option<u64>,
}

impl LeastPace {
    /// An app may have a rate of its own.
    pub(crate) fn new(app: &AppLimits, all: &Limits, scarce_since_ms: Option<u64>) -> Self {
        let rate = app.body_rate.unwrap_or(all.body_rate);
        Self { rate, grace: all.body_grace, scarce_since_ms }
    }

    /// What has to move in one grace.
    fn least(self) -> u64 {
        self.rate.saturating_mul(self.grace.0) / 1000
    }
}

/// What one client has moved in one direction, one grace of waiting at a time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TransferProgress {
    /// The present grace began then, when so many bytes had moved.
    from_ms: u64,
    mark: u64,
    waited_ms: u64,
}

impl TransferProgress {
    /// The client was waited for from `since_ms` to `now_ms`.
    pub(crate) fn waited(&mut self, since_ms: u64, now_ms: u64, pace: LeastPace) {
        if let Some(scarce_ms) = pace.scarce_since_ms {
            let since_ms = since_ms.max(scarce_ms).max(self.from_ms);
            self.waited_ms = self.waited_ms.saturating_add(now_ms.saturating_sub(since_ms));
        }
    }

    /// When the present grace is over, if the client is waited for since `since_ms`.
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

    /// A grace is over: whether enough has moved in it, of which `moved` are all bytes so far. If so,
    /// the next one begins.
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
        // Much at once does not pay for the next one.
        assert_eq!(progress.due(20_000, SCARCE), Deadline::at(70_000));
        assert!(!progress.suffices(7_680 + 7_679, 70_000, SCARCE));
        assert!(progress.suffices(7_680 + 7_680, 70_000, SCARCE));
    }
}
