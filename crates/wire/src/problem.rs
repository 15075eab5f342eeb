//! How a refusal travels: `{"error":{"code","message","hint"}}`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The kind of a refusal, for programs. Each has one HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// Understood, and the answer is no.
    Refused,
    /// Another command came first: look at the app and decide again.
    Conflict,
    /// There is no such app, release, rollout or path.
    NotFound,
    /// The request itself is wrong.
    Invalid,
    /// No token, or not the right one.
    Unauthorized,
    /// The `Host` header names a host this API does not answer for.
    ForbiddenHost,
    /// The request is larger than the API takes.
    TooLarge,
    /// The request took longer than the API waits.
    Timeout,
    /// Not now; later perhaps.
    Unavailable,
    /// Traffic goes on, but nothing can be changed.
    ReadOnly,
    /// A defect of segue.
    Internal,
}

impl Code {
    /// The HTTP status it travels with.
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

/// A refusal, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Its kind.
    pub code: Code,
    /// The act, its object, and why it is refused.
    pub message: String,
    /// What the user can do now.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
}

impl Problem {
    /// A refusal without a hint.
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

/// The body of every answer that is not 2xx.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The refusal.
    pub error: Problem,
}
