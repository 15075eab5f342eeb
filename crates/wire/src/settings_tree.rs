//! Settings as a tree, from TOML with line numbers or from JSON without. Knows no keys; `appfile` checks
//! them.

use serde_json::Value as Json;
use toml::de::{DeTable, DeValue};

/// A value and its line.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) line: Option<u32>,
    pub(crate) value: TreeValue,
}

/// A value in an app file.
#[derive(Clone, Debug)]
pub(crate) enum TreeValue {
    Text(String),
    Number(i64),
    Fraction(f64),
    Flag(bool),
    List(Vec<Node>),
    Table(Vec<TreeEntry>),
    /// A value that no key accepts: a huge number, a date, a null.
    Other(&'static str),
}

/// One key of a table.
#[derive(Clone, Debug)]
pub(crate) struct TreeEntry {
    pub(crate) key: String,
    pub(crate) line: Option<u32>,
    pub(crate) node: Node,
}

/// An error in the syntax of TOML.
pub(crate) struct TomlError {
    pub(crate) line: Option<u32>,
    pub(crate) message: String,
}

impl Node {
    /// Parses TOML.
    pub(crate) fn from_toml(text: &str) -> Result<Self, TomlError> {
        let lines = Lines { text };
        let table = DeTable::parse(text).map_err(|error| TomlError {
            line: error.span().and_then(|span| lines.line(span.start)),
            message: error.message().to_owned(),
        })?;
        Ok(Self { line: Some(1), value: lines.table(table.get_ref()) })
    }

    /// Converts JSON to a tree.
    pub(crate) fn from_json(json: &Json) -> Self {
        let value = match json {
            Json::String(text) => TreeValue::Text(text.clone()),
            Json::Bool(flag) => TreeValue::Flag(*flag),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => TreeValue::Number(whole),
                (None, Some(fraction)) if number.is_f64() => TreeValue::Fraction(fraction),
                (None, _) => TreeValue::Other("a number that is too large"),
            },
            Json::Array(items) => TreeValue::List(items.iter().map(Self::from_json).collect()),
            Json::Object(map) => TreeValue::Table(
                map.iter()
                    .map(|(key, json)| TreeEntry {
                        key: key.clone(),
                        line: None,
                        node: Self::from_json(json),
                    })
                    .collect(),
            ),
            Json::Null => TreeValue::Other("null"),
        };
        Self { line: None, value }
    }

    /// Converts this node to JSON.
    pub(crate) fn to_json(&self) -> Json {
        match &self.value {
            TreeValue::Text(text) => Json::String(text.clone()),
            TreeValue::Number(number) => Json::from(*number),
            TreeValue::Fraction(number) => Json::from(*number),
            TreeValue::Flag(flag) => Json::Bool(*flag),
            TreeValue::List(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            TreeValue::Table(entries) => Json::Object(
                entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json())).collect(),
            ),
            TreeValue::Other(_) => Json::Null,
        }
    }

    /// Returns the name of the value's kind, for an error about the expected kind.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            TreeValue::Text(_) => "a text",
            TreeValue::Number(_) => "a number",
            TreeValue::Fraction(_) => "a fraction",
            TreeValue::Flag(_) => "true or false",
            TreeValue::List(_) => "a list",
            TreeValue::Table(_) => "a table",
            TreeValue::Other(kind) => kind,
        }
    }
}

/// Converts positions to line numbers.
struct Lines<'a> {
    text: &'a str,
}

impl Lines<'_> {
    fn line(&self, at: usize) -> Option<u32> {
        let before = self.text.as_bytes().get(..at)?;
        u32::try_from(before.iter().filter(|byte| **byte == b'\n').count() + 1).ok()
    }

    fn table(&self, table: &DeTable<'_>) -> TreeValue {
        let mut entries: Vec<TreeEntry> = table
            .iter()
            .map(|(key, value)| {
                let line = self.line(key.span().start);
                TreeEntry {
                    key: key.get_ref().clone().into_owned(),
                    line,
                    node: Node { line, value: self.value(value.get_ref()) },
                }
            })
            .collect();
        // The parser sorts tables by name; errors should come in the order of the lines.
        entries.sort_by_key(|entry| entry.line);
        TreeValue::Table(entries)
    }

    fn value(&self, value: &DeValue<'_>) -> TreeValue {
        match value {
            DeValue::String(text) => TreeValue::Text(text.clone().into_owned()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or(TreeValue::Other("a number that is too large"), TreeValue::Number),
            DeValue::Float(number) => number
                .as_str()
                .parse()
                .map_or(TreeValue::Other("a number that is too large"), TreeValue::Fraction),
            DeValue::Boolean(flag) => TreeValue::Flag(*flag),
            DeValue::Datetime(_) => TreeValue::Other("a date"),
            DeValue::Array(items) => TreeValue::List(
                items
                    .iter()
                    .map(|item| Node {
                        line: self.line(item.span().start),
                        value: self.value(item.get_ref()),
                    })
                    .collect(),
            ),
            DeValue::Table(table) => self.table(table),
        }
    }
}
