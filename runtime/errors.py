"""What a person did, has or wrote that stops the work: said in one line, with the remedy in another.

The subclass says whose fault it is, and its exit code tells systemd whether a restart can help: it cannot where the
configuration (2) or the bundle (3) is wrong. Trouble on the network is not a Problem: it is waited out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Problem(Exception):
    """A fault that its reader can mend. `message` says what and where, `hint` what to do about it."""

    code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigProblem(Problem):
    """A file or an argument that a person wrote is wrong."""

    code = 2


class BundleProblem(Problem):
    """The bundle is not what its signer signed, or not for this runtime."""

    code = 3


class MachineProblem(Problem):
    """This machine lacks something: a library, a camera, memory, room on the disk."""

    code = 4


@contextmanager
def written_in(place: object, kind: type[Problem] = ConfigProblem) -> Iterator[None]:
    """Says of each problem of the `kind` from inside that it was written in `place`."""
    try:
        yield
    except kind as problem:
        raise kind(f"{place}: {problem.message}", problem.hint) from None
