//! The engine clock: boot time while running, wall time across a restart. It never goes back.

use model::{Millis, Timestamp};

/// Converts readings of two clocks into the engine's time. It reads neither clock itself.
#[derive(Clone, Debug)]
pub struct SteadyClock {
    started: Timestamp,
    boot_at_start: Millis,
    last: Timestamp,
}

impl SteadyClock {
    /// Starts at the wall clock's time, or at the last journaled time if that is later.
    pub fn new(wall: Timestamp, last_fact: Timestamp, boot: Millis) -> Self {
        let started = wall.max(last_fact);
        Self { started, boot_at_start: boot, last: started }
    }

    /// Returns the current time, given the time since the machine was booted.
    pub fn now(&mut self, boot: Millis) -> Timestamp {
        let elapsed = Millis(boot.0.saturating_sub(self.boot_at_start.0));
        self.last = self.last.max(self.started.after(elapsed));
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_goes_back_whatever_the_clocks_say() {
        // The wall clock was set back an hour while segue was down.
        let mut clock = SteadyClock::new(Timestamp(1_000), Timestamp(3_601_000), Millis(50));
        assert_eq!(clock.now(Millis(50)), Timestamp(3_601_000));
        assert_eq!(clock.now(Millis(150)), Timestamp(3_601_100));
        assert_eq!(clock.now(Millis(20)), Timestamp(3_601_100));
    }
}
