"""A web server that is not the API."""

import http.server
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager


@contextmanager
def answering(
    body: bytes, *, at: str | None = None, headers: Mapping[str, str] | None = None
) -> Generator[str]:
    """Its address. It answers every GET with the body; 404 elsewhere, where `at` names one path."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(200 if at in (None, self.path) else 404)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
