"""One wish of the goal file compared with what was found."""

from __future__ import annotations

import msgspec


class Judgement(msgspec.Struct, frozen=True):
    """One wish compared with what was found."""

    goal: str
    asked: float | str
    found: float | str | None
    met: bool | None
    """None: it could not be judged."""
    why: str = ""
    """Details beyond the two numbers, or the reason why there is no judgement."""
    needed: str = ""
    """How many images would decide it; empty if it is decided, or if no number of images would."""

    def __str__(self) -> str:
        if self.met is None or self.found is None:
            found = "" if self.found is None else f", found {_format(self.found)}"
            takes = f"; it takes {self.needed}" if self.needed else ""
            return f"{self.goal}: asked {_format(self.asked)}{found}, not proven: {self.why}{takes}"
        text = f"{self.goal}: asked {_format(self.asked)}, found {_format(self.found)}"
        if not self.met and not isinstance(self.asked, str) and not isinstance(self.found, str):
            text += f", missed by {_format(abs(self.found - self.asked))}"
        return f"{text} ({self.why})" if self.why else text


def _format(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
