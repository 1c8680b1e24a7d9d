"""The bundle of an order, fetched over HTTPS: as many bytes as the order says, and with its digest."""

from __future__ import annotations

import hashlib
import http.client
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from ...errors import BundleProblem, MachineProblem, Problem
from .order import Order

READ_SECONDS = 20.0
FETCH_SECONDS = 900.0
_PIECE = 1 << 16


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirections to https:// alone."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if not newurl.startswith("https://"):
            raise urllib.error.URLError(f"redirected to {newurl[:100]}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download_bundle(order: Order, path: Path, ca_file: str = "") -> None:
    """Fetches the bundle of an order into a file.

    Args:
        order: an installation with a URL
        path: the file
        ca_file: an authority that is trusted besides those of the system; empty: none

    Raises:
        MachineProblem: the server cannot be reached, or the disk does not take the bundle.
        BundleProblem: what it sends is not the bundle of the order.
    """
    context = ssl.create_default_context()
    if ca_file:
        context.load_verify_locations(ca_file)
    opener = urllib.request.build_opener(_HttpsOnly, urllib.request.HTTPSHandler(context=context))
    end, received = time.monotonic() + FETCH_SECONDS, 0
    try:
        with opener.open(order.source, timeout=READ_SECONDS) as answer, path.open("wb") as file:
            while piece := answer.read1(_PIECE):
                received += len(piece)
                if received > order.bytes:
                    raise BundleProblem(f"{order.source}: more than the {order.bytes} bytes of the order")
                if time.monotonic() > end:
                    raise MachineProblem(f"{order.source}: {received} bytes in {FETCH_SECONDS:.0f} s are too slow")
                file.write(piece)
    except Problem:
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:  # URLError and ssl.SSLError are OSErrors
        raise MachineProblem(f"{order.source}: {error}") from None
    check_digest(order, path)


def check_digest(order: Order, path: Path) -> None:
    """Checks that a file is the bundle of an order.

    Raises:
        BundleProblem: its size or its digest differs.
        MachineProblem: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            digest, size = hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size
    except OSError as error:
        raise MachineProblem(f"{path}: {error.strerror}") from None
    if size != order.bytes or digest != order.sha256:
        raise BundleProblem(f"{order.source}: {size} bytes with another digest than that of the order")
