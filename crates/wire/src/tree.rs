//! Settings as a tree, from TOML with line numbers or from JSON without. Knows no key: what may
//! stand where is `appfile`'s business.

use serde_json::Value as Json;
use toml::de::{DeTable, DeValue};

/// A value and the line it stands on.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) line: Option<u32>,
    pub(crate) value: Value,
}

/// What can stand in an app file.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Number(i64),
    Fraction(f64),
    Flag(bool),
    List(Vec<Node>),
    Table(Vec<Entry>),
    /// Something no key takes: a huge number, a date, a null.
    Other(&'static str),
}

/// One key of a table.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) line: Option<u32>,
    pub(crate) node: Node,
}

/// A text that is no TOML.
pub(crate) struct Broken {
    pub(crate) line: Option<u32>,
    pub(crate) message: String,
}

impl Node {
    /// Reads TOML.
    pub(crate) fn from_toml(text: &str) -> Result<Self, Broken> {
        let lines = Lines { text };
        let table = DeTable::parse(text).map_err(|error| Broken {
            line: error.span().and_then(|span| lines.line(span.start)),
            message: error.message().to_owned(),
        })?;
        Ok(Self { line: Some(1), value: lines.table(table.get_ref()) })
    }

    /// Takes JSON.
    pub(crate) fn from_json(json: &Json) -> Self {
        let value = match json {
            Json::String(text) => Value::Text(text.clone()),
            Json::Bool(flag) => Value::Flag(*flag),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Value::Number(whole),
                (None, Some(fraction)) if number.is_f64() => Value::Fraction(fraction),
                (None, _) => Value::Other("a number that is too large"),
            },
            Json::Array(items) => Value::List(items.iter().map(Self::from_json).collect()),
            Json::Object(map) => Value::Table(
                map.iter()
                    .map(|(key, json)| Entry {
                        key: key.clone(),
                        line: None,
                        node: Self::from_json(json),
                    })
                    .collect(),
            ),
            Json::Null => Value::Other("null"),
        };
        Self { line: None, value }
    }

    /// Converts this node to JSON.
    pub(crate) fn to_json(&self) -> Json {
        match &self.value {
            Value::Text(text) => Json::String(text.clone()),
            Value::Number(number) => Json::from(*number),
            Value::Fraction(number) => Json::from(*number),
            Value::Flag(flag) => Json::Bool(*flag),
            Value::List(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            Value::Table(entries) => Json::Object(
                entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json())).collect(),
            ),
            Value::Other(_) => Json::Null,
        }
    }

    /// What it is, for an error that says what it should be.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Text(_) => "a text",
            Value::Number(_) => "a number",
            Value::Fraction(_) => "a fraction",
            Value::Flag(_) => "true or false",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
            Value::Other(kind) => kind,
        }
    }
}

/// Turns places into line numbers.
struct Lines<'a> {
    text: &'a str,
}

impl Lines<'_> {
    fn line(&self, at: usize) -> Option<u32> {
        let before = self.text.as_bytes().get(..at)?;
        u32::try_from(before.iter().filter(|byte| **byte == b'\n').count() + 1).ok()
    }

    fn table(&self, table: &DeTable<'_>) -> Value {
        let mut entries: Vec<Entry> = table
            .iter()
            .map(|(key, value)| {
                let line = self.line(key.span().start);
                Entry {
                    key: key.get_ref().clone().into_owned(),
                    line,
                    node: Node { line, value: self.value(value.get_ref()) },
                }
            })
            .collect();
        // The parser's tables are sorted by name; people read from the top.
        entries.sort_by_key(|entry| entry.line);
        Value::Table(entries)
    }

    fn value(&self, value: &DeValue<'_>) -> Value {
        match value {
            DeValue::String(text) => Value::Text(text.clone().into_owned()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or(Value::Other("a number that is too large"), Value::Number),
            DeValue::Float(number) => number
                .as_str()
                .parse()
                .map_or(Value::Other("a number that is too large"), Value::Fraction),
            DeValue::Boolean(flag) => Value::Flag(*flag),
            DeValue::Datetime(_) => Value::Other("a date"),
            DeValue::Array(items) => Value::List(
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
