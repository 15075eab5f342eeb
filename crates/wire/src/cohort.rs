//! The key `cohort` of a canary: users selected by one property of their requests.

use model::{Cohort, Mark, Network};

use crate::settings_table::{AppFileError, Section};
use crate::settings_tree::Node;

const MARKS: &[&str] = &["header", "cookie", "query", "network"];
const COHORT: &[&str] = &["header", "cookie", "query", "network", "public"];
const NAME: &str = "strategy.cohort";

type Result<T> = std::result::Result<T, AppFileError>;

/// Reads a table such as `{ header = "X-Team: qa" }`.
pub(crate) fn read(node: &Node) -> Result<Cohort> {
    let cohort = Section::open(NAME, Some(node), COHORT)?;
    let mut marks = MARKS.iter().filter(|mark| cohort.get(mark).is_some());
    let (Some(key), None) = (marks.next(), marks.next()) else {
        let message = format!("`{NAME}`: one of {} is needed", MARKS.join(", "));
        let error = AppFileError::new(node.line, message);
        return Err(error.hint("write cohort = { header = \"X-Team: qa\" }"));
    };
    Ok(Cohort { mark: mark(&cohort, key)?, public: cohort.flag("public", false)? })
}

fn mark(cohort: &Section<'_>, key: &str) -> Result<Mark> {
    match key {
        "header" => {
            let (name, value) = pair(cohort, "header", ':', "X-Team: qa")?;
            Ok(Mark::Header { name: name.to_ascii_lowercase(), value })
        }
        "cookie" => {
            let (name, value) = pair(cohort, "cookie", '=', "team=qa")?;
            Ok(Mark::Cookie { name, value })
        }
        "query" => {
            let (name, value) = pair(cohort, "query", '=', "team=qa")?;
            Ok(Mark::Query { name, value })
        }
        _ => {
            let network: Option<Network> = cohort.parsed("network")?;
            network.ok_or_else(|| cohort.wrong("network", "a network is needed")).map(Mark::Network)
        }
    }
}

/// Reads a name and its whole value.
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
