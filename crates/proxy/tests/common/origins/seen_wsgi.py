"""Says what it was asked, for WSGI servers: method, path, and the whole body in hex behind a plus."""

from urllib.parse import quote


def app(environ, start_response):
    body = environ["wsgi.input"].read()
    seen = f'{environ["REQUEST_METHOD"]} {quote(environ["PATH_INFO"])} +{body.hex()}'
    start_response("200 OK", [("X-Seen", seen), ("Content-Length", "0")])
    return [b""]
