//! The progress of a command that waits: one updated line on a terminal, and plain lines with the time
//! elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use wire::{Now, StreamEvent};

use crate::Io;
use crate::io::Screen;
use crate::style::DIM;
use crate::text::{headline, percent, step_of};

/// The progress of one command.
#[derive(Debug)]
pub(crate) struct ProgressLine {
    bar: Option<ProgressBar>,
    talk: Talk,
    /// The position of the rollout that was printed last.
    place: Option<String>,
}

/// The choice whether intermediate steps are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Talk {
    Steps,
    None,
}

impl ProgressLine {
    /// Creates a progress line that prints no steps, because the caller reports them.
    pub(crate) fn silent() -> Self {
        Self { bar: None, talk: Talk::None, place: None }
    }

    /// Starts with a text about what the command is going to do.
    pub(crate) fn new(io: &Io<'_>, text: impl Into<String>) -> Self {
        let bar = match io.screen() {
            Screen::Plain => None,
            Screen::Live => {
                // The template is a constant, so this cannot fail. Without it the default style would do.
                let style = ProgressStyle::with_template("{spinner} {wide_msg}");
                let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
                let bar = ProgressBar::new_spinner()
                    .with_style(style)
                    .with_message(io.shown(text.into()));
                bar.enable_steady_tick(Duration::from_millis(100));
                Some(bar)
            }
        };
        Self { bar, talk: Talk::Steps, place: None }
    }

    /// Shows what the command does now.
    pub(crate) fn doing(&mut self, io: &mut Io<'_>, text: &str) {
        match (&self.bar, self.talk) {
            (Some(bar), _) => bar.set_message(io.shown(text)),
            (None, Talk::Steps) => io.say(text),
            (None, Talk::None) => {}
        }
    }

    /// Prints an event.
    pub(crate) fn event(&mut self, io: &mut Io<'_>, event: &StreamEvent) {
        let clock = io.clock(event.at_ms);
        // An instance's last words are printed once, in the error that ends the command.
        self.line(io, &format!("{DIM}{clock}{DIM:#}  {}", headline(event)));
    }

    /// Shows the state of the rollout. Without a terminal, each phase or step is printed once, not every
    /// second.
    pub(crate) fn now(&mut self, io: &mut Io<'_>, now: &Now) {
        let (Some(place), Some(waiting)) = (place(now), &now.waiting_for) else { return };
        if let Some(bar) = &self.bar {
            bar.set_message(io.shown(format!("{place}: {waiting}")));
        } else if self.place.as_ref() != Some(&place) {
            io.say(format!("{:10}{place}: {waiting}", ""));
        }
        self.place = Some(place);
    }

    /// Prints a line that stays on the screen.
    pub(crate) fn line(&mut self, io: &mut Io<'_>, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| io.say(text)),
            None => io.say(text),
        }
    }

    /// Removes the updated line.
    pub(crate) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Returns the position of a rollout: `switching at 25 %, step 2 of 3, paused`.
fn place(now: &Now) -> Option<String> {
    let Now { rollout: _, phase, strategy, share, step, paused, waiting_for: _, standing: _ } = now;
    let mut text = phase.clone()?;
    if let Some(share) = share.filter(|share| *share > 0.0 && *share < 1.0) {
        text += &format!(" at {}", percent(share));
    }
    if let Some(step) = step.filter(|(_, steps)| *steps > 1) {
        text += &format!(", {}", step_of(strategy.as_deref().unwrap_or_default(), step));
    }
    if *paused {
        text += ", paused";
    }
    Some(text)
}
