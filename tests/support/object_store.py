"""A store for evidence, for tests: takes PUT over HTTP, as it should and as it should not."""

from __future__ import annotations

import http.server
import threading
import time


class Store:
    """Listens on a port of its own until it is closed.

    `way` is how it answers: good, failing (503), forbidden (403), refused (415), stalled (never), rude (hangs up).
    """

    def __init__(self, way="good"):
        self.way, self.files, self.asked, self.open = way, {}, [], True
        store = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_PUT(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                store.asked.append((self.path, dict(self.headers)))
                while store.open and store.way == "stalled":
                    time.sleep(0.02)
                if store.way == "rude":
                    self.connection.close()
                    return
                code = {"failing": 503, "forbidden": 403, "refused": 415}.get(store.way, 200)
                if store.way == "good":
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
