//! The JSON of a refusal: `{"error":{"code","message","hint"}}`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The kind of a refusal, for programs. Each kind has one HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The request is valid, but the server refuses it.
    Refused,
    /// Another command came first. The client has to look at the app and decide again.
    Conflict,
    /// There is no such app, release, rollout or path.
    NotFound,
    /// The request itself is wrong.
    Invalid,
    /// The request has no token, or not the right one.
    Unauthorized,
    /// The `Host` header names a host that this API does not answer for.
    ForbiddenHost,
    /// The request is larger than the API accepts.
    TooLarge,
    /// The request took longer than the API's time limit.
    Timeout,
    /// The server cannot answer now, but perhaps later.
    Unavailable,
    /// Changes are refused. Traffic is served all the same.
    ReadOnly,
    /// A defect of segue.
    Internal,
}

impl Code {
    /// Returns the HTTP status of this kind.
    pub const fn status(self) -> u16 {
        match self {
            Self::Refused => 422,
            Self::Conflict => 409,
            Self::NotFound => 404,
            Self::Invalid => 400,
            Self::Unauthorized => 401,
            Self::ForbiddenHost => 403,
            Self::TooLarge => 413,
            Self::Timeout => 408,
            Self::Unavailable | Self::ReadOnly => 503,
            Self::Internal => 500,
        }
    }
}

/// A refusal, and the user's possible reaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The kind of the refusal.
    pub code: Code,
    /// The act, its object, and the reason for the refusal.
    pub message: String,
    /// What the user can do now.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
}

impl Problem {
    /// Creates a refusal without a hint.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

/// The body of every response that is not 2xx.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The refusal.
    pub error: Problem,
}
