//! The output of a command: data to stdout, messages to stderr, and colours only on terminals. All text
//! passes `paint`, so that no text from elsewhere can control the terminal.

use std::fmt::Display;
use std::io::{self, BufRead, IsTerminal as _, Write};
use std::process::ExitCode;

use anstream::ColorChoice;
use jiff::tz::TimeZone;

use crate::style::{BAD, DIM, GOOD, Paint, shown, shown_json};
use crate::text::own_words;
use crate::{CommandError, ExitStatus};

/// Moves the cursor to the top left and clears the rest of the screen.
const ANEW: &str = "\x1b[H\x1b[J";

/// The input and output of a command.
pub struct Io<'a> {
    out: Box<dyn Write + 'a>,
    err: Box<dyn Write + 'a>,
    /// The way styles are printed on stdout.
    out_paint: Paint,
    /// The way styles are printed on stderr.
    err_paint: Paint,
    screen: Screen,
    /// The width of help text if the terminal does not report its width.
    help_width: Option<usize>,
    reader: Reader,
    zone: TimeZone,
    /// The source of answers to questions, if a person is there to give them.
    answers: Option<Box<dyn BufRead + 'a>>,
}

/// The reader of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// A person: stdout is a terminal.
    Person,
    /// A program: stdout is a pipe, a file or a job's log.
    Program,
}

/// The kind of output on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Screen {
    /// A terminal on which lines may be overwritten.
    Live,
    /// Plain lines, one after the other.
    Plain,
}

impl std::fmt::Debug for Io<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Io").field("screen", &self.screen).finish_non_exhaustive()
    }
}

impl Io<'static> {
    /// Returns the real input and output. Terminals get colours, unless `NO_COLOR` is set.
    pub fn terminal() -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let live = io::stderr().is_terminal() && !dumb;
        Self {
            out_paint: paint_for(&io::stdout()),
            err_paint: paint_for(&io::stderr()),
            // Not anstream's own writers, which would remove escape sequences from output that has to stay
            // unchanged.
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            screen: if live { Screen::Live } else { Screen::Plain },
            help_width: None,
            reader: if io::stdout().is_terminal() { Reader::Person } else { Reader::Program },
            zone: TimeZone::system(),
            answers: (live && io::stdin().is_terminal())
                .then(|| Box::new(io::BufReader::new(io::stdin())) as Box<dyn BufRead>),
        }
    }
}

/// Returns whether styles are printed: on terminals that support colours, unless `NO_COLOR` and the like
/// forbid it.
fn paint_for(stream: &impl anstream::stream::RawStream) -> Paint {
    match anstream::AutoStream::choice(stream) {
        ColorChoice::Never => Paint::Nothing,
        ColorChoice::Auto | ColorChoice::Always | ColorChoice::AlwaysAnsi => Paint::Ansi,
    }
}

impl<'a> Io<'a> {
    /// Returns output to these writers without colour, with times in UTC.
    pub fn plain(out: impl Write + 'a, err: impl Write + 'a) -> Self {
        Self {
            out: Box::new(out),
            err: Box::new(err),
            out_paint: Paint::Nothing,
            err_paint: Paint::Nothing,
            screen: Screen::Plain,
            help_width: Some(80),
            reader: Reader::Program,
            zone: TimeZone::UTC,
            answers: None,
        }
    }

    /// Adds a person whose answers to questions are read from `answers`.
    pub fn answering(self, answers: impl BufRead + 'a) -> Self {
        Self { answers: Some(Box::new(answers)), ..self }
    }

    /// Asks a person. Only "y" and "yes" mean yes. Returns `None` if there is no person to ask.
    pub(crate) fn agrees(&mut self, question: &str) -> Option<bool> {
        let question = self.shown(format!("{question} [y/N] "));
        let answers = self.answers.as_mut()?;
        let _ = write!(self.err, "{question}").and_then(|()| self.err.flush());
        let mut answer = String::new();
        let read = answers.read_line(&mut answer).unwrap_or(0);
        let said = answer.trim().to_lowercase();
        Some(read > 0 && ["y", "yes"].contains(&said.as_str()))
    }

