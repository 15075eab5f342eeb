//! A scripted server, and a way to run a command and see all of it.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::thread;

use cli::{AgentOptions, CommandError, Io, Local, ProxyOptions, ServerOptions};
use serde_json::{Value, json};

/// What the script answers.
pub enum Reply {
    /// A whole answer.
    Json(u16, Value),
    /// JSON lines, and then the connection ends.
    Lines(Vec<Value>),
    /// The connection breaks without an answer.
    Break,
}

/// A server that answers as it is told: `METHOD PATH` and the body go in.
pub struct Fake {
    pub address: SocketAddr,
    pub asked: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    pub fn new(script: impl Fn(&str, &[u8]) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                answer(&stream.unwrap(), &script, &log);
            }
        });
        Self { address, asked }
    }
}

fn answer(stream: &TcpStream, script: &dyn Fn(&str, &[u8]) -> Reply, log: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap() == 0 {
            return;
        }
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let length = lines
        .iter()
        .find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    if reader.read_exact(&mut body).is_err() {
        return; // the client has given up
    }
    let request = lines[0].strip_suffix(" HTTP/1.1").unwrap().to_owned();
    log.lock().unwrap().push(request.clone());
    let mut writer = stream;
    let _ = match script(&request, &body) {
        Reply::Break => return,
        Reply::Json(status, value) => {
            let body = value.to_string();
            let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n", body.len());
            writer.write_all(format!("{head}connection: close\r\n\r\n{body}").as_bytes())
        }
        Reply::Lines(values) => {
            let body: String = values.iter().map(|value| format!("{value}\n")).collect();
            writer
                .write_all(format!("HTTP/1.1 200 x\r\nconnection: close\r\n\r\n{body}").as_bytes())
        }
    };
}

struct Nobody;

impl Local for Nobody {
    fn server(&self, options: ServerOptions) -> Result<(), CommandError> {
        Err(CommandError::because(format!("start with {options:?}"), "this is a test"))
    }

    fn proxy(&self, options: ProxyOptions) -> Result<(), CommandError> {
        Err(CommandError::because(format!("start with {options:?}"), "this is a test"))
    }

    fn agent(&self, options: AgentOptions) -> Result<(), CommandError> {
        Err(CommandError::because(format!("start with {options:?}"), "this is a test"))
    }

    fn down(&self, _: &Path) -> Result<u32, CommandError> {
        Ok(3)
    }

    fn shim(&self, _: Vec<OsString>) -> ExitCode {
        ExitCode::SUCCESS
    }

    fn watch(&self, _: Vec<OsString>) -> ExitCode {
        ExitCode::SUCCESS
    }

    fn exec(&self, _: Vec<OsString>) -> ExitCode {
        ExitCode::SUCCESS
    }
}

/// Runs a command and gives all that can be seen of it.
pub fn segue(server: Option<&Fake>, words: &[&str]) -> String {
    run(server, words, None)
}

/// Runs `segue` on a terminal where a person gives `answer`.
pub fn answered(server: &Fake, words: &[&str], answer: &str) -> String {
    run(Some(server), words, Some(answer))
}

/// What a command writes to stdout, byte by byte.
pub fn written(server: &Fake, words: &[&str]) -> Vec<u8> {
    output(Some(server), words, None).0
}

fn run(server: Option<&Fake>, words: &[&str], answer: Option<&str>) -> String {
    let (out, err, code) = output(server, words, answer);
    let block = |name: &str, bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        if text.is_empty() { String::new() } else { format!("--- {name}\n{text}") }
    };
    let text = format!("{}{}--- exit {code}", block("stdout", &out), block("stderr", &err));
    match server {
        Some(fake) => text.replace(&fake.address.to_string(), "SERVER"),
        None => text,
    }
}

/// Stdout, stderr, and the exit code.
fn output(
    server: Option<&Fake>,
    words: &[&str],
    answer: Option<&str>,
) -> (Vec<u8>, Vec<u8>, String) {
    let mut args: Vec<OsString> = vec!["segue".into()];
    args.extend(words.iter().map(OsString::from));
    if let Some(fake) = server {
        args.extend(["--server".into(), format!("http://{}", fake.address).into()]);
        args.extend(["--token".into(), "secret-token".into()]);
    }
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let io = Io::plain(&mut out, &mut err);
    let mut io = match answer {
        Some(answer) => io.answering(answer.as_bytes()),
        None => io,
    };
    let code = cli::run(args, &mut io, &Nobody);
    drop(io);
    let code = format!("{code:?}").chars().filter(char::is_ascii_digit).collect();
    (out, err, code)
}

/// A refusal as the server sends it.
pub fn refusal(status: u16, code: &str, message: &str, hint: &str) -> Reply {
    let error = json!({"error": {"code": code, "message": message, "hint": hint}});
    Reply::Json(status, error)
}

/// An event of rollout 2.
pub fn event(seq: u64, text: &str, outcome: Option<&str>) -> Value {
    json!({"event": {
        "seq": seq, "at_ms": 1_700_000_000_000_u64 + seq * 700, "app": "web", "rollout": 2,
        "text": text, "outcome": outcome,
    }})
}

/// How rollout 2 stands.
pub fn now(phase: &str, waiting: &str) -> Value {
    json!({"now": {"rollout": 2, "phase": phase, "waiting_for": waiting}})
}

/// The receipt of rollout 2.
pub fn account(outcome: &str, cause: Option<&str>) -> Value {
    json!({"cause": cause, "receipt": {
        "rollout": 2, "app": "web", "from": "v1", "to": "v2", "strategy": "blue-green",
        "outcome": outcome, "complete": true, "requests": 12_431, "failed": 0,
        "app_5xx": {"v1": 3}, "client_aborted": 1, "retried": 0, "held": 0, "diverted": 0,
        "max_gap_ms": 12, "switch_ms": 4, "duration_ms": 13_700,
    }})
}

/// The state of the app `web`, with the given parts.
pub fn app(parts: Value) -> Value {
    let mut app = json!({
        "version": 7, "progress": null, "waiting": [], "scale": null, "removing": false, "last": null,
        "read_only": null, "warnings": [],
        "status": {
            "app": "web", "live": arm("v1", 1, 1.0, &[("web-1", "up"), ("web-2", "up")]),
            "standby": null, "candidate": null, "rollout": null, "maintenance": false,
            "rollback": {
                "ready": false, "to": null, "reason": "there is no release before the live one",
            },
        },
    });
    let (Value::Object(app_map), Value::Object(parts)) = (&mut app, parts) else { panic!() };
    for (key, value) in parts {
        if app_map.contains_key(&key) {
            app_map.insert(key, value);
        } else {
            app_map["status"][&key] = value;
        }
    }
    app
}

pub fn arm(label: &str, no: u32, share: f64, instances: &[(&str, &str)]) -> Value {
    let instances: Vec<Value> = instances
        .iter()
        .zip(20_001..)
        .map(|((id, health), port)| {
            json!({
                "id": id, "pid": 4_000 + port, "address": format!("127.0.0.1:{port}"),
                "stage": if *health == "up" { "serving" } else { "joining" }, "health": health,
                "in_flight": if *health == "up" { port % 7 } else { 0 },
            })
        })
        .collect();
    json!({"release": no, "label": label, "share": share, "instances": instances})
}
