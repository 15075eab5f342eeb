//! The output of the demo while it runs: the time since its start, and the events.

use std::time::Instant;

use wire::{Now, StreamEvent};

use crate::Io;
use crate::follow::Watcher;
use crate::style::{BOLD, DIM};
use crate::text::{headline, own_words};

/// The printer of the demo's messages.
pub(super) struct Timeline<'a, 'b> {
    io: &'a mut Io<'b>,
    started: Instant,
}

impl<'a, 'b> Timeline<'a, 'b> {
    pub(super) fn new(io: &'a mut Io<'b>) -> Self {
        Self { io, started: Instant::now() }
    }

    pub(super) fn io(&mut self) -> &mut Io<'b> {
        self.io
    }

    /// Prints the heading of a new act.
    pub(super) fn act(&mut self, text: &str) {
        let time = self.time();
        self.io.say("");
        self.io.say(format!("{DIM}{time}{DIM:#}  {BOLD}{text}{BOLD:#}"));
    }

    /// Prints a message within an act.
    pub(super) fn say(&mut self, text: &str) {
        let time = self.time();
        let mut lines = text.lines();
        self.io.say(format!("{DIM}{time}{DIM:#}    {}", lines.next().unwrap_or_default()));
        for line in lines.map(own_words) {
            self.io.say(format!("{:12}{DIM}|{DIM:#} {line}", ""));
        }
    }

    fn time(&self) -> String {
        format!("{:6.1} s", self.started.elapsed().as_secs_f64())
    }
}

impl Watcher for Timeline<'_, '_> {
    fn event(&mut self, event: &StreamEvent) {
        // The outcome's cause was printed when it occurred.
        self.say(if event.outcome.is_none() { &event.text } else { headline(event) });
    }

    fn now(&mut self, _: &Now) {}

    fn note(&mut self, text: &str) {
        self.say(text);
    }
}
