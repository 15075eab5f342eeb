//! The JSON of instances' output.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::{AppName, InstanceId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One line of output, without its line end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// The instance that wrote the line.
    pub instance: InstanceId,
    /// The line as it was written, with bytes that are not UTF-8 replaced.
    pub text: String,
    /// The line as it was written, in base64, if `text` differs from it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "to_base64",
        deserialize_with = "from_base64"
    )]
    pub base64: Option<Vec<u8>>,
    /// True if this is only a part of a line, which the instance's next entry continues.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub goes_on: bool,
}

impl LogLine {
    /// Creates a whole line from these bytes.
    pub fn new(instance: InstanceId, bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self { instance, text, base64: None, goes_on: false },
            Err(error) => {
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                Self { instance, text, base64: Some(error.into_bytes()), goes_on: false }
            }
        }
    }

    /// Returns the bytes as they were written.
    pub fn bytes(&self) -> &[u8] {
        self.base64.as_deref().unwrap_or(self.text.as_bytes())
    }
}

fn to_base64<S: Serializer>(bytes: &Option<Vec<u8>>, to: S) -> Result<S::Ok, S::Error> {
    bytes.as_ref().map(|bytes| STANDARD.encode(bytes)).serialize(to)
}

fn from_base64<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<u8>>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    text.map(|text| STANDARD.decode(text).map_err(serde::de::Error::custom)).transpose()
}

/// A request for lines of output of an app's instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogRequest {
    /// The app.
    pub app: AppName,
    /// The only instance whose output is wanted; `None` for all instances of the app.
    pub instance: Option<InstanceId>,
    /// The position from which output is read.
    pub start: LogStart,
}

/// The position from which output is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogStart {
    /// This number of lines before the end.
    Last(u32),
    /// The end of the previous page.
    After(LogCursor),
}

/// A position in the output of several instances. The number of each is made and understood by the host of
/// the instance only; 0 is the beginning.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LogCursor(pub BTreeMap<InstanceId, u64>);

/// A page of output.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogPage {
    /// The lines. The lines of one instance are in their order.
    pub lines: Vec<LogLine>,
    /// The position after the last line.
    pub next: LogCursor,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id() -> InstanceId {
        "web-1".parse().unwrap()
    }

    #[test]
    fn a_line_is_text_and_its_bytes_come_along_where_that_is_not_all() {
        let json = |bytes: &[u8]| serde_json::to_string(&LogLine::new(id(), bytes.into())).unwrap();
        assert_eq!(json(b"so"), "{\"instance\":\"web-1\",\"text\":\"so\"}");
        let cut = json(&[0xff, b'a', 0xc3]);
        assert_eq!(
            cut,
            "{\"instance\":\"web-1\",\"text\":\"\u{fffd}a\u{fffd}\",\"base64\":\"/2HD\"}"
        );
        let wrong = "{\"instance\":\"web-1\",\"text\":\"\",\"base64\":\"?\"}";
        assert!(serde_json::from_str::<LogLine>(wrong).is_err());
    }

    #[test]
    fn these_are_the_request_and_the_page() {
        let cursor = LogCursor([(id(), 7)].into());
        let json = |start| {
            let request = LogRequest { app: id().app, instance: Some(id()), start };
            let text = serde_json::to_string(&request).unwrap();
            assert_eq!(serde_json::from_str::<LogRequest>(&text).unwrap(), request);
            text
        };
        let last = "{\"app\":\"web\",\"instance\":\"web-1\",\"start\":{\"last\":100}}";
        assert_eq!(json(LogStart::Last(100)), last);
        let after = "{\"app\":\"web\",\"instance\":\"web-1\",\"start\":{\"after\":{\"web-1\":7}}}";
        assert_eq!(json(LogStart::After(cursor.clone())), after);
        let page = LogPage { lines: vec![LogLine::new(id(), b"so".into())], next: cursor };
        let text = serde_json::to_string(&page).unwrap();
        let wanted =
            "{\"lines\":[{\"instance\":\"web-1\",\"text\":\"so\"}],\"next\":{\"web-1\":7}}";
        assert_eq!(text, wanted);
        assert_eq!(serde_json::from_str::<LogPage>(&text).unwrap(), page);
    }

    proptest! {
        #[test]
        fn every_byte_arrives(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let text = serde_json::to_string(&LogLine::new(id(), bytes.clone())).unwrap();
            let read: LogLine = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read.bytes(), bytes);
        }
    }
}
