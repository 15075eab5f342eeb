//! The table `[strategy]` of an app file. Each kind has its own keys, with sensible defaults for all of them.
//! Reads no file: the client reads the page that is named here.

use model::{
    Batch, Capacity, FailureBudget, Gate, Millis, OnFailure, Order, Page as Shown, Share, Standby,
    Step, Strategy, StrategyKind, Switch, nearest,
};

use crate::cohort;
use crate::parse_duration;
use crate::settings_table::{AppFileError, Section};
use crate::settings_tree::{Node, TreeEntry, TreeValue};
use crate::share::parse_share;
use crate::value_checks::DAY;

/// The largest number of steps. More are a mistake.
const MOST_STEPS: usize = 50;
/// The largest length of a message, in bytes. A message is one sentence.
const MOST_MESSAGE: usize = 1_000;

/// The keys of every kind. docs/segue.schema.json lists the same keys, and those below.
pub(crate) const COMMON: &[&str] = &["kind", "standby", "watch", "failure_budget"];
/// The kinds with their own keys; the first kind is the default.
pub(crate) const KINDS: &[(&str, &[&str])] = &[
    ("blue-green", &["switch"]),
    ("rolling", &["batch", "surge", "pause", "on_failure"]),
    ("canary", &["steps", "cohort", "capacity"]),
    ("recreate", &["page", "message", "retry_after"]),
];
const STEP: &[&str] = &["share", "hold", "gate"];

/// The meaning of the key `page`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageSource {
    /// The path of a file, as in an app file.
    Path,
    /// The text of the page, as on the API.
    Text,
}

type Result<T> = std::result::Result<T, AppFileError>;

/// Reads the table. Also returns the path of the page, if the table names one.
pub(crate) fn read(
    node: Option<&Node>,
    page: PageSource,
    replicas: u16,
) -> Result<(Strategy, Option<String>)> {
    let (kind, own) = read_kind(node)?;
    let keys: Vec<&str> = COMMON.iter().chain(own).copied().collect();
    let strategy = Section::open("strategy", node, &keys)?;
    let (kind, path) = match kind {
        "rolling" => (read_rolling(&strategy, replicas)?, None),
        "canary" => (read_canary(&strategy)?, None),
        "recreate" => read_recreate(&strategy, page)?,
        _ => (read_blue_green(&strategy)?, None),
    };
    // Where the old release keeps running beside the new one anyway, keeping it costs no more.
    let standby = match &kind {
        StrategyKind::BlueGreen { .. } | StrategyKind::Canary { .. } => Standby::Keep,
        StrategyKind::Rolling { .. } | StrategyKind::Recreate { .. } => Standby::None,
    };
    let standby = read_standby(&strategy, standby)?;
    let watch = strategy.duration("watch", Millis::from_secs(10), Millis(0)..=DAY)?;
    let failure_budget = read_failure_budget(&strategy)?;
    Ok((Strategy { kind, standby, watch, failure_budget }, path))
}

