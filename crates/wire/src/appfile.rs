//! The app file `segue.toml`, and the same settings as JSON on the API. The settings are read once and
//! checked as a whole, and every default is defined in one place. Reads no other file and no environment.

use std::collections::BTreeMap;

use model::{AppName, AppSpec, Drain, Files, Listen, ListenerRule, Millis, Run};
use serde_json::Value as Json;

use crate::health;
pub use crate::settings_table::AppFileError;
use crate::settings_table::Section;
use crate::settings_tree::{Node, TreeEntry, TreeValue};
use crate::strategy::{self, PageSource};
use crate::value_checks::DAY;
use crate::{ANOTHER_NAME, Secret, check_env_name};
use crate::{resources, route};

/// The keys of each table; the empty name is the whole file. docs/segue.schema.json lists the same keys.
const TOP: &[&str] = &["app", "run", "health", "route", "limits", "drain", "strategy", "placement"];
const PLACEMENT: &[&str] = &["on"];
const RUN: &[&str] = &[
    "command", "dir", "replicas", "env", "user", "group", "files", "listen", "listener", "memory",
    "pids", "cpu",
];
const LISTEN: &[(&str, Listen)] = &[("port", Listen::Port), ("unix", Listen::Unix)];
const LISTENER: &[(&str, ListenerRule)] = &[("own", ListenerRule::Own), ("any", ListenerRule::Any)];
const DRAIN: &[&str] = &["deadline"];

/// An app file that has been read and checked.
#[derive(Clone, Debug)]
pub struct AppFile {
    /// The settings. `run.env` is empty, because the server computes the digests of values.
    pub spec: AppSpec,
    /// The environment that the file sets.
    pub env: BTreeMap<String, Secret>,
    /// The folder to ship, relative to the file's folder.
    pub dir: String,
    /// The maintenance page that the file names, relative to the file's folder; [`AppFile::with_page`] takes
    /// its text.
    pub page: Option<String>,
    settings: Json,
}

impl AppFile {
    /// Reads a `segue.toml`.
    ///
    /// # Errors
    /// Names the line, the key, what is wrong, and what to write instead.
    pub fn from_toml(text: &str) -> Result<Self, AppFileError> {
        let tree = Node::from_toml(text)
            .map_err(|broken| AppFileError::new(broken.line, broken.message))?;
        read(&tree, PageSource::Path)
    }

    /// Reads the settings in the form that the API gets. A path on the client has no meaning there. Therefore
    /// `run.dir` is refused, and `strategy.page` is the page itself.
    ///
    /// # Errors
    /// Those of [`AppFile::from_toml`], without the line.
    pub fn from_json(settings: &Json) -> Result<Self, AppFileError> {
        if settings.pointer("/run/dir").is_some() {
            let message = "`run.dir`: the API takes files by upload, never a path";
            return Err(AppFileError::new(None, message).hint("leave `dir` out, send a manifest"));
        }
        read(&Node::from_json(settings), PageSource::Text)
    }

    /// Returns this app with another strategy. The settings of the file's own strategy are dropped; the other
    /// strategy gets its defaults.
    ///
    /// # Errors
    /// If there is no such strategy.
    pub fn with_strategy(self, kind: &str) -> Result<Self, AppFileError> {
        if kind == self.spec.strategy.kind.name() {
            return Ok(self);
        }
        let mut settings = self.settings;
        let mut strategy = serde_json::Map::new();
        for key in strategy::COMMON {
            if let Some(value) = settings.pointer(&format!("/strategy/{key}")) {
                strategy.insert((*key).to_owned(), value.clone());
            }
        }
        strategy.insert("kind".into(), kind.into());
        settings["strategy"] = Json::Object(strategy);
        let read = read(&Node::from_json(&settings), PageSource::Text)?;
        Ok(Self { env: self.env, dir: self.dir, ..read })
    }

    /// Returns this app with the text of the maintenance page that the file names.
    ///
    /// # Errors
    /// If the text is too long.
    pub fn with_page(self, html: &str) -> Result<Self, AppFileError> {
        let mut settings = self.settings;
        settings["strategy"]["page"] = html.into();
        let read = read(&Node::from_json(&settings), PageSource::Text)?;
        Ok(Self { env: self.env, dir: self.dir, ..read })
    }

    /// Returns the settings in the form that the API takes: without `run.dir`, without the environment, whose
    /// values are sent separately, and with the text of the page instead of its path.
    pub fn settings(&self) -> &Json {
        &self.settings
    }
}

fn read(tree: &Node, page: PageSource) -> Result<AppFile, AppFileError> {
    let top = Section::open("", Some(tree), TOP)?;
    let app: AppName = top.parsed("app")?.ok_or_else(|| {
        AppFileError::new(None, "`app` is missing").hint("write app = \"NAME\" at the top")
    })?;
    let (run, dir) = read_run(&top)?;
    let (strategy, path) = strategy::read(top.get("strategy"), page, run.replicas)?;
    let spec = AppSpec {
        app,
        run,
        health: health::read(&top)?,
        route: route::read(&top)?,
        drain: read_drain(&top)?,
        strategy,
        on: Section::open("placement", top.get("placement"), PLACEMENT)?.parsed("on")?,
    };
    let env = read_env(&top, &spec)?;
    let mut settings = tree.to_json();
    if let Some(run) = settings.get_mut("run").and_then(Json::as_object_mut) {
        run.remove("dir");
        run.remove("env");
    }
    if path.is_some()
        && let Some(strategy) = settings.get_mut("strategy").and_then(Json::as_object_mut)
    {
        strategy.remove("page");
    }
    Ok(AppFile { spec, env, dir, page: path, settings })
}

