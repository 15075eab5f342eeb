//! The table `[health]` of an app file: how the health of an instance is checked.

use std::collections::BTreeMap;

use model::{HealthCheck, Millis, ProbePort};

use crate::settings_table::{AppFileError, Section};
use crate::settings_tree::{Node, TreeValue};
use crate::value_checks::{DAY, check_host, check_path};

/// The keys of the table; docs/segue.schema.json lists them, too.
pub(crate) const KEYS: &[&str] = &[
    "path",
    "host",
    "headers",
    "port",
    "command",
    "interval",
    "timeout",
    "rise",
    "fall",
    "start_deadline",
    "busy",
];
const HOUR: Millis = Millis::from_secs(3_600);
/// The keys that only a probe by HTTP has, and a probe by a command does not.
const OF_HTTP: &[&str] = &["path", "host", "headers", "port"];
/// The header fields that segue sets: they define the end of a request or what becomes of the connection.
const OURS: &[&str] = &["connection", "content-length", "transfer-encoding", "upgrade"];
const HEADERS: usize = 32;
const HEADER_BYTES: usize = 4 * 1024;
const COMMAND_BYTES: usize = 64 * 1024;

type Result<T> = std::result::Result<T, AppFileError>;

/// Reads the table.
pub(crate) fn read(top: &Section<'_>) -> Result<HealthCheck> {
    let health = Section::open("health", top.get("health"), KEYS)?;
    let path = health.text("path")?.unwrap_or("/up");
    check_path(path).map_err(|why| health.wrong("path", why))?;
    let brief = Millis(10)..=HOUR;
    Ok(HealthCheck {
        path: path.to_owned(),
        host: host(&health)?,
        headers: headers(&health)?,
        port: port(&health)?,
        command: command(&health)?,
        interval: health.duration("interval", Millis::from_secs(1), brief.clone())?,
        timeout: health.duration("timeout", Millis::from_secs(2), brief)?,
        rise: health.count("rise", 2, 1..=100)?,
        fall: health.count("fall", 3, 1..=100)?,
        start_deadline: health.duration(
            "start_deadline",
            Millis::from_secs(30),
            Millis(100)..=DAY,
        )?,
        busy: health.duration("busy", HealthCheck::BUSY, Millis::from_secs(1)..=HOUR)?,
    })
}

/// Checks the value of the `Host` field: a name or an address, optionally with a port.
fn host(health: &Section<'_>) -> Result<Option<String>> {
    let Some(text) = health.text("host")? else { return Ok(None) };
    let digits = |port: &str| !port.is_empty() && port.parse::<u16>().is_ok();
    if text.contains('/') {
        let why = "only the host name belongs here, without scheme and path";
        return Err(health.wrong("host", format!("{text:?}: {why}")));
    }
    let name = match text.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => {
            if !digits(port) {
                let why = format!("{text:?}: {port:?} is no port");
                return Err(health.wrong("host", why));
            }
            name
        }
        Some(_) | None => text,
    };
    let name = name.to_ascii_lowercase();
    check_host(&name).map_err(|why| health.wrong("host", format!("{text:?}: {why}")))?;
    if name.contains('*') {
        let error = health.wrong("host", format!("{text:?} is a pattern; one name is needed"));
        return Err(error.hint("write host = \"example.com\""));
    }
    Ok(Some(text.to_ascii_lowercase()))
}

fn headers(health: &Section<'_>) -> Result<BTreeMap<String, String>> {
    let Some(node) = health.get("headers") else { return Ok(BTreeMap::new()) };
    let TreeValue::Table(entries) = &node.value else {
        let error = health.wrong("headers", format!("expected a table, found {}", node.kind()));
        return Err(error.hint("write headers = { X-Name = \"value\" }"));
    };
    if entries.len() > HEADERS {
        return Err(health.wrong("headers", format!("{HEADERS} at most, not {}", entries.len())));
    }
    let mut headers = BTreeMap::new();
    for entry in entries {
        let wrong = |why: String| {
            AppFileError::new(entry.line, format!("`health.headers.{}`: {why}", entry.key))
        };
        let name = entry.key.to_ascii_lowercase();
        let of_name = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(of_name) {
            return Err(wrong("that is no name of a header".into()));
        }
        if name == "host" {
            return Err(
                wrong("it has a key of its own".into()).hint("write host = \"example.com\"")
            );
        }
        if OURS.contains(&name.as_str()) {
            return Err(wrong("segue sets it, since a probe ends its connection".into()));
        }
        let TreeValue::Text(text) = &entry.node.value else {
            let error = wrong(format!("expected a text, found {}", entry.node.kind()));
            return Err(error.hint(format!("write {} = \"…\"", entry.key)));
        };
        if text.len() > HEADER_BYTES || text.bytes().any(|b| b.is_ascii_control() && b != b'\t') {
            let why =
                format!("{HEADER_BYTES} bytes at most, and no line ends, can stand in a header");
            return Err(wrong(why));
        }
        if headers.insert(name, text.trim().to_owned()).is_some() {
            return Err(wrong("it stands there twice".into()));
        }
    }
    Ok(headers)
}