/// Returns the kind and its keys. A key of another kind gets a better error than "unknown key".
fn read_kind(node: Option<&Node>) -> Result<(&'static str, &'static [&'static str])> {
    let entries: &[TreeEntry] = match node.map(|node| &node.value) {
        Some(TreeValue::Table(entries)) => entries,
        // The caller that opens the table reports a value that is not a table.
        Some(_) | None => &[],
    };
    let written = entries.iter().find(|entry| entry.key == "kind");
    let (kind, own) = match written.map(|entry| &entry.node.value) {
        None => KINDS[0],
        Some(TreeValue::Text(text)) => {
            let known = KINDS.iter().find(|(kind, _)| kind == text);
            *known.ok_or_else(|| no_such_kind(written.and_then(|entry| entry.line), text))?
        }
        Some(_) => {
            let line = written.and_then(|entry| entry.line);
            let error = AppFileError::new(line, "`strategy.kind`: a text is needed");
            return Err(error.hint("write kind = \"rolling\""));
        }
    };
    for TreeEntry { key, line, node: _ } in entries {
        let other = KINDS.iter().find(|(other, keys)| *other != kind && keys.contains(&&**key));
        if let Some((other, _)) = other {
            let message =
                format!("`strategy.{key}` belongs to \"{other}\", and this is \"{kind}\"");
            let hint = format!("write kind = \"{other}\", or leave `{key}` out");
            return Err(AppFileError::new(*line, message).hint(hint));
        }
    }
    Ok((kind, own))
}

fn no_such_kind(line: Option<u32>, text: &str) -> AppFileError {
    let names: Vec<String> = KINDS.iter().map(|(kind, _)| format!("\"{kind}\"")).collect();
    let message = format!("`strategy.kind`: {text:?} is not one of {}", names.join(", "));
    let error = AppFileError::new(line, message);
    match nearest(text, KINDS.iter().map(|(kind, _)| *kind)) {
        Some(near) => error.hint(format!("did you mean \"{near}\"?")),
        None => error,
    }
}

fn read_standby(strategy: &Section<'_>, default: Standby) -> Result<Standby> {
    match strategy.text("standby")? {
        None => Ok(default),
        Some("keep") => Ok(Standby::Keep),
        Some("none") => Ok(Standby::None),
        Some(text) => match parse_duration(text) {
            Ok(time) if time >= Millis::from_secs(1) && time.0 <= 366 * DAY.0 => {
                Ok(Standby::For(time))
            }
            Ok(_) | Err(_) => {
                let why = format!("{text:?} is neither \"keep\", \"none\" nor a time like \"1h\"");
                Err(strategy.wrong("standby", why))
            }
        },
    }
}

fn read_blue_green(strategy: &Section<'_>) -> Result<StrategyKind> {
    let words = [("auto", Switch::Auto), ("manual", Switch::Manual)];
    Ok(StrategyKind::BlueGreen { switch: strategy.word("switch", Switch::Auto, &words)? })
}

fn read_rolling(strategy: &Section<'_>, replicas: u16) -> Result<StrategyKind> {
    let batch = read_batch(strategy)?;
    let order = if strategy.flag("surge", true)? { Order::Surge } else { Order::InPlace };
    if order == Order::InPlace && batch.of(replicas) >= replicas {
        let count = batch.of(replicas);
        let why = format!(
            "in place, {count} of {replicas} would leave at a time, and nobody would be served"
        );
        let hint = match replicas {
            1 => "write surge = true, or replicas = 2 under [run]",
            _ => "write surge = true, or a smaller batch",
        };
        return Err(strategy.wrong("surge", why).hint(hint));
    }
    let words = [("revert", OnFailure::Revert), ("hold", OnFailure::Hold)];
    Ok(StrategyKind::Rolling {
        batch,
        order,
        pause: strategy.duration("pause", Millis(0), Millis(0)..=DAY)?,
        on_failure: strategy.word("on_failure", OnFailure::Revert, &words)?,
    })
}

fn read_batch(strategy: &Section<'_>) -> Result<Batch> {
    let Some(Node { value: TreeValue::Text(text), .. }) = strategy.get("batch") else {
        return Ok(Batch::Count(strategy.count("batch", 1, 1..=1_000)?));
    };
    let percent = text.trim().strip_suffix('%').and_then(|number| number.trim_end().parse().ok());
    match percent {
        Some(percent @ 1..=100) => Ok(Batch::Percent(percent)),
        Some(_) | None => {
            let why = format!("{text:?} is neither a number nor a part from \"1%\" to \"100%\"");
            Err(strategy.wrong("batch", why).hint("write batch = 1 or batch = \"25%\""))
        }
    }
}

fn read_failure_budget(strategy: &Section<'_>) -> Result<FailureBudget> {
    let Some(Node { value: TreeValue::Text(text), .. }) = strategy.get("failure_budget") else {
        return Ok(FailureBudget::Count(strategy.count("failure_budget", 0, 0..=1_000)?));
    };
    let percent = text.trim().strip_suffix('%').and_then(|number| number.trim_end().parse().ok());
    match percent {
        Some(percent @ 0..=100) => Ok(FailureBudget::Percent(percent)),
        Some(_) | None => {
            let why =
                format!("{text:?} is neither a number of hosts nor a part from \"0%\" to \"100%\"");
            let hint = "write failure_budget = 1 or failure_budget = \"3%\"";
            Err(strategy.wrong("failure_budget", why).hint(hint))
        }
    }
}

fn read_canary(strategy: &Section<'_>) -> Result<StrategyKind> {
    Ok(StrategyKind::Canary {
        steps: read_steps(strategy)?,
        cohort: strategy.get("cohort").map(cohort::read).transpose()?,
        capacity: read_capacity(strategy)?,
    })
}

fn read_steps(strategy: &Section<'_>) -> Result<Vec<Step>> {
    let example = "write steps = [{ share = \"5%\", hold = \"1m\" }]";
    let nodes = match strategy.get("steps") {
        None => {
            let gate = Gate::After(Millis::from_secs(60));
            let shares = [500, 2_500, 5_000].into_iter().filter_map(Share::from_ten_thousandths);
            return Ok(shares.map(|share| Step { share, gate }).collect());
        }
        Some(Node { value: TreeValue::List(nodes), .. }) => nodes,
        Some(node) => {
            let why = format!("expected a list of steps, found {}", node.kind());
            return Err(strategy.wrong("steps", why).hint(example));
        }
    };
    if nodes.is_empty() || nodes.len() > MOST_STEPS {
        let why = format!("expected 1 to {MOST_STEPS} steps, found {}", nodes.len());
        return Err(strategy.wrong("steps", why).hint(example));
    }
    let mut steps: Vec<Step> = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        let section = Section::open(format!("strategy.steps[{at}]"), Some(node), STEP)?;
        let step = read_step(&section)?;
        if let Some(before) = steps.last().filter(|before| before.share >= step.share) {
            let why = format!("{} does not come after {}", step.share, before.share);
            return Err(section.wrong("share", why).hint("the shares grow from step to step"));
        }
        steps.push(step);
    }
    Ok(steps)
}

