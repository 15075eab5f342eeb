//! The shape of facts on disk. The journal stores them as opaque bodies.

use journal::{Checkpoint, CheckpointPart};
use model::{AppName, Timestamp};
use rollout::{App, Fact, Fleet, FleetFact};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The version of [`Record`] and [`CheckpointBody`] that this program writes. It reads none that is
/// newer.
pub const VERSION: u16 = 3;

/// The effect of one decision or one command. It is applied as a whole or not at all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Body", into = "Body")]
pub enum Record {
    /// Facts of an app.
    App {
        /// The app's name.
        app: AppName,
        /// The facts, in this order.
        facts: Vec<Fact>,
    },
    /// Facts of the fleet, in this order.
    Fleet(Vec<FleetFact>),
}

impl Record {
    /// Returns the app that the record concerns.
    pub fn app(&self) -> Option<&AppName> {
        match self {
            Self::App { app, .. } => Some(app),
            Self::Fleet(_) => None,
        }
    }

    /// Returns the record's facts of an app.
    pub fn facts(&self) -> &[Fact] {
        match self {
            Self::App { facts, .. } => facts,
            Self::Fleet(_) => &[],
        }
    }

    /// Returns the names of the record's facts.
    pub fn names(&self) -> Vec<&'static str> {
        match self {
            Self::App { facts, .. } => facts.iter().map(Fact::name).collect(),
            Self::Fleet(facts) => facts.iter().map(FleetFact::name).collect(),
        }
    }
}

/// A record on disk.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    app: Option<AppName>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    facts: Vec<Fact>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fleet: Vec<FleetFact>,
}

impl From<Record> for Body {
    fn from(record: Record) -> Self {
        match record {
            Record::App { app, facts } => Self { app: Some(app), facts, fleet: Vec::new() },
            Record::Fleet(fleet) => Self { app: None, facts: Vec::new(), fleet },
        }
    }
}

impl TryFrom<Body> for Record {
    type Error = &'static str;

    fn try_from(body: Body) -> Result<Self, Self::Error> {
        match body {
            Body { app: Some(app), facts, fleet } if fleet.is_empty() => {
                Ok(Self::App { app, facts })
            }
            Body { app: None, facts, fleet } if facts.is_empty() => Ok(Self::Fleet(fleet)),
            Body { .. } => Err("a record is of one app or of the fleet"),
        }
    }
}

/// The state of all apps after some record. It is stored in parts, one per app.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointBody {
    /// The apps, in order of their names.
    pub apps: Vec<App>,
    /// The fleet. Version 1 had none.
    #[serde(default)]
    pub fleet: Fleet,
    /// The latest time in any fact.
    pub at: Timestamp,
}

/// The content of the journal cannot be understood. Traffic continues, but control does not start.
#[derive(Debug, Error)]
pub enum RecoverError {
    /// The record was written by a newer segue.
    #[error(
        "cannot read record {seq} of the journal: its version is {version}, this segue reads up to {VERSION}"
    )]
    Newer {
        /// The number of the record.
        seq: u64,
        /// The record's version.
        version: u16,
    },
    /// The body has another shape than expected.
    #[error("cannot read record {seq} of the journal")]
    Shape {
        /// The number of the record.
        seq: u64,
        /// The parse error.
        source: serde_json::Error,
    },
    /// The checkpoint has a part that this program does not know.
    #[error(
        "cannot read the checkpoint at record {seq} of the journal: its part `{key}` is unknown"
    )]
    CheckpointPart {
        /// The last record that the checkpoint covers.
        seq: u64,
        /// The key of the part.
        key: String,
    },
    /// The record's facts contradict earlier ones.
    #[error("cannot apply record {seq} of the journal")]
    Illegal {
        /// The number of the record.
        seq: u64,
        /// The contradiction.
        source: rollout::Illegal,
    },
}

/// The prefix of the key of an app's part of a checkpoint. The app's name follows.
const APP: &str = "app/";
/// The key of the part that holds the fleet.
const FLEET: &str = "fleet";
/// The key of the part that holds the latest time in any fact.
const LATEST: &str = "latest";

