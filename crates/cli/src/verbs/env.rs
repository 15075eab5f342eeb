//! The environment of a deploy, from the app file, a file of variables and the command line. Later sources
//! override earlier ones.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use model::AppSpec;
use wire::{ANOTHER_NAME, Secret, check_env_name};

use super::env_file::{self, EnvValue, Wrong};
use crate::CommandError;

const ACT: &str = "read the environment";

/// Adds the variables of `--env-file` and of `--env` to those of the app file.
pub(super) fn gather(
    mut env: BTreeMap<String, Secret>,
    spec: &AppSpec,
    file: Option<&Path>,
    words: &[String],
) -> Result<BTreeMap<String, Secret>, CommandError> {
    if let Some(path) = file {
        let act = format!("{ACT} from {}", path.display());
        let bytes = fs::read(path).map_err(|error| CommandError::new(&*act, &error))?;
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let before = &bytes[..error.valid_up_to()];
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            CommandError::because(format!("{act}, line {line}"), "it is not UTF-8")
                .hint("save the file as UTF-8")
        })?;
        let all = env_file::parse(text).map_err(|Wrong { line, why, hint }| {
            CommandError::because(format!("{act}, line {line}"), why).hint(hint)
        })?;
        for (line, name, value) in all {
            let act = format!("{act}, line {line}");
            match value {
                EnvValue::Set(value) => insert(&mut env, spec, &name, value.expose(), &act)?,
                EnvValue::Here => insert(&mut env, spec, &name, &here(&name, &act)?, &act)?,
            }
        }
    }
    for word in words {
        match word.split_once('=') {
            Some((name, value)) => insert(&mut env, spec, name, value, ACT)?,
            None => insert(&mut env, spec, word, &here(word, ACT)?, ACT)?,
        }
    }
    Ok(env)
}

fn insert(
    env: &mut BTreeMap<String, Secret>,
    spec: &AppSpec,
    name: &str,
    value: &str,
    act: &str,
) -> Result<(), CommandError> {
    check_env_name(name, spec)
        .map_err(|why| CommandError::because(act, format!("`{name}`: {why}")).hint(ANOTHER_NAME))?;
    env.insert(name.to_owned(), Secret::new(value));
    Ok(())
}

/// Returns the value that a variable has in the environment of this command.
fn here(name: &str, act: &str) -> Result<String, CommandError> {
    std::env::var(name).map_err(|error| {
        let hint = format!("set it, or write its value: {name}=VALUE");
        CommandError::because(act, format!("`{name}`: {error}")).hint(hint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(more: &str) -> AppSpec {
        let text = format!("app = \"web\"\n[run]\ncommand = [\"./x\"]\n{more}");
        wire::AppFile::from_toml(&text).unwrap().spec
    }

    #[test]
    fn later_ones_win_and_quotes_come_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("env");
        fs::write(&path, "# comment\n\nA=file\nB = \"two words\"\nC=a=b\n").unwrap();
        let start = [("A".to_owned(), Secret::new("app")), ("D".to_owned(), Secret::new("app"))];
        let env = gather(start.into(), &spec(""), Some(&path), &["C=line".into()]).unwrap();
        let values: Vec<String> = env.iter().map(|(k, v)| format!("{k}={}", v.expose())).collect();
        assert_eq!(values, ["A=file", "B=two words", "C=line", "D=app"]);
    }

    #[test]
    fn a_file_in_another_encoding_is_refused_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("env");
        fs::write(&path, b"A=1\nB=caf\xe9\n").unwrap();
        let error = gather(BTreeMap::new(), &spec(""), Some(&path), &[]).unwrap_err();
        assert!(error.act.ends_with("env, line 2"), "{}", error.act);
        assert_eq!(error.cause, "it is not UTF-8");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |words: &[String]| {
            gather(BTreeMap::new(), &spec("listen = \"unix\"\n"), None, words).unwrap_err().cause
        };
        let socket = "`SOCKET`: with `listen = \"unix\"` segue sets it itself";
        assert_eq!(error(&["SOCKET=/x".into()]), socket);
        assert!(gather(BTreeMap::new(), &spec(""), None, &["SOCKET=/x".into()]).is_ok());
        assert_eq!(error(&["PORT=1".into()]), "`PORT`: segue sets it itself");
        assert_eq!(
            error(&["NOBODY_SETS_THIS".into()]),
            "`NOBODY_SETS_THIS`: environment variable not found"
        );
    }
}
