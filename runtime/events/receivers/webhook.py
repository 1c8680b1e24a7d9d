"""Webhook: each event is sent by HTTP POST, as the same CloudEvent that the broker gets.

    2xx                  the event is acknowledged
    408, 425, 429, 5xx   it is sent again later, after `Retry-After` if the answer has one
    another 4xx          it is a dead letter
    3xx                  it waits: a redirect is not followed, so that nobody else gets the events

One connection is kept open while events come. A receiver that closed it meanwhile is connected to again at once.
"""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import logging
import socket
import time
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlsplit

from ...config.sink_tables import WebhookSettings
from ...distribution import installed_version
from ..cloud_event import CLOUD_EVENTS_TYPE, encode_cloud_event
from ..event import Event, SystemEvent
from ..outbox import SequencedEvent
from ..sinks import Acknowledgement
from . import DeliveryFailed, ReceiverContext, is_wanted
from .client_tls import make_client_context
from .exchange_limit import EXCHANGE_TIMEOUTS, limit_exchange
from .webhook_signature import read_signing_keys, sign

log = logging.getLogger(__name__)

_ERRORS = (OSError, http.client.HTTPException, ValueError)
_STALE = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)  # of a connection that was kept open
_RETRYABLE = (408, 425, 429)
_REFUSED_SIGNATURE = (400, 401, 403)  # a receiver that finds the timestamp too old answers one of these
_MAX_CLOCK_SECONDS = 60.0
_MAX_ANSWER_BYTES = 4096


class Answer(NamedTuple):
    """What the receiver answered."""

    status: int
    headers: http.client.HTTPMessage
    text: str
    """The start of the body."""


class WebhookReceiver:
    """An HTTPS endpoint: `use = "webhook"`."""

    interval = 0.0

    def __init__(self, settings: WebhookSettings, context: ReceiverContext) -> None:
        self.settings, self.context = settings, context
        self.keys = read_signing_keys(settings.secret_file, settings.name)
        parts = urlsplit(settings.url)
        self.host, self.port = parts.hostname or "", parts.port
        self.target = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        self.tls = make_client_context(settings) if parts.scheme == "https" else None
        self.connection: http.client.HTTPConnection | None = None
        self.row: SequencedEvent | None = None

    def wants(self, record: Event | SystemEvent) -> bool:
        return is_wanted(record, self.settings.rules)

    def add(self, row: SequencedEvent) -> bool:
        if self.row is not None:
            return False
        self.row = row
        return True

    def clear(self) -> None:
        self.row = None

    def deliver(self) -> list[Acknowledgement]:
        assert self.row is not None  # the forwarder adds before it delivers
        record, context = self.row.event, self.context
        body = encode_cloud_event(record, context.source, self.row.sequence, context.epoch, context.clock)
        answer = self._post(body, sign(self.keys, record.id, int(context.clock.wall_time()), body))
        reason = self._judge(answer)
        sequence, self.row = self.row.sequence, None
        return [Acknowledgement(sequence, refused=reason)]

    def _judge(self, answer: Answer) -> str:
        """Why the receiver refuses the event for good; empty: it has accepted it. Raises DeliveryFailed."""
        if 200 <= answer.status < 300:
            return ""
        reason = f"HTTP {answer.status} {_phrase(answer.status)}".rstrip()
        wait = _retry_seconds(answer.headers.get("Retry-After", ""))
        if 300 <= answer.status < 400:
            target = answer.headers.get("Location", "")[:200]
            raise DeliveryFailed(
                f"{reason}: it redirects to {target!r}; write that address as url", wait, answered=True
            )
        if answer.status in _RETRYABLE or not 400 <= answer.status < 500:
            raise DeliveryFailed(reason, wait, answered=True)
        if self.keys and answer.status in _REFUSED_SIGNATURE and (skew := self._clock_skew(answer)) is not None:
            raise DeliveryFailed(f"{reason}: this device's clock differs from its own by {skew:.0f} s", answered=True)
        log.warning("the sink %s answers %s: %r", self.settings.name, reason, answer.text[:200])
        return reason

    def _clock_skew(self, answer: Answer) -> float | None:
        """Seconds by which the clocks differ, if they do by so much that a signature may count as too old."""
        there = _parse_date(answer.headers.get("Date", ""))
        skew = 0.0 if there is None else abs(there - self.context.clock.wall_time())
        return skew if skew > _MAX_CLOCK_SECONDS else None

    def _post(self, body: bytes, headers: dict[str, str]) -> Answer:
        is_reused = self.connection is not None
        try:
            with limit_exchange(EXCHANGE_TIMEOUTS * self.settings.timeout, self._socket):
                try:
                    return self._request(body, headers)
                except _STALE:
                    if not is_reused:
                        raise
                    self.close()
                    return self._request(body, headers)
        except _ERRORS as error:
            self.close()
            raise DeliveryFailed(f"{self.host}: {error or type(error).__name__}") from None

    def _socket(self) -> socket.socket | None:
        connection = self.connection
        return None if connection is None else connection.sock

    def _request(self, body: bytes, headers: dict[str, str]) -> Answer:
        if self.connection is None:
            self.connection = self._connect()
        headers |= {"Content-Type": CLOUD_EVENTS_TYPE, "User-Agent": f"vedette/{installed_version()}"}
        self.connection.request("POST", self.target, body, headers)
        response = self.connection.getresponse()
        text = response.read(_MAX_ANSWER_BYTES)
        answer = Answer(response.status, response.headers, text.decode(errors="replace"))
        if not response.isclosed():  # there is more, which nobody needs
            self.close()
        return answer

    def _connect(self) -> http.client.HTTPConnection:
        timeout = self.settings.timeout
        if self.tls is None:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        else:
            connection = http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=self.tls)
        connection.connect()
        return connection

    def check(self) -> None:
        try:
            self._connect().close()
        except _ERRORS as error:
            raise DeliveryFailed(f"{self.host}: {error or type(error).__name__}") from None

    def close(self) -> None:
        if self.connection is not None:
            with contextlib.suppress(*_ERRORS):
                self.connection.close()
            self.connection = None


def _phrase(status: int) -> str:
    """The standard's words for a status, not the server's."""
    return HTTPStatus(status).phrase if status in {each.value for each in HTTPStatus} else ""


def _retry_seconds(text: str) -> float:
    """Seconds of a header `Retry-After`, which has seconds or a date; 0: it says nothing."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    when = _parse_date(text)
    return when - time.time() if when is not None else 0.0


def _parse_date(text: str) -> float | None:
    """Seconds since 1970 of an HTTP date; None: it is none."""
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