impl CheckpointBody {
    /// Returns the parts to be stored.
    pub fn parts(&self) -> Result<Vec<CheckpointPart>, serde_json::Error> {
        let part = |key: String, body| CheckpointPart { key, version: VERSION, body };
        let mut parts = vec![
            part(LATEST.to_owned(), serde_json::to_vec(&self.at)?),
            part(FLEET.to_owned(), serde_json::to_vec(&self.fleet)?),
        ];
        for app in &self.apps {
            parts.push(part(format!("{APP}{}", app.name), serde_json::to_vec(app)?));
        }
        Ok(parts)
    }

    /// Reads a stored checkpoint: in parts, or as one body in the earlier format.
    pub(crate) fn read(checkpoint: &Checkpoint) -> Result<Self, RecoverError> {
        let seq = checkpoint.seq.0;
        let mut whole = Self::default();
        for CheckpointPart { key, version, body } in &checkpoint.parts {
            if key == CheckpointPart::WHOLE {
                whole = parse(seq, *version, body)?;
            } else if key == LATEST {
                whole.at = parse(seq, *version, body)?;
            } else if key == FLEET {
                whole.fleet = parse(seq, *version, body)?;
            } else if key.starts_with(APP) {
                whole.apps.push(parse(seq, *version, body)?);
            } else {
                return Err(RecoverError::CheckpointPart { seq, key: key.clone() });
            }
        }
        Ok(whole)
    }
}

/// Parses the body of a record or of a part of a checkpoint.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(
    seq: u64,
    version: u16,
    body: &[u8],
) -> Result<T, RecoverError> {
    if version > VERSION {
        return Err(RecoverError::Newer { seq, version });
    }
    serde_json::from_slice(body).map_err(|source| RecoverError::Shape { seq, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Record, serde_json::Error> {
        serde_json::from_str(body)
    }

    #[test]
    fn a_record_of_version_1_is_one_of_an_app_on_the_local_host() {
        let minted = r#"{"app":"web","facts":[{"minted":{"release":1,"instances":
            [{"number":1,"address":"127.0.0.1:20000"}],"at":7}}]}"#;
        let record = read(minted).expect("it is read");
        assert_eq!(record.app().map(AppName::as_str), Some("web"));
        let [Fact::Minted { instances, .. }] = record.facts() else { panic!("{record:?}") };
        assert_eq!(instances[0].host, model::HostId::local());
    }

    #[test]
    fn an_app_that_was_stored_before_there_were_works_has_none() {
        let app = App::new("web".parse().expect("it is a name"));
        let mut stored = serde_json::to_value(&app).expect("it is written");
        let keys = stored.as_object_mut().expect("it is an object");
        assert!(!keys.contains_key("works") && !keys.contains_key("remembered_works"));
        keys.remove("last_token");
        assert_eq!(serde_json::from_value::<App>(stored).expect("it is read"), app);
    }

    #[test]
    fn what_is_recorded_of_a_work_is_read_as_it_was_written() {
        let facts = r#"{"app":"web","facts":[{"work-begun":{"work":3,"release":1,"host":"local",
            "task":{"name":"report","command":["x"],"time_limit":1000,"needs_lease":true},
            "token":7,"at":7}},{"work-runs":{"work":3,"at":8}},
            {"work-stopped":{"work":3,"cause":"time-up","at":9}},
            {"work-ended":{"work":3,"exit":{"code":0},"tail":[],"at":10}}]}"#;
        let facts: String = facts.lines().map(str::trim).collect();
        let record = read(&facts).expect("it is read");
        assert_eq!(record.names(), ["work-begun", "work-runs", "work-stopped", "work-ended"]);
        assert_eq!(serde_json::to_string(&record).expect("it is written"), facts);
    }

    #[test]
    fn a_record_of_the_fleet_is_read_back_and_none_is_of_both() {
        let joined = r#"{"fleet":[{"host-joined":{"host":"local","address":"127.0.0.1","at":7}}]}"#;
        let record = read(joined).expect("it is read");
        assert_eq!((record.app(), record.names()), (None, vec!["host-joined"]));
        assert_eq!(serde_json::to_string(&record).expect("it is written"), joined);
        let both = joined.replace("{\"fleet\"", "{\"app\":\"web\",\"fleet\"");
        let refused = read(&both).expect_err("it is of both").to_string();
        assert!(refused.starts_with("a record is of one app or of the fleet"), "{refused}");
        let unknown = read(r#"{"app":"web","facts":[],"proxy":[]}"#).expect_err("it has more");
        assert!(unknown.to_string().starts_with("unknown field `proxy`"), "{unknown}");
    }
}
