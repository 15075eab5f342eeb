//! Text for people: tables, wrapped sentences, numbers with units.

use model::Millis;
use wire::StreamEvent;

use crate::style::DIM;
use crate::style::{Style, width};

/// The largest width of a line, where possible.
pub(crate) const WIDTH: usize = 80;

/// One cell of a table: its text and its appearance.
#[derive(Clone, Debug)]
pub(crate) struct TableCell {
    text: String,
    style: Style,
    side: Side,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

impl TableCell {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: Style::Plain, side: Side::Left }
    }

    pub(crate) fn style(mut self, style: Style) -> Self {
        self.style = style;
        self
    }

    /// Aligns the cell to the right, for a number.
    pub(crate) fn right(mut self) -> Self {
        self.side = Side::Right;
        self
    }
}

impl<T: Into<String>> From<T> for TableCell {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

/// Lays out a table. A column is as wide as its widest cell; columns are two spaces apart. Lines have no
/// space at their end.
pub(crate) fn table(indent: usize, rows: &[Vec<TableCell>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widest = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(length).max();
    let widths: Vec<usize> = (0..columns).map(|at| widest(at).unwrap_or(0)).collect();
    rows.iter()
        .map(|row| {
            let mut line = " ".repeat(indent);
            for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let gap = " ".repeat(width - length(cell));
                let TableCell { text, style, side } = cell;
                let text =
                    if text.is_empty() { String::new() } else { format!("{style}{text}{style:#}") };
                line += if at == 0 { "" } else { "  " };
                line += &match side {
                    Side::Left => format!("{text}{gap}"),
                    Side::Right => format!("{gap}{text}"),
                };
            }
            line.trim_end().to_owned()
        })
        .collect()
}

fn length(cell: &TableCell) -> usize {
    width(&cell.text)
}

/// Wraps a sentence into lines of at most [`WIDTH`], each indented by `indent` spaces.
pub(crate) fn wrap(indent: usize, sentence: &str) -> Vec<String> {
    let pad = " ".repeat(indent);
    let mut lines = Vec::new();
    for paragraph in sentence.lines() {
        let mut line = pad.clone();
        for word in paragraph.split_whitespace() {
            let long = width(&line) + 1 + width(word) > WIDTH;
            if long && line.len() > indent {
                lines.push(std::mem::replace(&mut line, pad.clone()));
            }
            if line.len() > indent {
                line.push(' ');
            }
            line += word;
        }
        lines.push(line);
    }
    lines
}

/// Returns an event as one line. Leaves out an instance's last words, and the cause of an outcome, which was
/// printed when it occurred.
pub(crate) fn headline(event: &StreamEvent) -> &str {
    let first = event.text.lines().next().unwrap_or_default();
    match (event.outcome, first.split_once(": ")) {
        (Some(outcome), Some((said, _))) if said == outcome.to_string() => said,
        (Some(_) | None, _) => first.strip_suffix("; its last words:").unwrap_or(first),
    }
}

/// Returns a line with a name and its value.
pub(crate) fn field(name: &str, text: &str) -> String {
    format!("{DIM}{name:<10}{DIM:#} {text}")
}

/// Returns a name with a sentence that may need several lines.
pub(crate) fn hang(name: &str, sentence: &str) -> Vec<String> {
    let mut lines = wrap(11, sentence);
    if let Some(first) = lines.first_mut() {
        *first = field(name, first.trim_start());
    }
    lines
}

/// Names the step of a rollout in the strategy's own word: `step 2 of 3`, `batch 1 of 4`.
pub(crate) fn step_of(strategy: &str, (step, steps): (u16, u16)) -> String {
    let word = if strategy == "rolling" { "batch" } else { "step" };
    format!("{word} {step} of {steps}")
}

/// Returns one line of an instance's last words, without the mark that the API may have put before it. The
/// caller prints a mark of its own.
pub(crate) fn own_words(line: &str) -> &str {
    line.trim_start().strip_prefix("| ").unwrap_or(line)
}

/// Formats a share for people: `100 %`, `2.5 %`.
pub(crate) fn percent(share: f64) -> String {
    let text = format!("{:.2}", share * 100.0);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text} %")
}

/// Formats a large number in groups of three digits.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Formats a size for people.
pub(crate) fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let power = (0..units.len() - 1).take_while(|p| bytes >> (10 * (p + 1)) > 0).count();
    let tenths = (u128::from(bytes) * 10) >> (10 * power);
    if power == 0 {
        format!("{bytes} B")
    } else {
        format!("{}.{} {}", tenths / 10, tenths % 10, units[power])
    }
}

/// Formats a number that may not have been measured.
pub(crate) fn known(number: Option<u64>) -> String {
    number.map_or_else(|| "?".into(), grouped)
}

/// Formats a length of time that may not have been measured.
pub(crate) fn known_ms(ms: Option<u64>) -> String {
    ms.map_or_else(|| "?".into(), |ms| Millis(ms).to_string())
}

#[cfg(test)]
mod tests {
    use model::Outcome;

    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(0.025), "2.5 %");
        assert_eq!(percent(0.0), "0 %");
        assert_eq!(grouped(1_234_567), "1 234 567");
        assert_eq!(grouped(12), "12");
        assert_eq!(size(1_023), "1023 B");
        assert_eq!(size(1_536), "1.5 KiB");
        assert_eq!(size(3 << 30), "3.0 GiB");
        assert_eq!(known(None), "?");
    }

    #[test]
    fn an_event_is_one_line_and_no_cause_is_told_twice() {
        let event = |text: &str, outcome| {
            let (app, text) = ("web".parse().unwrap(), text.to_owned());
            headline(&StreamEvent { seq: 1, at_ms: 0, app, rollout: None, text, outcome })
                .to_owned()
        };
        let cause = "web-3 exited with code 1; its last words:\n  | no such table";
        assert_eq!(
            event(&format!("taking it back: {cause}"), None),
            "taking it back: web-3 exited with code 1"
        );
        assert_eq!(event(&format!("failed: {cause}"), Some(Outcome::Failed)), "failed");
        assert_eq!(event("v2 is live", Some(Outcome::Completed)), "v2 is live");
    }

    #[test]
    fn words_are_marked_once() {
        assert_eq!(own_words("  | Traceback"), "Traceback");
        assert_eq!(own_words("    indented by itself"), "    indented by itself");
    }

    #[test]
    fn a_table_lines_up_and_ends_no_line_in_spaces() {
        let rows = [
            vec!["A".into(), TableCell::new("N").right(), "X".into()],
            vec!["bcd".into(), TableCell::new("12").right(), "".into()],
        ];
        assert_eq!(table(2, &rows).map_plain(), ["  A     N  X", "  bcd  12"]);
    }

    #[test]
    fn a_long_sentence_is_wrapped() {
        let lines = wrap(4, &"word ".repeat(40));
        assert!(
            lines.len() > 2 && lines.iter().all(|l| l.len() <= WIDTH && l.starts_with("    w"))
        );
    }

    trait Strip {
        fn map_plain(self) -> Vec<String>;
    }

    impl Strip for Vec<String> {
        fn map_plain(self) -> Vec<String> {
            self.iter()
                .map(|line| crate::style::shown(line, crate::style::Paint::Nothing))
                .collect()
        }
    }
}
