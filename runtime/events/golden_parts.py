"""Reference parts: what an event says of them, and the state that it leaves (docs/golden-parts.md)."""

from __future__ import annotations

from typing import Literal

import msgspec

from .part_verdict import PartDecision, PartKind

Due = Literal["", "start", "shift", "parts", "hours", "release", "asked", "failed"]
"""Why the references have to pass before the line may run; empty: they have passed."""
Lock = Literal["", "references_due", "reference_failed", "challenge_overdue"]
"""Why every part but a reference is an error; also the reason of these errors. Empty: the line may run."""


class GoldenPart(msgspec.Struct, frozen=True):
    """A reference part that was judged."""

    part: str
    serial: str
    expected: PartKind
    verdict: PartDecision
    reason: str
    score: float | None

    @property
    def is_right(self) -> bool:
        """Known good and accepted, or known bad and rejected; `warn` and `error` are never right."""
        return is_right(self.expected, self.verdict)


class GoldenState(msgspec.Struct, frozen=True):
    """What is kept of a product over restarts."""

    due: Due = "start"
    unacknowledged: Literal["", "reference_failed", "challenge_overdue"] = ""
    """Why somebody has to acknowledge; empty: nobody has."""
    passed: float = 0.0
    """When the references passed last, seconds since 1970, UTC; 0: never."""
    part: int = 0
    """Number of the last part then."""
    shift: str = ""
    """Day and name of the shift then."""
    release: str = ""
    """Of the bundle that judged them."""

    @property
    def lock(self) -> Lock:
        """Why the line may not run."""
        return self.unacknowledged or ("references_due" if self.due else "")


class GoldenPartResult(msgspec.Struct, frozen=True):
    """The references of a product: a check began, passed or failed; the output is locked; a failure is acknowledged."""

    product: str
    release: str
    lock: Lock
    """Why the line may not run now; empty: it may."""
    why: str
    """`start`, `shift`, `parts`, `hours` or `release`: why they are due; `failed`, or what was acknowledged."""
    by: str
    """Who began the check, or acknowledged; empty: nobody said."""
    user: str
    """User of the device who did so, or `key ID` of who signed the order over MQTT; empty: nobody did anything."""
    parts: tuple[GoldenPart, ...]
    """The references that were judged."""
    state: GoldenState
    """What is kept over restarts."""


def is_right(expected: PartKind, verdict: PartDecision | None) -> bool:
    """Known good and accepted, or known bad and rejected; `warn` and `error` are never right."""
    return (expected, verdict) in (("good", "accept"), ("bad", "reject"))
