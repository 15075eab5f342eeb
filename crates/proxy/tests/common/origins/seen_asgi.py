"""Says what it was asked, for ASGI servers: method, path, and the whole body in hex behind a plus."""

from urllib.parse import quote


async def app(scope, receive, send):
    if scope["type"] != "http":
        raise ValueError("only requests are answered here")
    body, more = b"", True
    while more:
        event = await receive()
        if event["type"] != "http.request":
            # The client left in the middle of its request: whatever came of it is not a request.
            return
        body += event.get("body", b"")
        more = event.get("more_body", False)
    seen = f'{scope["method"]} {quote(scope["path"])} +{body.hex()}'.encode()
    headers = [(b"x-seen", seen), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
