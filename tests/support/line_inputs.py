"""What an adapter heard from the line."""

from __future__ import annotations

from typing import Any


class RecordedInputs:
    """Keeps the signals in order, in place of a line."""

    def __init__(self) -> None:
        self.signals: list[tuple[str, Any]] = []
        self.times: list[float | None] = []

    def trigger(self, serial: str = "", at: float | None = None) -> int:
        self.signals.append(("trigger", serial))
        self.times.append(at)
        return sum(name == "trigger" for name, _ in self.signals)

    def miss(self, at: float | None = None) -> int:
        self.signals.append(("miss", at))
        return 0

    def acknowledge(self, level: bool) -> None:
        self.signals.append(("acknowledge", level))

    def select_product(self, index: int) -> None:
        self.signals.append(("product", index))

    def end(self) -> None:
        self.signals.append(("end", None))
