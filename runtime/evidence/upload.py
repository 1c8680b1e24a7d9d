"""Upload of evidence by HTTP PUT, repeated until it succeeds.

The uploader is a thread. Pending files stay in the evidence store, so a store that is down or a restart loses none, and
no camera ever waits for an upload. If the remote store does not answer, has an error or refuses access, the upload is
retried with a back-off that grows to a minute. A file that the remote store rejects is skipped until the next start,
and does not block the others.
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

from ..backoff import backoff_seconds
from .aws_sigv4 import SigningKey, sign_request
from .store import EvidenceStore

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 10.0
MAX_BACKOFF_SECONDS = 60.0
POLL_SECONDS = 30.0
# HTTP errors that a retry does not change: malformed, gone, conflicting, too long, of the wrong type.
_PERMANENT_ERRORS = (400, 405, 409, 410, 411, 413, 414, 415, 422)
MEDIA_TYPES = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".mp4": "video/mp4"}


def public_object_url(url: str, camera: str, name: str) -> str:
    """The URL of an uploaded file, without the query, which may hold credentials."""
    parts = urlsplit(url)
    path = quote(f"{unquote(parts.path).rstrip('/')}/{camera}/{name}")
    return parts._replace(path=path, query="", fragment="").geturl()


class Uploader(threading.Thread):
    """Uploads the pending files of `store` to `url`, signed with `key` if there is one; `timeout` in seconds per
    request.
    """

    def __init__(
        self,
        store: EvidenceStore,
        url: str,
        camera: str,
        key: SigningKey | None = None,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        super().__init__(name="upload", daemon=True)
        self.store, self.url, self.camera, self.key, self.timeout = store, url, camera, key, timeout
        self.wake_event, self.stop_event = threading.Event(), threading.Event()
        self.refused: set[str] = set()

    def run(self) -> None:
        failures = 0
        while not self.stop_event.is_set():
            pending = [path for path in self.store.pending_uploads() if path.name not in self.refused]
            if not pending:
                self.wake_event.wait(POLL_SECONDS)
                self.wake_event.clear()
                continue
            try:
                self._upload_file(pending[0])
            except (OSError, http.client.HTTPException) as error:  # urllib's errors derive from OSError
                failures += 1
                self._set_trouble(error)
                self.stop_event.wait(backoff_seconds(failures, MAX_BACKOFF_SECONDS))
            else:
                failures, self.store.counts.trouble = 0, ""

    def _upload_file(self, path: Path) -> None:
        try:
            body = path.read_bytes()
        except FileNotFoundError:
            self.store.discard(path)
            return
        media_type, url = MEDIA_TYPES[path.suffix], public_object_url(self.url, self.camera, path.name)
        digest, headers = hashlib.sha256(body).hexdigest(), {"content-type": media_type}
        if query := urlsplit(self.url).query:
            url = f"{url}?{query}"
        if self.key is not None:
            headers = sign_request("PUT", url, headers, digest, self.key, datetime.now(UTC))
        request = urllib.request.Request(url, body, headers, method="PUT")  # noqa: S310  # http(s), see EvidenceSettings
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as response:  # noqa: S310
                response.read(1024)
        except urllib.error.HTTPError as error:
            with error:
                if error.code not in _PERMANENT_ERRORS:
                    raise
                log.error("the remote store rejects %s: %d %s", path.name, error.code, error.reason)
            self.refused.add(path.name)
            return
        self.store.mark_uploaded(path)

    def _set_trouble(self, error: Exception) -> None:
        reason = str(error) or type(error).__name__
        if reason != self.store.counts.trouble:
            log.warning("evidence cannot be uploaded: %s; trying again", reason)
        self.store.counts.trouble = reason

    def wake(self) -> None:
        self.wake_event.set()

    def close(self) -> None:
        """Ends the thread after the current request; an interrupted upload stays pending."""
        self.stop_event.set()
        self.wake()
