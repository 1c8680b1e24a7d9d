"""A store for evidence, for tests: takes PUT over HTTP, as it should and as it should not."""

from __future__ import annotations

import http.server
import threading
import time


class ObjectStore:
    """Listens on a port of its own until it is closed.

    `mode` is how it answers: good, failing (503), forbidden (403), refused (415), stalled (never), rude (hangs up).
    """

    def __init__(self, way="good"):
        self.mode, self.files, self.requests, self.open = way, {}, [], True
        store = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_PUT(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                store.requests.append((self.path, dict(self.headers)))
                while store.open and store.mode == "stalled":
                    time.sleep(0.02)
                if store.mode == "rude":
                    self.connection.close()
                    return
                code = {"failing": 503, "forbidden": 403, "refused": 415}.get(store.mode, 200)
                if store.mode == "good":
                    store.files[self.path] = body
                self.send_response(code)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/bucket"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.open = False
        self.server.shutdown()
        self.server.server_close()
