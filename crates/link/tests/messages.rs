//! The messages as they are on the wire. A later program has to read them, and an earlier one what is written. The
//! lines of the two files are never changed; messages of another form get lines of their own.

use link::{FromMember, ToMember};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn stay_the_same<M: DeserializeOwned + Serialize>(messages: &str) {
    for line in messages.lines() {
        let message: M = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let written = serde_json::to_value(&message).expect("it is written");
        let read: Value = serde_json::from_str(line).expect("it is JSON");
        assert_eq!(written, read);
    }
}

#[test]
fn what_a_server_says_is_read_and_written_as_it_was() {
    stay_the_same::<ToMember>(include_str!("to_member.jsonl"));
}

#[test]
fn what_a_member_says_is_read_and_written_as_it_was() {
    stay_the_same::<FromMember>(include_str!("from_member.jsonl"));
}

#[test]
fn a_message_of_an_unknown_kind_and_a_field_of_an_unknown_name_are_skipped() {
    let unknown = r#"{"is":"tomorrow","what":{"3":[1]}}"#;
    assert_eq!(serde_json::from_str::<ToMember>(unknown).unwrap(), ToMember::Unknown);
    assert_eq!(serde_json::from_str::<FromMember>(unknown).unwrap(), FromMember::Unknown);
    let longer = r#"{"is":"removed","why":"it was sold"}"#;
    assert_eq!(serde_json::from_str::<ToMember>(longer).unwrap(), ToMember::Removed);
}