fn port(health: &Section<'_>) -> Result<ProbePort> {
    match health.get("port") {
        Some(Node { value: TreeValue::Number(_), .. }) => {
            let why = "instances of one release beside each other cannot share a fixed port";
            let error = health.wrong("port", why);
            Err(error.hint("write port = true, and answer probes at the port in HEALTH_PORT"))
        }
        Some(_) | None => Ok(match health.flag("port", false)? {
            true => ProbePort::Own,
            false => ProbePort::Same,
        }),
    }
}

fn command(health: &Section<'_>) -> Result<Option<Vec<String>>> {
    if health.get("command").is_none() {
        return Ok(None);
    }
    let command: Vec<String> = health.texts("command")?.into_iter().map(String::from).collect();
    if command.first().is_none_or(String::is_empty) {
        let error = health.wrong("command", "a program is needed");
        return Err(error.hint("write command = [\"./healthy\"], or leave it out"));
    }
    if command.iter().any(|part| part.contains('\0'))
        || command.iter().map(String::len).sum::<usize>() > COMMAND_BYTES
    {
        let why = "64 KiB at most, and no zero bytes, can be given to a program";
        return Err(health.wrong("command", why));
    }
    match OF_HTTP.iter().find(|key| health.get(key).is_some()) {
        None => Ok(Some(command)),
        Some(key) => {
            let error = health.wrong(key, "a probe by a command makes no request");
            Err(error.hint(format!("leave out `{key}` or `command`")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AppFile;

    fn health(lines: &str) -> std::result::Result<HealthCheck, String> {
        let text = format!("app = \"web\"\n[run]\ncommand = [\"./x\"]\n[health]\n{lines}\n");
        let told = |error: AppFileError| match &error.hint {
            Some(hint) => format!("{error}\nhint: {hint}"),
            None => error.to_string(),
        };
        AppFile::from_toml(&text).map(|file| file.spec.health).map_err(told)
    }

    #[test]
    fn a_probe_is_shaped() {
        let shaped = health(
            "host = \"Shop.example:8443\"\nheaders = { X-Check = \"1\", x-forwarded-proto = \"http\" }\n\
             port = true\nbusy = \"2m\"",
        )
        .unwrap();
        assert_eq!(shaped.host.as_deref(), Some("shop.example:8443"));
        let headers: Vec<_> = shaped.headers.into_iter().collect();
        let wanted = [("x-check", "1"), ("x-forwarded-proto", "http")];
        assert_eq!(headers, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!((shaped.port, shaped.busy), (ProbePort::Own, Millis::from_secs(120)));
        let run = health("command = [\"./healthy\", \"--fast\"]").unwrap();
        assert_eq!(run.command.unwrap(), ["./healthy", "--fast"]);
    }

    #[test]
    fn a_mistake_is_named_with_the_way_out() {
        let refused: Vec<String> = [
            "port = 9000",
            "port = \"yes\"",
            "host = \"*.example.com\"",
            "host = \"http://a\"",
            "host = \"a:b\"",
            "headers = { Host = \"a\" }",
            "headers = { Connection = \"close\" }",
            "headers = { \"a b\" = \"1\" }",
            "headers = { A = \"1\", a = \"2\" }",
            "headers = { A = \"1\\n2\" }",
            "headers = [\"A\"]",
            "command = []",
            "command = \"./healthy\"",
            "command = [\"./healthy\"]\npath = \"/up\"",
            "busy = \"0s\"",
        ]
        .map(|lines| format!("{lines}\n  {}", health(lines).unwrap_err().replace('\n', "\n  ")))
        .into();
        insta::assert_snapshot!(refused.join("\n"));
    }

    #[test]
    fn what_is_not_set_is_not_written() {
        let text = serde_json::to_string(&health("").unwrap()).unwrap();
        for key in ["host", "headers", "port", "command", "busy"] {
            assert!(!text.contains(key), "a release's digest would change: {text}");
        }
    }
}
