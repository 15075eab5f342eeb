//! The key `cohort` of a canary: users picked by one thing about their requests.

use model::{Cohort, Network};

use crate::section::{AppFileError, Section};
use crate::tree::Node;

const COHORT: &[&str] = &["header", "cookie", "query", "network"];
const NAME: &str = "strategy.cohort";

type Result<T> = std::result::Result<T, AppFileError>;

/// Reads `{ header = "X-Team: qa" }` and the like.
pub(crate) fn read(node: &Node) -> Result<Cohort> {
    let cohort = Section::open(NAME, Some(node), COHORT)?;
    let Some((key, _)) = cohort.only() else {
        let message = format!("`{NAME}`: one of {} is needed", COHORT.join(", "));
        let error = AppFileError::new(node.line, message);
        return Err(error.hint("write cohort = { header = \"X-Team: qa\" }"));
    };
    match key {
        "header" => {
            let (name, value) = pair(&cohort, "header", ':', "X-Team: qa")?;
            Ok(Cohort::Header { name: name.to_ascii_lowercase(), value })
        }
        "cookie" => {
            let (name, value) = pair(&cohort, "cookie", '=', "team=qa")?;
            Ok(Cohort::Cookie { name, value })
        }
        "query" => {
            let (name, value) = pair(&cohort, "query", '=', "team=qa")?;
            Ok(Cohort::Query { name, value })
        }
        _ => {
            let network: Option<Network> = cohort.parsed("network")?;
            network
                .ok_or_else(|| cohort.wrong("network", "a network is needed"))
                .map(Cohort::Network)
        }
    }
}

/// A name and its whole value.
fn pair(cohort: &Section<'_>, key: &str, sign: char, like: &str) -> Result<(String, String)> {
    let text = cohort.text(key)?.unwrap_or_default();
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let found = text.split_once(sign).map(|(name, value)| (name.trim(), value.trim()));
    match found {
        Some((name, value))
            if !name.is_empty()
                && name.chars().all(token)
                && !value.is_empty()
                && !value.chars().any(char::is_control)
                && text.len() <= 1_024 =>
        {
            Ok((name.to_owned(), value.to_owned()))
        }
        Some(_) | None => {
            let error = cohort.wrong(key, format!("{text:?} does not read NAME{sign}VALUE"));
            Err(error.hint(format!("write {key} = \"{like}\"")))
        }
    }
}
