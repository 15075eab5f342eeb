"""A web service in Python's standard library, as segue wants one: it listens where HOST and PORT
say, keeps connections open, and on SIGTERM finishes what it has begun."""

import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GREETING = os.environ.get("GREETING", "hello")
VERSION = os.environ.get("VERSION", "1")


class InFlight:
    """Counts requests, so that the end can wait for them."""

    def __init__(self):
        self.count = 0
        self.changed = threading.Condition()

    def __enter__(self):
        with self.changed:
            self.count += 1

    def __exit__(self, *_):
        with self.changed:
            self.count -= 1
            self.changed.notify_all()

    def wait_for_none(self, seconds):
        with self.changed:
            self.changed.wait_for(lambda: self.count == 0, seconds)


IN_FLIGHT = InFlight()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Without this a keep-alive connection waits 40 ms between head and body.
    disable_nagle_algorithm = True

    def answer(self, body):
        with IN_FLIGHT:
            length = int(self.headers.get("Content-Length", 0))
            if length:
                self.rfile.read(length)
            if self.path == "/up":
                status, text = 200, "ok\n"
            elif self.path == "/":
                status, text = 200, f"{GREETING} from version {VERSION}, process {os.getpid()}\n"
            else:
                status, text = 404, "there is nothing here\n"
            data = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body:
                self.wfile.write(data)

    def do_GET(self):
        self.answer(body=True)

    def do_POST(self):
        self.answer(body=True)

    def do_HEAD(self):
        self.answer(body=False)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


def main():
    address = (os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8000")))
    server = Server(address, Handler)

    def end(*_):
        # shutdown() waits for the loop this handler interrupts, so it needs a thread of its own.
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    print(f"version {VERSION} listens on {address[0]}:{address[1]}", flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    IN_FLIGHT.wait_for_none(20)
    sys.exit(0)


if __name__ == "__main__":
    main()
