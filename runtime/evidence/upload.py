"""Evidence goes to a store by HTTP PUT, and again until it is taken.

A thread of its own; what waits lies on the shelf, so that neither a dead store nor a restart loses it, and no camera
ever waits for it. A store that does not answer, that is in trouble or will not let us in is tried again after a wait
that grows to a minute. A file that it refuses for itself is set aside until the next start, and holds up nothing.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import threading
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from ..backoff import backoff
from .aws_sigv4 import Key, signed
from .store import Shelf

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 10.0
BACKOFF_MOST = 60.0
LOOK_SECONDS = 30.0
# Of the answers that mean "not this one": malformed, gone, conflicting, too long, of the wrong kind.
_NEVER = (400, 405, 409, 410, 411, 413, 414, 415, 422)
TYPES = {".jpg": "image/jpeg", ".webp": "image/webp", ".mp4": "video/mp4"}


def link(url: str, camera: str, name: str) -> str:
    """Where it is uploaded to, without what lets us in: that is in the query."""
    parts = urlsplit(url)
    path = quote(f"{unquote(parts.path).rstrip('/')}/{camera}/{name}")
    return parts._replace(path=path, query="", fragment="").geturl()


class Uploader(threading.Thread):
    """Empties the shelf's `waiting` to `url`; `key` signs, where there is one; `timeout` is what an answer may take."""

    def __init__(
        self, shelf: Shelf, url: str, camera: str, key: Key | None = None, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        super().__init__(name="upload", daemon=True)
        self.shelf, self.url, self.camera, self.key, self.timeout = shelf, url, camera, key, timeout
        self.woken, self.ended = threading.Event(), threading.Event()
        self.refused: set[str] = set()

    def run(self) -> None:
        failures = 0
        while not self.ended.is_set():
            waiting = [path for path in self.shelf.waiting() if path.name not in self.refused]
            if not waiting:
                self.woken.wait(LOOK_SECONDS)
                self.woken.clear()
                continue
            try:
                self._put(waiting[0])
            except (OSError, http.client.HTTPException) as error:  # urllib's errors are of OSError
                failures += 1
                self._trouble(error)
                self.ended.wait(backoff(failures, BACKOFF_MOST))
            else:
                failures, self.shelf.tally.trouble = 0, ""

    def _put(self, path: Path) -> None:
        try:
            body = path.read_bytes()
        except FileNotFoundError:
            self.shelf.forget(path)
            return
        kind, place = TYPES[path.suffix], link(self.url, self.camera, path.name)
        digest, headers = hashlib.sha256(body).hexdigest(), {"content-type": kind}
        if query := urlsplit(self.url).query:
            place = f"{place}?{query}"
        if self.key is not None:
            headers = signed("PUT", place, headers, digest, self.key, datetime.now(UTC))
        request = urllib.request.Request(place, body, headers, method="PUT")  # noqa: S310  # http or https: settings.py
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as answer:  # noqa: S310
                answer.read(1024)
        except urllib.error.HTTPError as error:
            with error:
                if error.code not in _NEVER:
                    raise
                log.error("the store refuses %s: %d %s", path.name, error.code, error.reason)
            self.refused.add(path.name)
            return
        self.shelf.uploaded(path)

    def _trouble(self, error: Exception) -> None:
        why = str(error) or type(error).__name__
        if why != self.shelf.tally.trouble:
            log.warning("evidence cannot be uploaded: %s; trying again", why)
        self.shelf.tally.trouble = why

    def wake(self) -> None:
        self.woken.set()

    def close(self) -> None:
        """It ends by itself; what it is about stays on the shelf unless it was taken."""
        self.ended.set()
        self.wake()
