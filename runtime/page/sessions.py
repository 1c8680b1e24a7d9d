"""Sessions of signed-in browsers, and the limit on attempts to sign in; both end with the process."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import deque
from collections.abc import Callable

import msgspec

IDLE_SECONDS = 12 * 3600.0
"""A session ends after so long without a request."""
MAX_SECONDS = 7 * 86400.0
MAX_SESSIONS = 32
"""With one more, the one that was used least recently ends."""
WINDOW_SECONDS = 60.0
MAX_FAILURES = 5
"""Failed attempts of one address within the window."""
MAX_FAILURES_OF_ALL = 20
_MAX_ADDRESSES = 1000


class Session(msgspec.Struct):
    """A signed-in browser."""

    csrf: str
    """Token that each request which changes something carries; another site does not know it."""
    began: float
    used: float
    """By time.monotonic()."""


class SessionStore:
    """The sessions. The cookie's value is kept as a digest only."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.sessions: dict[bytes, Session] = {}

    def start(self) -> str:
        """Begins a session; returns the value of its cookie."""
        now, cookie = self.clock(), secrets.token_urlsafe(32)
        for key in [key for key, session in self.sessions.items() if self._is_over(session, now)]:
            del self.sessions[key]
        while len(self.sessions) >= MAX_SESSIONS:
            del self.sessions[min(self.sessions, key=lambda key: self.sessions[key].used)]
        self.sessions[_digest(cookie)] = Session(secrets.token_urlsafe(32), now, now)
        return cookie

    def find(self, cookie: str) -> Session | None:
        """The session of a cookie, which is in use now; None: there is none, or it is over."""
        session, now = self.sessions.get(_digest(cookie)), self.clock()
        if session is None:
            return None
        if self._is_over(session, now):
            self.end(cookie)
            return None
        session.used = now
        return session

    def end(self, cookie: str) -> None:
        """Ends a session, if there is one."""
        self.sessions.pop(_digest(cookie), None)

    @staticmethod
    def _is_over(session: Session, now: float) -> bool:
        return now - session.used > IDLE_SECONDS or now - session.began > MAX_SECONDS


class SignInLimit:
    """Counts failed attempts to sign in, of each address and of all, in a sliding window."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.failures: dict[str, deque[float]] = {}
        self.all: deque[float] = deque(maxlen=MAX_FAILURES_OF_ALL)
        self.waiting = 0
        """Attempts whose password is being checked or waits for that."""

    def seconds_to_wait(self, address: str) -> float:
        """Seconds until the next attempt of an address is allowed; 0: it is now."""
        now, mine = self.clock(), self.failures.get(address, deque())
        waits = [0.0]
        if len(mine) == MAX_FAILURES:
            waits.append(mine[0] + WINDOW_SECONDS - now)
        if len(self.all) == MAX_FAILURES_OF_ALL:
            waits.append(self.all[0] + WINDOW_SECONDS - now)
        return max(waits)

    def count_failure(self, address: str) -> None:
        """Counts a failed attempt; it is counted before the password is checked, so that attempts in parallel count."""
        now = self.clock()
        if len(self.failures) >= _MAX_ADDRESSES:
            recent = {key: times for key, times in self.failures.items() if now - times[-1] < WINDOW_SECONDS}
            self.failures = recent if len(recent) < _MAX_ADDRESSES else {}
        self.failures.setdefault(address, deque(maxlen=MAX_FAILURES)).append(now)
        self.all.append(now)

    def forgive(self, address: str) -> None:
        """Forgets the last attempt of an address, which succeeded."""
        if times := self.failures.pop(address, None):
            with_success = times[-1]
            if with_success in self.all:
                self.all.remove(with_success)


def is_csrf_token(session: Session, token: str) -> bool:
    """Whether a request carries the token of its session."""
    return hmac.compare_digest(session.csrf.encode(), token.encode(errors="surrogatepass"))


def _digest(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode(errors="surrogatepass")).digest()
