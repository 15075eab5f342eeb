//! Limits on the duration and size of an app's requests.

use serde::{Deserialize, Serialize};

use crate::Millis;

/// Limits of one request of an app. The defaults suit most apps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppLimits {
    /// Maximum size of a request's body in bytes; `None` sets no limit. A larger body is answered with 413.
    pub body: Option<u64>,
    /// Maximum time between two reads of a request's body. Then the answer is 408.
    pub body_read: Millis,
    /// Minimum rate, in bytes per second, of a request's body and, while connections are scarce, of an
    /// answer that its client reads; 0 sets no minimum. `None` uses the proxy's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_rate: Option<u64>,
    /// Maximum time from sending a request to the first byte of its answer. Then the answer is 504.
    pub first_byte: Millis,
    /// Maximum time between two reads of an answer's body. Then the answer is broken off. Event streams have
    /// no such limit.
    pub between_bytes: Millis,
    /// Maximum time of a tunnel without a byte in either direction. Then the tunnel is closed.
    pub tunnel_idle: Millis,
}

impl AppLimits {
    /// Returns whether no limit was set.
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
