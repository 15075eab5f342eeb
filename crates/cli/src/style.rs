//! Styles, and the only place that turns text into printed text. Names, commands, lines of output and a
//! server's messages come from elsewhere. Nothing in them may move the cursor, set a title or change the
//! direction of reading. Styles are marked in the text with a secret of this process, so that only segue's
//! own marks become escape sequences.

use std::fmt::{self, Write as _};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;

/// The appearance of a piece of text: `{BOLD}text{BOLD:#}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Bold,
    Dim,
    Good,
    Bad,
    Warn,
}

pub(crate) const BAD: Style = Style::Bad;
pub(crate) const BOLD: Style = Style::Bold;
pub(crate) const DIM: Style = Style::Dim;
pub(crate) const GOOD: Style = Style::Good;
pub(crate) const WARN: Style = Style::Warn;

/// The way styles are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    /// Styles are escape sequences.
    Ansi,
    /// Styles are left out.
    Nothing,
}

/// The beginning of each style mark: two random numbers that no text from elsewhere can contain.
static MARK: LazyLock<String> = LazyLock::new(|| {
    let number = || RandomState::new().hash_one(0);
    format!("\u{1b}{:016x}{:016x}", number(), number())
});

impl Style {
    const ALL: [Self; 6] = [Self::Plain, Self::Bold, Self::Dim, Self::Good, Self::Bad, Self::Warn];

    const fn letter(self) -> char {
        match self {
            Self::Plain => 'p',
            Self::Bold => 'b',
            Self::Dim => 'd',
            Self::Good => 'g',
            Self::Bad => 'r',
            Self::Warn => 'y',
        }
    }

    const fn ansi(self) -> &'static str {
        match self {
            Self::Plain => "\u{1b}[0m",
            Self::Bold => "\u{1b}[1m",
            Self::Dim => "\u{1b}[2m",
            Self::Good => "\u{1b}[32m",
            Self::Bad => "\u{1b}[31m",
            Self::Warn => "\u{1b}[33m",
        }
    }
}

impl fmt::Display for Style {
    /// Writes the mark where the style begins, or with `#` the mark where the style ends.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let style = if f.alternate() { Self::Plain } else { *self };
        if *self == Self::Plain { Ok(()) } else { write!(f, "{}{}", *MARK, style.letter()) }
    }
}

/// Returns the text in its printed form.
pub(crate) fn shown(text: &str, paint: Paint) -> String {
    let mut out = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Style(style) if paint == Paint::Ansi => out.push_str(style.ansi()),
            Piece::Style(_) => {}
            Piece::Char(c) if draws(c) => out.extend(c.escape_unicode()),
            Piece::Char(c) => out.push(c),
        }
    }
    out
}

/// Returns JSON in its printed form, which is the same document.
pub(crate) fn shown_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if draws(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// Returns the number of visible characters.
pub(crate) fn width(text: &str) -> usize {
    pieces(text).filter(|piece| matches!(piece, Piece::Char(_))).count()
}

enum Piece {
    Style(Style),
    Char(char),
}

fn pieces(text: &str) -> impl Iterator<Item = Piece> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let c = rest.chars().next()?;
        let style = rest.strip_prefix(MARK.as_str()).and_then(|after| {
            let letter = after.chars().next()?;
            Some((Style::ALL.into_iter().find(|style| style.letter() == letter)?, after))
        });
        if let Some((style, after)) = style {
            rest = &after[style.letter().len_utf8()..];
            return Some(Piece::Style(style));
        }
        rest = &rest[c.len_utf8()..];
        Some(Piece::Char(c))
    })
}

/// Returns whether a terminal does more with this character than show it: control characters, marks for the
/// direction of reading (UAX #9), and line separators. Segue's own line ends and tabs are allowed.
fn draws(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{061c}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}' => true,
        c => c.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_elsewhere_draws() {
        let foreign = "a\u{1b}]0;t\u{7}\u{1b}[2J\u{9b}1m\r\u{7f}\u{202e}x\u{2066}\u{061c}";
        let text = format!("{}{foreign}{:#}", Style::Good, Style::Good);
        let plain = "a\\u{1b}]0;t\\u{7}\\u{1b}[2J\\u{9b}1m\\u{d}\\u{7f}\\u{202e}x\\u{2066}\\u{61c}";
        assert_eq!(shown(&text, Paint::Nothing), plain);
        assert_eq!(shown(&text, Paint::Ansi), format!("\u{1b}[32m{plain}\u{1b}[0m"));
        // A name that contains one of segue's own styles as an escape sequence.
        assert_eq!(shown("\u{1b}[32mfine", Paint::Ansi), "\\u{1b}[32mfine");
        assert_eq!(shown("zwei\tWörter\n日本", Paint::Ansi), "zwei\tWörter\n日本");
    }

    #[test]
    fn json_stays_the_same_document() {
        let value = serde_json::json!({"name": "a\u{1b}\u{9b}\u{202e}\u{7f}é\n"});
        let text = shown_json(&value.to_string());
        assert!(!text.chars().any(draws), "{text:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    #[test]
    fn marks_have_no_width() {
        assert_eq!(width(&format!("{}ab{:#}", Style::Bold, Style::Bold)), 2);
    }
}
