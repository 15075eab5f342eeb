//! Values of environment variables on their way to the server. They are never printed, neither by `Debug` nor
//! in errors.

use std::fmt;

use model::{AppSpec, Variable};
use serde::{Deserialize, Serialize};

/// A secret value. Only [`Secret::expose`] returns it, so uses are easy to find.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// Returns the value itself.
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

/// The hint for a variable that segue sets itself.
pub const ANOTHER_NAME: &str = "give the variable another name";

/// Checks the name of an environment variable of an app with these settings. The error completes "because …".
///
/// # Errors
/// If the name is invalid, or is one that segue sets itself.
pub fn check_env_name(name: &str, spec: &AppSpec) -> Result<(), String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.len() > 128 {
        return Err("it has to have 1 to 128 characters".into());
    }
    if !name.chars().all(word) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("only letters, digits and `_` may stand in it, no digit first".into());
    }
    Variable::reserved(name, spec).map_or(Ok(()), |why| Err(why.into()))
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
        let spec = |more: &str| {
            let text = format!("app = \"web\"\n[run]\ncommand = [\"./x\"]\n{more}");
            crate::AppFile::from_toml(&text).unwrap().spec
        };
        let plain = spec("");
        for good in ["LOG_LEVEL", "SOCKET", "HEALTH_PORT", "PORTS"] {
            assert!(check_env_name(good, &plain).is_ok(), "{good}");
        }
        for bad in ["", "SEGUE_TOKEN", "1A", "A-B", "A=B"] {
            assert!(check_env_name(bad, &plain).is_err(), "{bad:?}");
        }
        let all = [spec("listen = \"unix\"\n"), spec("[health]\nport = true\n")];
        for variable in Variable::ALL {
            let name = variable.name();
            assert!(all.iter().any(|spec| check_env_name(name, spec).is_err()), "{name}");
        }
    }
}
