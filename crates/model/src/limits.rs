//! How long and how large a request of an app may be.

use serde::{Deserialize, Serialize};

use crate::Millis;

/// What one request of an app may take. The defaults are right for most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppLimits {
    /// The largest body of a request, in bytes; none by default. More is answered with 413.
    pub body: Option<u64>,
    /// Between two reads of a request's body; then 408.
    pub body_read: Millis,
    /// The least bytes per second of a body, and, while connections are scarce, of an answer that its
    /// client takes; 0 for none. The proxy's own by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_rate: Option<u64>,
    /// From a request sent to the first byte of its answer; then 504.
    pub first_byte: Millis,
    /// Between two reads of an answer's body; then it is broken off. Event streams have no such limit.
    pub between_bytes: Millis,
    /// A tunnel without a byte in either direction; then it is closed.
    pub tunnel_idle: Millis,
}

impl AppLimits {
    /// Whether nobody has set any.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for AppLimits {
    fn default() -> Self {
        Self {
            body: None,
            body_read: Millis::from_secs(60),
            body_rate: None,
            first_byte: Millis::from_secs(60),
            between_bytes: Millis::from_secs(300),
            tunnel_idle: Millis::from_secs(3_600),
        }
    }
}
