//! Values of environment variables on their way to the server. They are never printed: not by
//! `Debug`, not in errors.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A value nobody should see. Only [`Secret::expose`] gives it away, so uses are easy to find.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// Checks the name of an environment variable; the error completes "because …".
///
/// # Errors
/// When it is no name, or one that segue sets itself.
pub fn check_env_name(name: &str) -> Result<(), String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.len() > 128 {
        return Err("it has to have 1 to 128 characters".into());
    }
    if !name.chars().all(word) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("only letters, digits and `_` may stand in it, no digit first".into());
    }
    if matches!(name, "HOST" | "PORT") || name.starts_with("SEGUE_") {
        return Err("segue sets it itself".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "<secret>");
    }

    #[test]
    fn names_segue_sets_itself_are_refused() {
        assert!(check_env_name("LOG_LEVEL").is_ok());
        for bad in ["", "PORT", "HOST", "SEGUE_TOKEN", "1A", "A-B", "A=B"] {
            assert!(check_env_name(bad).is_err(), "{bad:?}");
        }
    }
}
