"""HTTP servers that a test talks to, in a thread of its own process."""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextlib.contextmanager
def serving(handler):
    """Let a server answer by this handler, and yield it; the handler notes in `asked` what it likes."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.asked, server.over = [], threading.Event()
    server.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def always(status):
    """Return a handler that answers every request with one status, and notes its path and headers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked.append((self.path, dict(self.headers)))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *args):
            pass

    return Handler


def silent(*answered):
    """Return a handler that answers some paths, given with their bytes of JSON, and no other request.

    The server's `over` is an event: once it is set, requests that were not answered end.
    """
    known = dict(answered)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked.append((self.path, dict(self.headers)))
            if self.path not in known:
                self.server.over.wait(300)
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(known[self.path])

        do_PUT = do_POST = do_GET  # noqa: N815 - the names of http.server

        def log_message(self, *args):
            pass

    return Handler
