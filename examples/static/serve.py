"""Serves the folder `public` where HOST and PORT say; on SIGTERM it ends."""

import functools
import os
import signal
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer


class Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass


address = (os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8000")))
server = ThreadingHTTPServer(address, functools.partial(Handler, directory="public"))
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever(poll_interval=0.1)
