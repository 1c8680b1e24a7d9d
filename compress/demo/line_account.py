"""What became of the parts of the line: the table at the end of the demonstration."""

from __future__ import annotations

import msgspec


class LineAccount(msgspec.Struct):
    """What became of the parts."""

    triggered: int
    verdicts: dict[str, int]
    """By verdict, as the events have it."""
    reasons: dict[str, int]
    """Of the errors."""
    outputs: int
    """Results that the controller read."""
    unread: int
    """Results that it did not read in time; their events say the same."""
    in_order: bool
    wrong_outputs: int
    """Outputs that differ from the event of the part, or accept a part of which there is no picture."""
    found: int
    """Defective cells that were rejected."""
    missed: int
    """Defective cells that were accepted."""
    false_rejects: int
    """Good cells that were rejected."""
    delivered: int
    """Verdicts that the broker has acknowledged."""

    @property
    def is_complete(self) -> bool:
        """Whether each part is accounted for, and nothing wrong went out."""
        complete = self.triggered == sum(self.verdicts.values()) == self.outputs + self.unread == self.delivered
        return complete and self.in_order and not self.wrong_outputs

    def describe(self) -> str:
        """The table, a line for each figure."""
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(self.verdicts.items()))
        rows = (
            ("triggered", str(self.triggered)),
            ("verdicts", f"{sum(self.verdicts.values())}: {verdicts}"),
            ("reasons of errors", ", ".join(f"{count} {why}" for why, count in sorted(self.reasons.items())) or "none"),
            ("outputs that the controller read", f"{self.outputs}, {'in' if self.in_order else 'NOT IN'} order"),
            ("outputs that it did not read", str(self.unread)),
            ("wrong outputs", str(self.wrong_outputs)),
            ("verdicts at the broker", str(self.delivered)),
            ("defective cells", f"{self.found} rejected, {self.missed} accepted"),
            ("good cells rejected", str(self.false_rejects)),
        )
        return "\n".join(f"{name:34}{value}" for name, value in rows)
