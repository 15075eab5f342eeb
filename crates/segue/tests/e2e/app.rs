//! A real app for the stories: Python's standard library, threads, HTTP/1.1. It behaves as its
//! release's environment says.

use std::fs;
use std::path::Path;

/// Answers `/` with its version, `/soon` after 200 ms, `/slow` after a second, `/up` when it is well.
const CODE: &str = r#"
import os, signal, socket, socketserver, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

version, mode = os.environ["VERSION"], os.environ.get("MODE", "good")

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = "PORT" in os.environ

    def do_GET(self):
        if self.path in ("/soon", "/slow"):
            # it waits: an answer that takes its time is what is asked for
            time.sleep(1 if self.path == "/slow" else 0.2)
        if mode == "dies" and self.path == "/":
            # The first user is its undoing, a moment later.
            threading.Timer(0.5, lambda: (print("out of luck", flush=True), os._exit(7))).start()
        well = mode != "sick" or self.path != "/up"
        body = (version + "\n").encode()
        self.send_response(200 if well else 500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

if mode == "slow":
    # it waits: long enough for the server to be killed meanwhile
    time.sleep(3)

if mode == "crash":
    print("reading the configuration")
    sys.exit("no such table: orders")

class Server(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = False
    block_on_close = True

class UnixServer(Server):
    address_family = socket.AF_UNIX
    # HTTPServer's own looks up the name of a host.
    server_bind = socketserver.TCPServer.server_bind

if "PORT" in os.environ:
    port = int(os.environ["PORT"]) + (5000 if mode == "lost" else 0)
    server = Server((os.environ["HOST"], port), Handler)
else:
    server = UnixServer(os.environ["SOCKET"], Handler)

def stop(*_):
    threading.Thread(target=server.shutdown).start()

signal.signal(signal.SIGTERM, stop)
print("listening", flush=True)
server.serve_forever()
"#;

/// Writes the app and its `segue.toml` into `dir`. `more` is appended to the file.
pub fn write(dir: &Path, more: &str) {
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("app.py"), CODE).unwrap();
    let text = format!(
        "app = \"web\"\n\n[run]\ncommand = [\"python3\", \"app.py\"]\nreplicas = 2\n\n\
         [health]\npath = \"/up\"\ninterval = \"500ms\"\nstart_deadline = \"25s\"\n\n\
         [drain]\ndeadline = \"5s\"\n\n{more}"
    );
    fs::write(dir.join("segue.toml"), text).unwrap();
}

/// Lets the next releases listen on unix sockets.
pub fn on_sockets(dir: &Path) {
    let path = dir.join("segue.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, text.replace("replicas = 2", "replicas = 2\nlisten = \"unix\"")).unwrap();
}

/// Gives each instance of the next releases so much memory at most.
pub fn limit_memory(dir: &Path, size: &str) {
    let path = dir.join("segue.toml");
    let text = fs::read_to_string(&path).unwrap();
    let limited = format!("replicas = 2\nmemory = \"{size}\"");
    fs::write(path, text.replace("replicas = 2", &limited)).unwrap();
}

/// Lets the next releases have only twelve seconds to become healthy.
pub fn hurry(dir: &Path) {
    let path = dir.join("segue.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, text.replace("start_deadline = \"25s\"", "start_deadline = \"12s\"")).unwrap();
}

/// A strategy that watches only so long.
pub fn watch(time: &str) -> String {
    format!("[strategy]\nkind = \"blue-green\"\nwatch = \"{time}\"\n")
}