/// Reads the settings of `[run]`, and the folder that is shipped.
fn read_run(top: &Section<'_>) -> Result<(Run, String), AppFileError> {
    if let Some(image) = entry(top, "run", "image") {
        let message = "`run.image`: containers are not supported yet";
        let error = AppFileError::new(image.line, message);
        return Err(error.hint("write command = [\"PROGRAM\", \"ARGUMENT\"]"));
    }
    let run = Section::open("run", top.get("run"), RUN)?;
    let command: Vec<String> = run.texts("command")?.into_iter().map(String::from).collect();
    let example = "write command = [\"./server\"] under [run]";
    if command.first().is_none_or(String::is_empty) {
        return Err(run.wrong("command", "a program is needed").hint(example));
    }
    if command.iter().any(|part| part.contains('\0'))
        || command.iter().map(String::len).sum::<usize>() > 64 * 1024
    {
        let why = "64 KiB at most, and no zero bytes, can be given to a program";
        return Err(run.wrong("command", why));
    }
    let dir = run.text("dir")?.unwrap_or(".");
    if dir.is_empty() || dir.contains('\0') {
        return Err(run.wrong("dir", "a folder is needed").hint("write dir = \".\""));
    }
    let name = |key| -> Result<Option<String>, AppFileError> {
        let Some(text) = run.text(key)? else { return Ok(None) };
        let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if text.is_empty() || text.len() > 32 || text.starts_with('-') || !text.chars().all(good) {
            return Err(run.wrong(key, format!("{text:?} is no name of a {key}")));
        }
        Ok(Some(text.to_owned()))
    };
    let settings = Run {
        command,
        replicas: run.count("replicas", 1, 1..=1_000)?,
        env: BTreeMap::new(),
        user: name("user")?,
        group: name("group")?,
        files: run.word(
            "files",
            Files::Private,
            &[("private", Files::Private), ("world", Files::World)],
        )?,
        listen: run.word("listen", Listen::Port, LISTEN)?,
        listener: run.word("listener", ListenerRule::Own, LISTENER)?,
        limits: resources::read(&run)?,
    };
    if settings.listen == Listen::Unix && settings.listener == ListenerRule::Any {
        let why =
            "the folder of a unix socket is closed to other users, so its listener is not checked";
        return Err(run.wrong("listener", why).hint("leave `listener` out"));
    }
    Ok((settings, dir.to_owned()))
}

fn read_env(top: &Section<'_>, spec: &AppSpec) -> Result<BTreeMap<String, Secret>, AppFileError> {
    let run = Section::open("run", top.get("run"), RUN)?;
    let Some(node) = run.get("env") else { return Ok(BTreeMap::new()) };
    let TreeValue::Table(entries) = &node.value else {
        let why = format!("expected a table, found {}", node.kind());
        return Err(run.wrong("env", why).hint("write env = { NAME = \"value\" }"));
    };
    let mut env = BTreeMap::new();
    for entry in entries {
        let wrong =
            |why: String| AppFileError::new(entry.line, format!("`run.env.{}`: {why}", entry.key));
        check_env_name(&entry.key, spec).map_err(|why| wrong(why).hint(ANOTHER_NAME))?;
        let TreeValue::Text(text) = &entry.node.value else {
            let error = wrong(format!("expected a text, found {}", entry.node.kind()));
            return Err(error.hint(format!("write {} = \"…\"", entry.key)));
        };
        if text.contains('\0') {
            return Err(wrong("a zero byte cannot stand in a value".into()));
        }
        env.insert(entry.key.clone(), Secret::new(text));
    }
    Ok(env)
}

fn read_drain(top: &Section<'_>) -> Result<Drain, AppFileError> {
    let drain = Section::open("drain", top.get("drain"), DRAIN)?;
    Ok(Drain { deadline: drain.duration("deadline", Millis::from_secs(30), Millis(0)..=DAY)? })
}

/// Returns a key of a table that has not been checked yet. A key that is planned for later gets a better
/// error than "unknown key".
fn entry<'a>(top: &Section<'a>, table: &str, key: &str) -> Option<&'a TreeEntry> {
    match &top.get(table)?.value {
        TreeValue::Table(entries) => entries.iter().find(|entry| entry.key == key),
        TreeValue::Text(_)
        | TreeValue::Number(_)
        | TreeValue::Fraction(_)
        | TreeValue::Flag(_)
        | TreeValue::List(_)
        | TreeValue::Other(_) => None,
    }
}

#[cfg(test)]
#[path = "appfile_tests.rs"]
mod tests;