    /// Returns the width of help text if the terminal does not report its width.
    pub(crate) fn width(&self) -> Option<usize> {
        self.help_width
    }

    pub(crate) fn screen(&self) -> Screen {
        self.screen
    }

    pub(crate) fn reader(&self) -> Reader {
        self.reader
    }

    /// Prints one line of data. If the reader has closed its end, the program ends quietly, as others do.
    pub(crate) fn data(&mut self, line: impl Display) {
        let line = shown(&line.to_string(), self.out_paint);
        self.out(line + "\n");
    }

    /// Prints one line of JSON.
    pub(crate) fn json(&mut self, value: &impl serde::Serialize) {
        // These shapes have only texts as keys, so this cannot fail.
        let json = serde_json::to_string(value).unwrap_or_default();
        self.out(shown_json(&json) + "\n");
    }

    /// Prints bytes unchanged, for programs.
    pub(crate) fn raw(&mut self, bytes: impl AsRef<[u8]>) {
        self.out(bytes);
    }

    /// Clears the screen. Does nothing if stdout is not a terminal.
    pub(crate) fn anew(&mut self) {
        if self.screen == Screen::Live && self.reader == Reader::Person {
            self.out(ANEW);
        }
    }

    fn out(&mut self, bytes: impl AsRef<[u8]>) {
        if self.out.write_all(bytes.as_ref()).and_then(|()| self.out.flush()).is_err() {
            std::process::exit(141);
        }
    }

    /// Returns a message in its printed form, for a caller that prints it.
    pub(crate) fn shown(&self, line: impl Display) -> String {
        shown(&line.to_string(), self.err_paint)
    }

    /// Prints one message. Errors are ignored: a message that cannot be printed must not fail the command.
    pub(crate) fn say(&mut self, line: impl Display) {
        let line = self.shown(line);
        let _ = writeln!(self.err, "{line}").and_then(|()| self.err.flush());
    }

    /// Returns the time of day of an event in the form that is shown to people.
    pub(crate) fn clock(&self, ms: u64) -> String {
        self.time(ms, "%H:%M:%S")
    }

    /// Returns the date and time in the form that is shown to people in a list.
    pub(crate) fn date(&self, ms: u64) -> String {
        self.time(ms, "%Y-%m-%d %H:%M")
    }

    fn time(&self, ms: u64, format: &str) -> String {
        let moment =
            i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        match moment {
            Some(moment) => {
                moment.to_zoned_datetime(self.zone.clone()).strftime(format).to_string()
            }
            None => "-".into(),
        }
    }

    pub(crate) fn fail(&mut self, failure: &CommandError) {
        let CommandError { exit: _, act, cause, hint } = failure;
        let mut lines = cause.lines();
        let first = lines.next().unwrap_or("no cause is known");
        // A refusal of the engine already names the act and the object.
        let told = first.starts_with("cannot ");
        let first = if told { first.to_owned() } else { format!("{act}: {first}") };
        self.say(format!("{BAD}error:{BAD:#} {first}"));
        for line in lines.map(own_words) {
            self.say(format!("  {DIM}|{DIM:#} {line}"));
        }
        if let Some(hint) = hint {
            self.say(format!("{GOOD}hint:{GOOD:#} {hint}"));
        }
    }

    /// Prints the help, the version, or an error in the command line.
    pub(crate) fn usage(&mut self, error: &clap::Error) -> ExitCode {
        let plain = error.render().to_string();
        let clean = shown(&plain, Paint::Nothing);
        // Clap's colours stay only if no other part of the text could be an escape sequence.
        let paint = if error.use_stderr() { self.err_paint } else { self.out_paint };
        let text = match paint {
            Paint::Ansi if clean == plain => error.render().ansi().to_string(),
            Paint::Ansi | Paint::Nothing => clean,
        };
        let text = format!("{}\n", text.trim_end());
        if error.use_stderr() {
            let _ = self.err.write_all(text.as_bytes()).and_then(|()| self.err.flush());
            return ExitStatus::Usage.into();
        }
        self.out(text);
        ExitStatus::Done.into()
    }
}
