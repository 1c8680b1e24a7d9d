"""The page's HTTP protocol: a request must be complete in time, and a malformed one never ends in a traceback."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_SECONDS = 30.0
"""A connection ends if it has not sent a whole request so long after it was opened, or after the request's first byte:
who holds connections open would otherwise keep all others from the page."""
_COMPLETE = (h11.DONE, h11.MUST_CLOSE, h11.CLOSED, h11.ERROR)


class PageProtocol(H11Protocol):
    """uvicorn's protocol with a limit of time; a malformed request is answered once at most."""

    timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to count the time of the first request."""
        super().connection_made(transport)
        self.timer = self.loop.call_later(REQUEST_SECONDS, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the count."""
        self._stop_timer()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Reads what came; the time counts until a request is complete."""
        super().handle_events()
        is_between = self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]
        if self.conn.their_state in _COMPLETE or (is_between and self.cycle is not None):
            self._stop_timer()
        elif self.timer is None:
            self.timer = self.loop.call_later(REQUEST_SECONDS, self.transport.close)

    def send_400_response(self, msg: str) -> None:
        """Answers a malformed request, unless an answer to it has begun; either way the connection ends."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True  # what the view still sends goes nowhere
            cycle.message_event.set()
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:  # an answer has begun, or the request is a HEAD, which gets no text
            self.transport.close()

    def _stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
