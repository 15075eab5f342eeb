//! Reads one table of an app file. Checks that every key is known and every value is valid. An error names
//! the line, the key and what to write instead.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use model::{Millis, nearest};

use crate::duration::parse_duration;
use crate::settings_tree::{Node, TreeEntry, TreeValue};

/// An error in an app file, with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppFileError {
    /// The line, if the settings were read from a file.
    pub line: Option<u32>,
    /// The error.
    pub message: String,
    /// The change that would help.
    pub hint: Option<String>,
}

impl Display for AppFileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for AppFileError {}

impl AppFileError {
    pub(crate) fn new(line: Option<u32>, message: impl Into<String>) -> Self {
        Self { line, message: message.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

type Result<T> = std::result::Result<T, AppFileError>;

/// One table, whose keys have been checked.
pub(crate) struct Section<'a> {
    name: String,
    line: Option<u32>,
    entries: &'a [TreeEntry],
}

impl<'a> Section<'a> {
    /// Opens the table `name` (empty for the whole file), which may have only these `keys`. A missing table
    /// counts as an empty one. A table within a table is named by its whole path.
    pub(crate) fn open(
        name: impl Into<String>,
        node: Option<&'a Node>,
        keys: &[&str],
    ) -> Result<Self> {
        let name = name.into();
        let Some(node) = node else {
            return Ok(Self { name, line: None, entries: &[] });
        };
        let TreeValue::Table(entries) = &node.value else {
            let message = format!("`{name}` has to be a table, not {}", node.kind());
            return Err(AppFileError::new(node.line, message));
        };
        let place = match name.as_str() {
            "" => "at the top".into(),
            within if within.contains('.') => format!("in `{within}`"),
            table => format!("in [{table}]"),
        };
        for entry in entries {
            if !keys.contains(&entry.key.as_str()) {
                let message = format!("unknown key `{}` {place}", entry.key);
                let hint = match nearest(&entry.key, keys.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("the keys {place} are {}", keys.join(", ")),
                };
                return Err(AppFileError::new(entry.line, message).hint(hint));
            }
        }
        Ok(Self { name, line: node.line, entries })
    }

    /// Returns the value of a key, if the key is present.
    pub(crate) fn get(&self, key: &str) -> Option<&'a Node> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// Returns an error about a key's value.
    pub(crate) fn wrong(&self, key: &str, why: impl Display) -> AppFileError {
        let line = self.get(key).map_or(self.line, |node| node.line);
        let path = if self.name.is_empty() { key.into() } else { format!("{}.{key}", self.name) };
        AppFileError::new(line, format!("`{path}`: {why}"))
    }

    /// Returns a text, if the key is present.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>> {
        match self.get(key) {
            None => Ok(None),
            Some(Node { value: TreeValue::Text(text), .. }) => Ok(Some(text)),
            Some(node) => Err(self.wrong(key, format!("expected a text, found {}", node.kind()))),
        }
    }

    /// Returns a text parsed as a `T`, if the key is present.
    pub(crate) fn parsed<T: FromStr<Err: Display>>(&self, key: &str) -> Result<Option<T>> {
        self.text(key)?.map(|text| text.parse().map_err(|e| self.wrong(key, e))).transpose()
    }

    /// Returns a list of texts; empty if the key is missing.
    pub(crate) fn texts(&self, key: &str) -> Result<Vec<&'a str>> {
        let list = match self.get(key) {
            None => return Ok(Vec::new()),
            Some(Node { value: TreeValue::List(items), .. }) => items,
            Some(node) => {
                let why = format!("expected a list of texts, found {}", node.kind());
                return Err(self.wrong(key, why).hint(format!("write {key} = [\"…\"]")));
            }
        };
        list.iter()
            .map(|item| match &item.value {
                TreeValue::Text(text) => Ok(text.as_str()),
                TreeValue::Number(_)
                | TreeValue::Fraction(_)
                | TreeValue::Flag(_)
                | TreeValue::List(_)
                | TreeValue::Table(_)
                | TreeValue::Other(_) => {
                    let mut error =
                        self.wrong(key, format!("only texts may stand here, not {}", item.kind()));
                    error.line = item.line.or(error.line);
                    Err(error)
                }
            })
            .collect()
    }

    /// Returns true or false, or the default.
    pub(crate) fn flag(&self, key: &str, default: bool) -> Result<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(Node { value: TreeValue::Flag(flag), .. }) => Ok(*flag),
            Some(node) => {
                let error =
                    self.wrong(key, format!("expected true or false, found {}", node.kind()));
                Err(error.hint(format!("write {key} = {default}, without quotes")))
            }
        }
    }

    /// Returns a whole number within bounds, or the default.
    pub(crate) fn count<T: TryFrom<i64>>(
        &self,
        key: &str,
        default: T,
        bounds: RangeInclusive<i64>,
    ) -> Result<T> {
        let node = match self.get(key) {
            None => return Ok(default),
            Some(node) => node,
        };
        let (low, high) = (bounds.start(), bounds.end());
        if let TreeValue::Number(number) = node.value
            && bounds.contains(&number)
            && let Ok(number) = T::try_from(number)
        {
            return Ok(number);
        }
        let found = match node.value {
            TreeValue::Number(number) => number.to_string(),
            TreeValue::Text(_)
            | TreeValue::Fraction(_)
            | TreeValue::Flag(_)
            | TreeValue::List(_)
            | TreeValue::Table(_)
            | TreeValue::Other(_) => node.kind().into(),
        };
        let why = format!("expected a whole number from {low} to {high}, found {found}");
        Err(self.wrong(key, why))
    }

    /// Returns a length of time within bounds, or the default.
    pub(crate) fn duration(
        &self,
        key: &str,
        default: Millis,
        bounds: RangeInclusive<Millis>,
    ) -> Result<Millis> {
        if let Some(Node { value: TreeValue::Number(number), .. }) = self.get(key) {
            let why = format!("expected a length of time with its unit, found the number {number}");
            return Err(self.wrong(key, why).hint(format!("write {key} = \"{number}s\"")));
        }
        let Some(text) = self.text(key)? else { return Ok(default) };
        let length = parse_duration(text).map_err(|e| self.wrong(key, e))?;
        if !bounds.contains(&length) {
            let (low, high) = (bounds.start(), bounds.end());
            return Err(self.wrong(key, format!("{length} is not within {low} and {high}")));
        }
        Ok(length)
    }

    /// Returns the value of one of these words, or the default.
    pub(crate) fn word<T: Copy>(&self, key: &str, default: T, words: &[(&str, T)]) -> Result<T> {
        let Some(text) = self.text(key)? else { return Ok(default) };
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        let names: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let error = self.wrong(key, format!("{text:?} is not one of {}", names.join(", ")));
        Err(match nearest(text, words.iter().map(|(word, _)| *word)) {
            Some(near) => error.hint(format!("did you mean \"{near}\"?")),
            None => error,
        })
    }
}
