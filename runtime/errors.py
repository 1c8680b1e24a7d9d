"""Errors that the user can fix: a message in one line and the remedy in another.

The subclass names the cause. Its exit code tells systemd whether a restart can help: it cannot if the configuration (2)
or the bundle (3) is wrong. A network failure is not a Problem: the daemon retries until the network is back.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

UNREADABLE = (ValueError, RecursionError)
"""What decoding raises for damaged or hostile text: the errors of msgspec, UTF-8 and Base64 are ValueErrors."""


class Problem(Exception):
    """An error that the user can fix. `message` states what is wrong and where, `hint` states the remedy."""

    code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def reworded(self, message: str, hint: str) -> Self:
        """The same problem, with all that its class knows of it, in other words."""
        other = copy.copy(self)
        other.message, other.hint, other.args = message, hint, (message,)
        return other


class ConfigProblem(Problem):
    """A configuration file or a command-line argument is wrong."""

    code = 2


class BundleProblem(Problem):
    """The bundle was altered, its signer is not trusted, or this runtime cannot run it."""

    code = 3


class MachineProblem(Problem):
    """This machine lacks a resource: a library, a camera, memory or disk space."""

    code = 4


class RestartRequested(Problem):
    """The daemon ended in order, to start again with another release of its model. The service manager starts it."""

    code = 75  # EX_TEMPFAIL of sysexits.h: try again


@contextmanager
def locate_errors(location: object, kind: type[Problem] = ConfigProblem) -> Iterator[None]:
    """Prefixes the message of each `kind` of problem raised inside with `location`, a file or a key."""
    try:
        yield
    except kind as problem:
        raise problem.reworded(f"{location}: {problem.message}", problem.hint) from None
