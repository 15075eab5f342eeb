//! One line of an instance's output, as it travels.

use model::InstanceId;
use serde::{Deserialize, Serialize};

/// One line of output, without its line end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Whose.
    pub instance: InstanceId,
    /// The line as it was written; bytes that are no UTF-8 are replaced.
    pub text: String,
    /// It is a part of a line: the next of this instance goes on with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub goes_on: bool,
}