fn read_step(step: &Section<'_>) -> Result<Step> {
    let share = match step.get("share") {
        None => Err(step.wrong("share", "a share is needed").hint("write share = \"5%\"")),
        Some(Node { value: TreeValue::Number(number), .. }) => {
            let why = format!("expected a share with its sign, found the number {number}");
            Err(step.wrong("share", why).hint(format!("write share = \"{number}%\"")))
        }
        Some(_) => {
            let text = step.text("share")?.unwrap_or_default();
            parse_share(text).map_err(|why| step.wrong("share", why))
        }
    }?;
    if share == Share::NONE || share == Share::ALL {
        let why = "the share of a step is more than 0 % and less than 100 %";
        return Err(step
            .wrong("share", why)
            .hint("all traffic follows after the last step, without a step of its own"));
    }
    let hint = "write hold = \"1m\", or gate = \"manual\"";
    let gate = match (step.get("hold"), step.get("gate")) {
        (Some(_), None) => {
            Gate::After(step.duration("hold", Millis(0), Millis(0)..=Millis(30 * DAY.0))?)
        }
        (None, Some(_)) => step.word("gate", Gate::Manual, &[("manual", Gate::Manual)])?,
        (None, None) => {
            return Err(step.wrong("share", "what the step waits for is missing").hint(hint));
        }
        (Some(_), Some(_)) => {
            let why = "a step waits for a time or for a person, not for both";
            return Err(step.wrong("gate", why).hint(hint));
        }
    };
    Ok(Step { share, gate })
}

fn read_capacity(strategy: &Section<'_>) -> Result<Capacity> {
    match strategy.get("capacity") {
        None => Ok(Capacity::Share),
        Some(Node { value: TreeValue::Text(text), .. }) if text == "share" => Ok(Capacity::Share),
        Some(Node { value: TreeValue::Text(text), .. }) => {
            let why = format!("{text:?} is neither \"share\" nor a number of instances");
            Err(strategy.wrong("capacity", why))
        }
        Some(_) => Ok(Capacity::Fixed(strategy.count("capacity", 1, 1..=1_000)?)),
    }
}

fn read_recreate(
    strategy: &Section<'_>,
    page: PageSource,
) -> Result<(StrategyKind, Option<String>)> {
    let (html, path) = match (strategy.text("page")?, page) {
        (None, _) => (None, None),
        (Some(""), PageSource::Path) => {
            let error = strategy.wrong("page", "a file is needed");
            return Err(error.hint("write page = \"maintenance.html\", or leave it out"));
        }
        (Some(path), PageSource::Path) => (None, Some(path.to_owned())),
        (Some(html), PageSource::Text) => {
            check_page(html).map_err(|why| strategy.wrong("page", why))?;
            (Some(html.into()), None)
        }
    };
    let message = strategy.text("message")?;
    if let Some(message) = message {
        check_message(message).map_err(|why| strategy.wrong("message", why))?;
    }
    let second = Millis::from_secs(1);
    let retry_after = strategy.duration("retry_after", Millis::from_secs(30), second..=DAY)?;
    check_retry_after(retry_after).map_err(|why| strategy.wrong("retry_after", why))?;
    let page = Shown { html, message: message.map(String::from), retry_after };
    Ok((StrategyKind::Recreate { page }, path))
}

/// Checks that a page is short enough. The error completes "because …".
pub(crate) fn check_page(html: &str) -> std::result::Result<(), String> {
    let (size, most) = (html.len(), Shown::MOST_BYTES);
    if size <= most {
        return Ok(());
    }
    Err(format!("the page has {size} bytes; at most {most} are allowed"))
}

/// Checks that a message is one sentence. The error completes "because …".
pub(crate) fn check_message(message: &str) -> std::result::Result<(), String> {
    if message.len() <= MOST_MESSAGE && !message.chars().any(char::is_control) {
        return Ok(());
    }
    Err(format!("one line of {MOST_MESSAGE} bytes at most is needed"))
}

/// Checks that a time can be sent in `Retry-After`. The error completes "because …".
pub(crate) fn check_retry_after(time: Millis) -> std::result::Result<(), String> {
    if time.0.is_multiple_of(1_000) { Ok(()) } else { Err(format!("{time} is no whole second")) }
}

#[cfg(test)]
#[path = "strategy_tests.rs"]
mod tests;
