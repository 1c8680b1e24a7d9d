"""A bundle over HTTPS: what it must be, and what a server may not do."""

from __future__ import annotations

import hashlib
import http.server
import ssl
import threading

import pytest
from certificates import issue_certificate

from vedette.runtime.errors import BundleProblem, MachineProblem
from vedette.runtime.installation.orders.bundle_download import download_bundle
from vedette.runtime.installation.orders.order import make_order

CONTENT = bytes(range(256)) * 700


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/plain":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/bundle")
            self.end_headers()
            return
        self.send_response(404 if self.path == "/none" else 200)
        self.end_headers()
        body = {"/cut": CONTENT[:1000], "/other": bytes(len(CONTENT)), "/more": CONTENT * 50}.get(self.path, CONTENT)
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    issue_certificate(folder, "server", issue_certificate(folder, "authority"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}", str(folder / "authority.pem")
    server.shutdown()


def fetch(server, path, target, ca_file=None):
    digest = hashlib.sha256(CONTENT).hexdigest()
    fields = {"issued": 1, "expires": 2, "sha256": digest, "bytes": len(CONTENT), "source": server[0] + path}
    download_bundle(make_order("install", ("a/b/c/d",), "cells", 1, **fields), target, ca_file or server[1])


def test_the_bundle_of_the_order_is_fetched(server, tmp_path):
    fetch(server, "/bundle", tmp_path / "bundle")
    assert (tmp_path / "bundle").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("path", "kind", "reason"),
    [
        ("/other", BundleProblem, "another digest"),
        ("/cut", BundleProblem, "another digest"),
        ("/more", BundleProblem, "more than the"),
        ("/none", MachineProblem, "404"),
        ("/plain", MachineProblem, "redirected to http"),
    ],
)
def test_what_is_not_the_bundle_is_a_problem(server, tmp_path, path, kind, reason):
    with pytest.raises(kind, match=reason):
        fetch(server, path, tmp_path / "bundle")


def test_a_server_that_nobody_vouches_for_is_not_trusted(server, tmp_path):
    issue_certificate(tmp_path, "stranger")
    with pytest.raises(MachineProblem, match="certificate"):
        fetch(server, "/bundle", tmp_path / "bundle", str(tmp_path / "stranger.pem"))
